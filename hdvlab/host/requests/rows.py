"""The trace, as far as a client that maps it needs the host: what is written into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.host.requests import request
from hdvlab.trace.tables import SourceLine

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host


@request
def mark(host: Host, call: Call, *, text: str) -> int:
    """A line of text; its row."""
    return host.lab.mark(text)


@request
def add_source(host: Host, call: Call, *, file: str, line: int, function: str, text: str) -> int:
    """A source line's number for ``pc``."""
    return host.lab.trace.add_source(SourceLine(file, line, function, text))


@request
def keep_run(host: Host, call: Call, *, name: str, start: int, stop: int | None) -> None:
    """Remember a named stretch of the trace for clients to come."""
    host.runs[name] = (start, stop)


@request
def list_runs(host: Host, call: Call) -> dict[str, tuple[int, int | None]]:
    """The named stretches."""
    return dict(host.runs)
