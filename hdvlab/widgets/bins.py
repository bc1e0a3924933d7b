"""Counts of rows over time, for pictures of any stretch of a trace: exact, and quick however long the trace is.

Rows are summed up once, in blocks of 256 neighbours, these in blocks of 16 blocks, and so on: of each the span of time
and how many rows of which group it holds. A picture asks for counts in equal bins of a stretch. A block whose rows fall
into one bin adds its sums; one that straddles an edge is opened. So ten million rows cost what their blocks cost, and
the answer is that of a count over every row, in whatever order their times are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind
from hdvlab.trace.view import View
from hdvlab.widgets.blocks import Grown, Level
from hdvlab.widgets.row_groups import RowGroups

Array = np.ndarray[Any, Any]

BLOCK = 256
FACTOR = 16
_LEVELS = 4  # 256 rows to a million
_AT_ONCE = BLOCK * FACTOR * 32
_LIFECYCLE = min(KIND_GROUPS["lifecycle"])  # kinds from here on are rare, and drawn one by one


class Bins:
    """The rows of a trace, summed up as they come. Positions count rows of the view from 0."""

    def __init__(self) -> None:
        self._levels = [Level(BLOCK * FACTOR**level) for level in range(_LEVELS)]
        self._groups = RowGroups()
        self._devices = 0
        self._view: View | None = None
        self._open = np.zeros(0, dtype=np.int64)  # summed up while they were pending
        self._late = np.zeros(0, dtype=np.int64)  # of these, those that failed in the end
        self._rare = Grown(np.int64)

    def __len__(self) -> int:
        """How many rows are known; the last few are not in blocks yet."""
        return 0 if self._view is None else len(self._view)

    @property
    def groups(self) -> list[int]:
        """The code of each group, as they were met; :func:`hdvlab.widgets.row_groups.group_columns` reads them."""
        return self._groups.codes

    @property
    def view(self) -> View:
        """The rows as of the last :meth:`update`."""
        assert self._view is not None, "nothing was summed up yet"
        return self._view

    @property
    def summed(self) -> int:
        """How many rows are in blocks."""
        return len(self._levels[0]) * BLOCK

    @property
    def is_complete(self) -> bool:
        """Whether all rows but the last few are in blocks."""
        return len(self) - self.summed < BLOCK

    def update(self, view: View, devices: int, most: int = 1 << 62) -> bool:
        """Take in the rows that are new, at most about ``most`` of them; whether anything changed.

        Parameters
        ----------
        view : View
            The rows there are now: those seen before, and perhaps more.
        devices : int
            How many devices the trace knows; rows of others count as rows of none.
        most : int
            Rows to sum up now; :attr:`is_complete` says whether more are left for the next call.
        """
        if self._view is not None and not _continues(self._view, view):
            self.__init__()  # type: ignore[misc]
        changed = self._view is None or len(view) != len(self._view) or not self.is_complete
        self._view = view
        self._devices = max(devices, self._devices)
        changed |= self._settle()
        until = min(len(view), self.summed + max(most, BLOCK)) // BLOCK * BLOCK
        for start in range(self.summed, until, _AT_ONCE):
            self._sum_up(start, min(start + _AT_ONCE, until))
        return changed

    def count(
        self, first: int, width: int, bins: int, *, by_row: bool = False, start: int = 0, stop: int | None = None
    ) -> Array:
        """Rows that begin in each of ``bins`` stretches of ``width``, the first of which begins at ``first``.

        Parameters
        ----------
        first, width : int
            Nanoseconds; row numbers with ``by_row``.
        bins : int
            How many stretches.
        by_row : bool
            Count along row numbers, not along time.
        start, stop : int, optional
            Only rows at these positions.

        Returns
        -------
        array of int64
            By group and bin.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        total = np.zeros(bins * max(len(self.groups), 1), dtype=np.int64)
        positions = self._open_blocks(first, width, bins, by_row, start, stop, total)
        positions = positions[(positions >= start) & (positions < stop)]
        x = self.x_of(positions, by_row)
        place = (x - first) // width
        inside = (place >= 0) & (place < bins)
        group = self.groups_of(positions[inside])
        if len(self.groups) * bins > len(total):  # a group that only the last rows have
            total = np.concatenate([total, np.zeros(len(self.groups) * bins - len(total), dtype=np.int64)])
        total += np.bincount(group * bins + place[inside], minlength=len(total))
        late = self._late[(self._late >= start) & (self._late < stop)]
        if len(late):
            place = (self.x_of(late, by_row) - first) // width
            inside = (place >= 0) & (place < bins)
            for change, failed in ((-1, 0), (1, 1)):
                group = self.groups_of(late[inside], failed)
                if len(self.groups) * bins > len(total):
                    total = np.concatenate([total, np.zeros(len(self.groups) * bins - len(total), dtype=np.int64)])
                np.add.at(total, group * bins + place[inside], change)
        return total.reshape(-1, bins)

    def find(self, first: int, stop: int, most: int, *, by_row: bool = False) -> Array | None:
        """Positions of the rows that begin at ``first`` or later and before ``stop``; None if more than ``most``."""
        blocks = np.arange(len(self._levels[0]))
        low, high = self._bounds(self._levels[0], blocks, by_row)
        inside = (low >= first) & (high < stop)
        if np.count_nonzero(inside) * BLOCK > most:
            return None
        maybe = np.flatnonzero((high >= first) & (low < stop))
        positions = self._rows_of(maybe)
        x = self.x_of(positions, by_row)
        found: Array = positions[(x >= first) & (x < stop)]
        return found if len(found) <= most else None

    def span(self, first: int, stop: int, *, by_row: bool = False) -> range:
        """Positions between which every row stands that begins at ``first`` or later and before ``stop``."""
        low, high = self._bounds(self._levels[0], np.arange(len(self._levels[0])), by_row)
        maybe = np.flatnonzero((high >= first) & (low < stop))
        tail = self.x_of(np.arange(self.summed, len(self)), by_row)
        begin = int(maybe[0]) * BLOCK if len(maybe) else self.summed
        has_tail = bool(np.any((tail >= first) & (tail < stop)))
        end = len(self) if has_tail else int(maybe[-1] + 1) * BLOCK if len(maybe) else begin
        return range(begin, end)

    def find_running(self, moment: int) -> Array:
        """Positions of rows that began before ``moment`` and were still being served then."""
        level = self._levels[0]
        maybe = np.flatnonzero((level.low.values < moment) & (level.end.values > moment))
        positions = self._rows_of(maybe)
        columns = self.view.columns
        t_ns = columns["t_ns"][positions]
        over = (t_ns < moment) & (t_ns + columns["dur_ns"][positions] > moment)
        waiting = self.find_pending()
        waiting = waiting[columns["t_ns"][waiting] < moment]
        return np.union1d(positions[over], waiting)

    def find_pending(self) -> Array:
        """Positions of the rows that are still being served."""
        tail = np.arange(self.summed, len(self))
        return np.concatenate([self._open, tail[self.view.columns["status"][tail] == E_PENDING]])

    def find_rare(self) -> Array:
        """Positions of lifecycle steps, marks, faults and lost rows."""
        tail = np.arange(self.summed, len(self))
        return np.concatenate([self._rare.values, tail[self.view.columns["kind"][tail] >= _LIFECYCLE]])

    def extent(self, *, by_row: bool = False) -> tuple[int, int]:
        """First moment of the trace and the one behind its last; row numbers with ``by_row``. (0, 1) without rows."""
        if not len(self):
            return 0, 1
        if by_row:
            return int(self.view.rows[0]), int(self.view.rows[-1]) + 1
        level = self._levels[0]
        tail = np.arange(self.summed, len(self))
        t_ns = self.view.columns["t_ns"][tail]
        low, end = [*level.low.values[:1]], []
        if len(level):
            low, end = [int(level.low.values.min())], [int(level.end.values.max())]
        if len(tail):
            low.append(int(t_ns.min()))
            end.append(int((t_ns + self.view.columns["dur_ns"][tail]).max()))
        return int(min(low)), int(max(end)) + 1

    def _sum_up(self, start: int, stop: int) -> None:
        columns = self.view.cut(start, stop).columns
        group = self.groups_of(slice(start, stop))
        blocks = (stop - start) // BLOCK
        key = (np.arange(stop - start) // BLOCK) * len(self.groups) + group
        dense = np.bincount(key, minlength=blocks * len(self.groups)).reshape(blocks, -1)
        t_ns = columns["t_ns"].reshape(-1, BLOCK)
        end = (columns["t_ns"] + columns["dur_ns"]).reshape(-1, BLOCK)
        self._levels[0].add(t_ns.min(axis=1), t_ns.max(axis=1), end.max(axis=1), dense)
        self._rare.add(np.flatnonzero(columns["kind"] >= _LIFECYCLE) + start)
        self._open = np.concatenate([self._open, np.flatnonzero(columns["status"] == E_PENDING) + start])
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            known, whole = len(level), len(below) // FACTOR
            if whole == known:
                break
            parts = np.arange(known * FACTOR, whole * FACTOR)
            entries, owner = below.entries_of(parts)
            key = owner // FACTOR * len(self.groups) + below.group.values[entries]
            sums = np.bincount(key, below.count.values[entries], (whole - known) * len(self.groups))
            spans = [grown.values[parts].reshape(-1, FACTOR) for grown in (below.low, below.high, below.end)]
            level.add(
                spans[0].min(axis=1),
                spans[1].max(axis=1),
                spans[2].max(axis=1),
                sums.astype(np.int64).reshape(whole - known, -1),
            )

    def _settle(self) -> bool:
        """Look again at the rows that were pending; whether one is not any more."""
        if not len(self._open):
            return False
        columns = self.view.columns
        status = columns["status"][self._open]
        done = status != E_PENDING
        if not done.any():
            return False
        settled = self._open[done]
        self._late = np.concatenate([self._late, settled[status[done] < 0]])
        end = columns["t_ns"][settled] + columns["dur_ns"][settled]
        for level in self._levels:
            block = settled // level.size
            known = block < len(level)
            np.maximum.at(level.end.values, block[known], end[known])
        self._open = self._open[~done]
        return True

    def _open_blocks(
        self, first: int, width: int, bins: int, by_row: bool, start: int, stop: int, total: Array
    ) -> Array:
        """Add the blocks that lie in one bin to ``total``; the positions of rows to look at one by one."""
        blocks = np.arange(len(self._levels[-1]))
        for number in range(_LEVELS - 1, -1, -1):
            level = self._levels[number]
            low, high = self._bounds(level, blocks, by_row)
            one, other = (low - first) // width, (high - first) // width
            seen = (other >= 0) & (one < bins) & ((blocks + 1) * level.size > start) & (blocks * level.size < stop)
            whole = seen & (one == other) & (blocks * level.size >= start) & ((blocks + 1) * level.size <= stop)
            entries, owner = level.entries_of(blocks[whole])
            key = level.group.values[entries].astype(np.int64) * bins + one[whole][owner]
            total += np.bincount(key, level.count.values[entries], len(total)).astype(np.int64)
            blocks = blocks[seen & ~whole]
            if number:
                beyond = np.arange(len(level) * FACTOR, len(self._levels[number - 1]))
                blocks = np.concatenate([(blocks[:, None] * FACTOR + np.arange(FACTOR)).ravel(), beyond])
        return self._rows_of(blocks)

    def _rows_of(self, blocks: Array) -> Array:
        """Positions of the rows in blocks of the lowest level, and of those that are in none."""
        inside = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
        return np.concatenate([inside, np.arange(self.summed, len(self))])

    def _bounds(self, level: Level, blocks: Array, by_row: bool) -> tuple[Array, Array]:
        if not by_row:
            return level.low.values[blocks], level.high.values[blocks]
        return self.x_of(blocks * level.size, True), self.x_of(blocks * level.size + level.size - 1, True)

    def x_of(self, positions: Array, by_row: bool = False) -> Array:
        """When rows at these positions began; their numbers with ``by_row``."""
        if not by_row:
            return self.view.columns["t_ns"][positions]
        rows = self.view.rows
        return positions + rows.start if isinstance(rows, range) else rows[positions]

    def groups_of(self, which: Array | slice, failed: int | None = None) -> Array:
        """The group of each row; of those that failed late the one they were counted in, unless told."""
        columns = self.view.columns
        chosen = {name: columns[name][which] for name in ("device", "bar", "kind", "status")}
        bad: Array | int
        if failed is not None:
            bad = failed
        else:
            status = chosen["status"]
            bad = ((status < 0) & (status != E_PENDING)) | (chosen["kind"] == Kind.fault)
            if len(self._late) and not isinstance(which, slice):
                bad &= ~np.isin(which, self._late)
        return self._groups.number(chosen, bad, self._devices)


def _continues(before: View, now: View) -> bool:
    """Whether ``now`` has the rows of ``before`` at the places they had."""
    if len(now) < len(before):
        return False
    if isinstance(before.rows, range) and isinstance(now.rows, range):
        return not len(before) or before.rows.start == now.rows.start
    return len(before) == len(now) and np.array_equal(before.numbers, now.numbers)
