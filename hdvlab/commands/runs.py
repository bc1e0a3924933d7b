"""Which rows a command works on: the lab's own trace, a named run of it, or a trace that was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.commands.nearest import nearest
from hdvlab.errors import UsageError
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.lab import Lab



def trace_of(source: Lab | Trace, run: str | None = None) -> Trace:
    """The rows that ``run`` names, or all of them.

    Raises
    ------
    UsageError
        There is no such run.
    """
    if isinstance(source, Trace):
        return source
    if run is None:
        return source.trace
    found = source.runs.get(run)
    if found is None:
        hint = nearest(run, source.runs) if source.runs else "%%hdv record -o NAME makes one, %hdv load reads one"
        raise UsageError(f"no run {run}; {hint}")
    return found if isinstance(found, Trace) else found.trace
