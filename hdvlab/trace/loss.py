"""What is not in a trace, and how a trace says so."""

from __future__ import annotations

from typing import NamedTuple

#: Columns of :attr:`hdvlab.trace.trace.Trace.losses`; :class:`Loss` is one row.
LOSS_COLUMNS = {
    "what": "what is not there: lost, holes, corrupt, missing, payload_missing, bad_lines",
    "rows": "how many rows, or lines",
    "first_row": "the first row that is affected; -1 = unknown",
    "why": "why, in words",
}

#: Counts in a frame's ``attrs`` that a copy of a trace goes on telling.
CARRIED_COUNTS = ("holes", "corrupt", "missing", "payload_missing", "clock_backward")


class Loss(NamedTuple):
    """One thing that is not there; :data:`LOSS_COLUMNS` says what each part is."""

    what: str
    rows: int
    first_row: int
    why: str
