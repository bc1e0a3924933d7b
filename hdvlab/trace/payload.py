"""The bytes of accesses that are too long for ``value``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdvlab.errors import TraceError

Array = np.ndarray[Any, Any]


class Payload:
    """Bytes that rows point at.

    Parameters
    ----------
    memory : array of uint8
        The bytes; may be longer than what can be touched.
    available : int, optional
        How many of them are there; all where it is not given.
    """

    def __init__(self, memory: Array, available: int | None = None) -> None:
        self._memory = memory
        self.available = len(memory) if available is None else available
        self.damaged: Sequence[range] = ()
        """Rows whose bytes are known to be wrong."""

    @property
    def memory(self) -> Array:
        """All bytes that are there, without a copy."""
        return self._memory[: self.available]

    def bytes_of(self, row: int, place: int, size: int) -> bytes:
        """The bytes of a row.

        Raises
        ------
        TraceError
            They are not there, or not what was recorded.
        """
        if place + size > self.available:
            raise TraceError(f"the {size} bytes of row {row} are not there: payload.bin ends before them")
        if any(row in rows for rows in self.damaged):
            raise TraceError(f"the {size} bytes of row {row} are damaged: the checksum of their chunk does not fit")
        return self._memory[place : place + size].tobytes()

    def refused(self, rows: Array, places: Array, sizes: Array) -> Array:
        """Which rows have bytes that :meth:`bytes_of` refuses, as booleans."""
        has = places >= 0
        gone: Array = has & (places > self.available - np.minimum(sizes.astype(np.int64), self.available + 1))
        for damaged in self.damaged:
            gone |= has & (rows >= damaged.start) & (rows < damaged.stop)
        return gone


#: Of a trace whose rows have none.
NO_BYTES = Payload(np.zeros(0, dtype=np.uint8))
