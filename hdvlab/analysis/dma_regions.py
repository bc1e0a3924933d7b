"""Where in guest memory devices read and wrote: stretches that their DMA touched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdvlab.analysis.selection import Array, of_kinds
from hdvlab.trace.schema import Kind
from hdvlab.trace.view import View

_DMA = (Kind.dma_read, Kind.dma_write)
#: Stretches nearer than this are one, bytes: a driver's buffers are pages.
_GAP = 4096


@dataclass(frozen=True)
class DmaRegion:
    """A stretch of guest memory: bytes ``first`` to ``last``, touched by ``rows`` rows of one ``device``."""

    device: int
    first: int
    last: int
    rows: int


class DmaRegions:
    """The stretches of a trace that grows: each look takes only the rows that are new."""

    def __init__(self) -> None:
        self._looked = 0
        self.regions: list[DmaRegion] = []
        """In the order of device and address."""

    def look(self, view: View) -> bool:
        """Take the rows that came since the last look; whether a stretch is new or has grown."""
        if len(view) < self._looked:  # another trace, or one whose damage was found
            self._looked, self.regions = 0, []
        new = view.cut(self._looked, len(view))
        self._looked = len(view)
        columns = new.columns
        chosen = of_kinds(columns["kind"], _DMA) & (columns["status"] >= 0)
        if not chosen.any():
            return False
        known = self.regions
        device = np.concatenate([np.array([one.device for one in known], dtype=np.int64), columns["device"][chosen]])
        first = np.concatenate([np.array([one.first for one in known], dtype=np.uint64), columns["address"][chosen]])
        size = np.maximum(columns["size"][chosen], 1).astype(np.uint64)
        last = np.concatenate(
            [np.array([one.last for one in known], dtype=np.uint64), columns["address"][chosen] + (size - np.uint64(1))]
        )
        rows = np.concatenate([np.array([one.rows for one in known], dtype=np.int64), np.ones(len(size), np.int64)])
        self.regions = _merged(device, first, last, rows)
        return True


def _merged(device: Array, first: Array, last: Array, rows: Array) -> list[DmaRegion]:
    order = np.lexsort((first, device))
    device, first, last, rows = device[order], first[order], last[order], rows[order]
    found: list[DmaRegion] = []
    for number in np.unique(device):
        mine = device == number
        starts, ends, counts = first[mine], np.maximum.accumulate(last[mine]), rows[mine]
        apart = np.flatnonzero(starts[1:] > ends[:-1] + np.uint64(_GAP)) + 1
        begins = np.concatenate([[0], apart]).astype(np.int64)
        stops = np.concatenate([apart, [len(starts)]]).astype(np.int64)
        found += [
            DmaRegion(int(number), int(starts[a]), int(ends[b - 1]), int(counts[a:b].sum()))
            for a, b in zip(begins, stops, strict=True)
        ]
    return found
