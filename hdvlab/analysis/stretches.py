"""Stretches of time of equal length, to count in: what every picture of a long trace is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hdvlab.analysis.selection import Array

#: Rows to work on at once: what is made of so many stays in the processor's cache, and memory stays bounded.
_PIECE = 1 << 18


def pieces(length: int) -> Iterator[slice]:
    """Slices that together are all of ``length`` rows, for sums that need not have them all at once."""
    for start in range(0, length, _PIECE):
        yield slice(start, min(start + _PIECE, length))


@dataclass(frozen=True)
class Stretches:
    """``count`` stretches of ``width_ns`` nanoseconds each, the first of which begins at ``first_ns``."""

    first_ns: int
    width_ns: int
    count: int

    @classmethod
    def over(cls, first_ns: int, last_ns: int, most: int) -> Stretches:
        """At most ``most`` stretches that hold every moment from ``first_ns`` to ``last_ns``."""
        width = (last_ns - first_ns) // most + 1
        return cls(first_ns, width, (last_ns - first_ns) // width + 1)

    @property
    def edges_ns(self) -> Array:
        """Where each begins, and where the last ends; int64."""
        return self.first_ns + self.width_ns * np.arange(self.count + 1, dtype=np.int64)

    def of(self, t_ns: Array) -> Array:
        """The number of the stretch that holds each moment; moments outside count to the nearest."""
        found: Array = np.clip((t_ns - self.first_ns) // self.width_ns, 0, self.count - 1)
        return found
