"""From guest-physical addresses to device, BAR and offset.

Ref: PCI Local Bus 3.0, section 6.2.5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdvlab.trace.schema import NO_BAR, NO_DEVICE

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """Where a memory BAR stands: ``size`` bytes from guest-physical ``base``; ``base + size <= 2**64``."""

    device: int
    bar: int
    base: int
    size: int


class BarLookup:
    """Finds the BAR that holds an address; where several do, the smallest, then the first.

    Parameters
    ----------
    windows : sequence of Window
        Memory BARs only: the addresses of I/O BARs are of another space.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        edges = sorted({edge for w in windows for edge in (w.base, w.base + w.size) if edge < 1 << 64})
        by_size = sorted(windows, key=lambda window: window.size)
        # Segment 0 lies below every window; segment i begins at edges[i - 1] and has one owner throughout.
        owners: list[Window | None] = [None]
        owners += [next((w for w in by_size if w.base <= edge < w.base + w.size), None) for edge in edges]
        self._edges = np.array(edges, dtype="<u8")
        self._device = np.array([w.device if w else NO_DEVICE for w in owners], dtype="<u2")
        self._bar = np.array([w.bar if w else NO_BAR for w in owners], dtype="|i1")
        self._base = np.array([w.base if w else 0 for w in owners], dtype="<u8")

    def find(self, physical: Array) -> tuple[Array, Array, Array]:
        """Device numbers, BARs and offsets of guest-physical addresses.

        Parameters
        ----------
        physical : uint64 array

        Returns
        -------
        device : uint16 array
            65535 where no BAR holds the address.
        bar : int8 array
            -1 there.
        offset : uint64 array
            Bytes from the BAR's base; the address itself there.
        """
        segment = np.searchsorted(self._edges, physical, side="right")
        return self._device[segment], self._bar[segment], physical - self._base[segment]

    def find_one(self, physical: int) -> tuple[int, int, int]:
        """:meth:`find` for one address."""
        device, bar, offset = self.find(np.array([physical], dtype="<u8"))
        return int(device[0]), int(bar[0]), int(offset[0])
