"""The rows that a filter leaves, found piece by piece and kept up to date while rows come."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdvlab.analysis.row_filter import RowFilter, Test
from hdvlab.trace.schema import E_PENDING
from hdvlab.trace.trace import Trace
from hdvlab.trace.view import View

Array = np.ndarray[Any, Any]

#: Rows looked at in one piece: a few milliseconds, between which the browser's requests are served.
PIECE = 1 << 18


class RowIndex:
    """Positions, in the trace's view, of the rows that a filter leaves. Without one it is all of them, at no cost.

    Rows are judged once; those whose access is still being served are judged anew when it is over.
    """

    def __init__(self, trace: Trace, chosen: RowFilter) -> None:
        self.filter = chosen
        self._trace = trace
        self._view = trace.view()
        self._known = (-1, -1)
        self._test: Test | None = None
        self._found = np.empty(1024, dtype=np.int64)
        self._count = 0
        self._unsure = np.empty(0, dtype=np.int64)
        self.scanned = 0
        """Rows that were looked at so far."""
        if chosen:
            self._renew_test()  # so that a mistake is told to whoever made it

    @property
    def view(self) -> View:
        """The rows as of the last :meth:`advance`."""
        return self._view

    def __len__(self) -> int:
        """How many rows are left."""
        return self._count if self.filter else len(self._view)

    @property
    def is_complete(self) -> bool:
        """Whether every row was looked at that there was at the last :meth:`advance`."""
        return not self.filter or self.scanned >= len(self._view)

    def advance(self) -> bool:
        """Look at what the trace has now, at one piece of it at most; True = there is more to look at."""
        fresh = self._trace.view()
        if len(fresh) < len(self._view):  # a recording that ended: rows that never came are left out
            self._found, self._count, self.scanned = self._found[:0], 0, 0
            self._unsure = self._unsure[:0]
        self._view = fresh
        if not self.filter:
            return False
        test = self._renew_test()
        self._judge_unsure(test)
        start, stop = self.scanned, min(self.scanned + PIECE, len(fresh))
        if stop > start:
            columns, rows = self._cut(slice(start, stop))
            waiting = np.flatnonzero(columns["status"] == E_PENDING)  # before its value is looked at
            self._append(np.flatnonzero(test(columns, rows)) + start)
            self._unsure = np.concatenate([self._unsure, waiting + start])
            self.scanned = stop
        return not self.is_complete

    def positions(self, start: int, count: int) -> Array:
        """Where in the view the rows at places ``start`` and after it in this index stand."""
        stop = min(start + count, len(self))
        return self._found[start:stop] if self.filter else np.arange(start, max(start, stop))

    def rows(self, start: int, stop: int) -> range | Array:
        """The numbers of the rows at places ``start`` up to ``stop`` in this index."""
        if not self.filter:
            return self._view.rows[max(start, 0) : max(stop, 0)]
        at = self._found[max(start, 0) : min(max(stop, 0), self._count)]
        rows = self._view.rows
        return at + rows.start if isinstance(rows, range) else rows[at]

    def place(self, row: int) -> int:
        """The place in this index of the first row whose number is ``row`` or higher; the last if there is none."""
        numbers = self._view.rows
        at = min(max(row - numbers.start, 0), len(numbers)) if isinstance(numbers, range) else int(
            np.searchsorted(numbers, row)
        )  # fmt: skip
        if self.filter:
            at = int(np.searchsorted(self._found[: self._count], at))
        return max(0, min(at, len(self) - 1))

    def _renew_test(self) -> Test:
        tables = self._trace.tables
        known = (len(tables.devices), len(tables.sources))
        if self._test is None or known != self._known:
            self._test, self._known = self.filter.test(tables, self._trace.text), known
        return self._test

    def _cut(self, at: slice | Array) -> tuple[dict[str, Array], Array]:
        rows = self._view.rows
        if isinstance(rows, range):
            chosen = rows[at] if isinstance(at, slice) else at + rows.start
            numbers = np.arange(chosen.start, chosen.stop) if isinstance(chosen, range) else chosen
        else:
            numbers = rows[at]
        return {name: column[at] for name, column in self._view.columns.items()}, numbers

    def _append(self, positions: Array) -> None:
        need = self._count + len(positions)
        if need > len(self._found):
            grown = np.empty(max(need, 2 * len(self._found), 1024), dtype=np.int64)
            grown[: self._count] = self._found[: self._count]
            self._found = grown
        self._found[self._count : need] = positions
        self._count = need

    def _judge_unsure(self, test: Test) -> None:
        if not len(self._unsure):
            return
        done = self._view.columns["status"][self._unsure] != E_PENDING
        if not done.any():
            return
        over, self._unsure = self._unsure[done], self._unsure[~done]
        kept = over[test(*self._cut(over))]
        first = int(np.searchsorted(self._found[: self._count], over[0]))
        tail = np.setdiff1d(self._found[first : self._count], over, assume_unique=True)
        self._count = first
        self._append(np.union1d(tail, kept))
