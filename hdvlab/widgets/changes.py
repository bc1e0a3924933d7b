"""Bytes that are looked at again and again: which changed lately, and which since a mark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: How long a byte that changed is marked, seconds.
MARKED_FOR = 2.0

CHANGED = 1
SINCE_MARK = 2


class ByteChanges:
    """The bytes as they were seen last, and what is to be said of each.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.data = b""
        self._marked = np.zeros(0, dtype=np.uint8)
        self._changed_at = np.zeros(0)
        self._is_recent = np.zeros(0, dtype=bool)

    def take(self, data: bytes, anew: bool = False) -> bool:
        """What was seen now; whether there is anything else to show. ``anew``: it is not to be compared."""
        now = self._clock()
        new, old = (np.frombuffer(one, dtype=np.uint8) for one in (data, self.data))
        if anew or len(new) != len(old):
            self.data, self._marked = data, new.copy()
            self._changed_at, self._is_recent = np.full(len(new), -np.inf), np.zeros(len(new), dtype=bool)
            return True
        self._changed_at[new != old] = now
        recent = self._changed_at > now - MARKED_FOR
        differs = data != self.data or bool((recent != self._is_recent).any())
        self.data, self._is_recent = data, recent
        return differs

    def mark(self) -> None:
        """From now on ``SINCE_MARK`` counts from here."""
        self._marked = np.frombuffer(self.data, dtype=np.uint8).copy()

    def flags(self) -> bytes:
        """A byte for each: :data:`CHANGED` lately, :data:`SINCE_MARK`."""
        since = np.frombuffer(self.data, dtype=np.uint8) != self._marked
        flags = np.where(self._is_recent, CHANGED, 0) | np.where(since, SINCE_MARK, 0)
        return bytes(flags.astype(np.uint8))
