"""An array that grows at its end."""

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
