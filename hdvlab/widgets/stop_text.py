"""Stops and breakpoints as the stepper's browser side takes them; what may have 64 bits as text."""

from __future__ import annotations

import contextlib
from typing import Any

from hdvlab.errors import HdvError
from hdvlab.stepping import Breakpoint, Stop
from hdvlab.widgets.driver_lines import lines_around, name_of
from hdvlab.widgets.row_text import describe_row

#: Rows that are shown before the one that is held.
LAST_ROWS = 4


def stop_told(stop: Stop) -> dict[str, Any]:
    """A stop."""
    is_read_before = stop.kind.endswith("_read") and stop.phase == "before"
    function, _, text = stop.source.partition(" ")
    return {
        "ticket": stop.ticket,
        "row": stop.row,
        "short": stop.short,
        "phase": stop.phase,
        "value": "" if is_read_before else f"{stop.value:#x}",
        "fields": "" if is_read_before else stop.fields,
        "stored": "" if stop.stored is None else f"{stop.stored:#x}  {stop.stored_fields}".rstrip(),
        "why": stop.reason if stop.breakpoint else "",
        "error": stop.error,
        "posted": stop.posted,
        "inside": stop.is_inside,
        "actions": list(stop.actions),
        "function": function.rpartition(":")[0],
        "file": name_of(stop.file) if stop.file else "",
        "line": stop.line,
        "lines": [list(one) for one in lines_around(stop.file, stop.line, text)],
        "rows": _rows(stop),
    }


def _rows(stop: Stop) -> list[str]:
    """The rows before it, a line each."""
    if stop.trace is None:
        return []
    end = len(stop.trace) if stop.row < 0 else stop.row
    told = []
    for row in range(max(0, end - LAST_ROWS), end):
        with contextlib.suppress(HdvError):
            told.append("  ".join(describe_row(stop.trace, row)[:2]))
    return told


def breakpoint_told(one: Breakpoint) -> dict[str, Any]:
    """A breakpoint, tracepoint or trigger."""
    return {"number": one.number, "what": one.kind, "text": one.text, "state": one.state, "enabled": one.enabled}
