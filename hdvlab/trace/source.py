"""What pictures and panels show: a trace, or something that has one."""

from __future__ import annotations

from typing import Protocol

from hdvlab.errors import UsageError
from hdvlab.trace.trace import Trace


class HasTrace(Protocol):
    """A lab, or a run in it."""

    @property
    def trace(self) -> Trace:
        """Its rows."""


def trace_of(source: object) -> Trace:
    """The trace of a Trace, a Lab or a Run.

    Raises
    ------
    UsageError
        It is none of them; the message says what to give.
    """
    trace = getattr(source, "trace", source)
    if isinstance(trace, Trace):
        return trace
    hint = "read it first: hdvlab.read_trace(path)" if isinstance(source, str) else "its rows alone have no names"
    raise UsageError(f"rows are shown of a trace, a lab or a run, not of {type(source).__name__}; {hint}")
