"""Blocks of neighbouring rows, summed up, in arrays that grow at their ends."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Grown:
    """Numbers of one type; adding takes time in proportion to what is added."""

    def __init__(self, dtype: Any) -> None:
        self._room: Array = np.zeros(64, dtype=dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> Array:
        """What is there now; shares memory."""
        return self._room[: self._length]

    def add(self, values: Array) -> None:
        """Put ``values`` behind what is there."""
        stop = self._length + len(values)
        if stop > len(self._room):
            room: Array = np.zeros(max(stop, 2 * len(self._room)), dtype=self._room.dtype)
            room[: self._length] = self.values
            self._room = room
        self._room[self._length : stop] = values
        self._length = stop


class Level:
    """Blocks of one size, in the order of rows. Entries say how many rows of a group a block holds."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.low = Grown(np.int64)
        self.high = Grown(np.int64)
        self.end = Grown(np.int64)
        """Last moment at which a row of the block was still being served."""
        self.entries = Grown(np.int64)
        """Of each block, where its entries end."""
        self.group = Grown(np.uint32)
        self.count = Grown(np.uint32)

    def __len__(self) -> int:
        return len(self.low)

    def add(self, low: Array, high: Array, end: Array, dense: Array) -> None:
        """Blocks with their spans; ``dense`` counts by block and group."""
        before = len(self.group)
        block, group = np.nonzero(dense)
        self.low.add(low)
        self.high.add(high)
        self.end.add(end)
        self.entries.add(before + np.cumsum(np.count_nonzero(dense, axis=1)))
        self.group.add(group)
        self.count.add(dense[block, group])

    def entries_of(self, blocks: Array) -> tuple[Array, Array]:
        """Which entries belong to ``blocks``, and for each the place in ``blocks`` of its block."""
        ends = self.entries.values
        stop = ends[blocks]
        start = np.where(blocks > 0, ends[np.maximum(blocks, 1) - 1], 0)
        lengths = stop - start
        owner = np.repeat(np.arange(len(blocks)), lengths)
        return np.arange(len(owner)) + (start - (np.cumsum(lengths) - lengths))[owner], owner
