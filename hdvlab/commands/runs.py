"""Which rows a command works on: the lab's own trace, a named run of it, or another trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hdvlab.commands.nearest import nearest
from hdvlab.errors import UsageError
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab


def trace_of(source: AnyLab | Trace, run: str | None = None, namespace: Mapping[str, Any] | None = None) -> Trace:
    """The rows that ``run`` names, or all of them.

    A name means a named run or a loaded trace of the lab, else a variable in ``namespace`` that holds a Run or a Trace.

    Raises
    ------
    UsageError
        There is no such run.
    """
    if isinstance(source, Trace):
        return source
    if run is None:
        return source.trace
    found = source.runs.get(run, (namespace or {}).get(run))
    if isinstance(found, Trace):
        return found
    trace = getattr(found, "trace", None)
    if isinstance(trace, Trace):
        return trace
    hint = nearest(run, source.runs) if source.runs else "%%hdv record -o NAME makes one, %hdv load reads one"
    raise UsageError(f"no run {run}; {hint}")
