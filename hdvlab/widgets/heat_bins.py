"""Counts of accesses by address and time, for a heat map: added up row by row, some at a time, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import Tables
from hdvlab.trace.view import View
from hdvlab.widgets.bins import Bins
from hdvlab.widgets.row_groups import group_columns

Array = np.ndarray[Any, Any]

_AT_ONCE = 1 << 18
_ON_BAR = (Kind.mmio_read, Kind.mmio_write, Kind.doorbell)
_DMA = (Kind.dma_read, Kind.dma_write)
_READS = (Kind.mmio_read, Kind.dma_read)


@dataclass(frozen=True)
class Place:
    """What a heat map shows: one BAR of a device, or with ``bar`` -1 the guest memory that a device's DMA touches.

    ``devices`` are the numbers that the device has in the trace: more than one where its class was changed.
    """

    name: str
    devices: tuple[int, ...]
    bar: int

    @property
    def label(self) -> str:
        """What the choice of places says."""
        what = "guest memory (DMA)" if self.bar < 0 else f"BAR{self.bar}"
        return f"{self.name} {what}".strip()

    @property
    def kinds(self) -> Sequence[Kind]:
        """Kinds of the rows that touch it."""
        return _DMA if self.bar < 0 else _ON_BAR

    def holds(self, view: View, which: slice | Array) -> Array:
        """Which of the rows at some positions touch this place, as booleans."""
        columns = view.columns
        kind, device = columns["kind"][which], columns["device"][which]
        chosen: Array = (kind == self.kinds[0]) | (kind == self.kinds[1])
        if self.bar >= 0:
            chosen |= kind == Kind.doorbell
            chosen &= columns["bar"][which] == self.bar
        of_device = device == self.devices[0]
        for number in self.devices[1:]:
            of_device |= device == number
        chosen &= of_device
        return chosen


def list_places(bins: Bins, tables: Tables) -> list[Place]:
    """The places that rows touch, in the order of devices; those of one device by BAR, guest memory last."""
    columns = group_columns(bins.groups)
    numbers: dict[str, list[int]] = {}
    for number, info in enumerate(tables.devices):
        numbers.setdefault(info.name, []).append(number)
    found: dict[tuple[str, int], Place] = {}
    for kind, device, bar in zip(*(columns[name].tolist() for name in ("kind", "device", "bar")), strict=True):
        if device >= len(tables.devices) or not ((kind in _ON_BAR and bar >= 0) or kind in _DMA):
            continue
        name = tables.devices[device].name
        part = bar if kind in _ON_BAR else -1
        found[name, part] = Place(name, tuple(numbers[name]), part)
    order = list(numbers)
    return sorted(found.values(), key=lambda place: (order.index(place.name), place.bar % 8))


class HeatBins:
    """Accesses to a place in cells of ``width`` ns by ``step`` bytes; an access counts in every cell it touches.

    Parameters
    ----------
    place : Place
        Whose accesses.
    first, width, bins : int
        Start of the first stretch of time in ns, length of each, and how many.
    low, step, bands : int
        First address, bytes of each band of addresses, and how many bands.
    """

    def __init__(self, place: Place, first: int, width: int, bins: int, low: int, step: int, bands: int) -> None:
        self.place = place
        self.first, self.width, self.bins = first, width, bins
        self.low, self.step, self.bands = low, step, bands
        self.rows = 0
        """Accesses that touched a cell."""
        # By operation (write, read), band and stretch: what touches one band, and of what touches more of them what
        # begins in a band, less what ended in the one before.
        self._counts = np.zeros((2, bands, bins), dtype=np.int64)
        self._changes: Array | None = None  # most accesses touch one band
        self._next = -1
        self._stop = 0

    @property
    def end(self) -> int:
        """First moment behind the last stretch."""
        return self.first + self.width * self.bins

    @property
    def high(self) -> int:
        """First address behind the last band."""
        return self.low + self.step * self.bands

    @property
    def is_complete(self) -> bool:
        """Whether all rows of the last look are counted."""
        return self._next >= self._stop

    @property
    def done(self) -> float:
        """Share of the rows that are counted, 0 to 1."""
        return 1.0 if self.is_complete else max(self._next, 0) / max(self._stop, 1)

    def update(self, bins: Bins, most: int = 1 << 62) -> bool:
        """Count rows that are new, at most about ``most`` of them; whether there were any."""
        if self._next < 0:
            self._next = bins.span(self.first, self.end).start
        # Rows behind the last that may fall into these stretches need no look, until there are more.
        self._stop = max(self._next, bins.span(self.first, self.end).stop)
        until = min(self._stop, self._next + most)
        changed = until > self._next
        while self._next < until:
            stop = min(self._next + _AT_ONCE, until)
            self._add(bins.view, self._next, stop)
            self._next = stop
        return changed

    def counts(self, *, reads: bool = True, writes: bool = True) -> Array:
        """Accesses by band and stretch."""
        counts: Array = self._counts[0] * writes + self._counts[1] * reads
        if self._changes is not None:
            counts += np.cumsum((self._changes[0] * writes + self._changes[1] * reads)[: self.bands], axis=0)
        return counts

    def find(self, view: View, positions: range, *, reads: bool = True, writes: bool = True) -> Array:
        """Of the rows at some positions, the positions of those that touch a cell of these."""
        found = [np.zeros(0, dtype=np.int64)]
        for start in range(positions.start, positions.stop, _AT_ONCE):
            at, _, _ = self.touching(view, slice(start, min(start + _AT_ONCE, positions.stop)))
            is_read = np.isin(view.columns["kind"][at], _READS)
            found.append(at[(is_read & reads) | (~is_read & writes)])
        return np.concatenate(found)

    def touching(self, view: View, which: slice | Array) -> tuple[Array, Array, Array]:
        """Of the rows at some positions, the positions of those that touch a cell; the first and last band of each."""
        columns = view.columns
        at = np.flatnonzero(self.place.holds(view, which))
        at = at + which.start if isinstance(which, slice) else which[at]
        t_ns = columns["t_ns"][at]
        inside = (t_ns >= self.first) & (t_ns < self.end)
        if not inside.all():
            at = at[inside]
        address = columns["address"][at]
        last = address + np.maximum(columns["size"][at], 1).astype(np.uint64) - np.uint64(1)
        last = np.maximum(last, address)  # an access at the very end of the address space
        inside = (last >= np.uint64(self.low)) & (address < np.uint64(min(self.high, (1 << 64) - 1)))
        if not inside.all():
            at, address, last = at[inside], address[inside], last[inside]
        low, step = np.uint64(self.low), np.uint64(self.step)
        band = (np.maximum(address, low) - low) // step
        behind = np.minimum((last - low) // step, np.uint64(self.bands - 1))
        return at, band.astype(np.int64), behind.astype(np.int64)

    def _add(self, view: View, start: int, stop: int) -> None:
        at, band, last = self.touching(view, slice(start, stop))
        if not len(at):
            return
        self.rows += len(at)
        stretch = (view.columns["t_ns"][at] - self.first) // self.width
        kind = view.columns["kind"][at]
        is_read = (kind == _READS[0]) | (kind == _READS[1])
        plane = band * self.bins + stretch
        plane += is_read * (self.bands * self.bins)
        several = np.flatnonzero(last > band)
        if len(several):
            self._add_several(is_read[several], band[several], last[several], stretch[several])
            plane = np.delete(plane, several)
        flat = self._counts.reshape(-1)
        flat += np.bincount(plane, minlength=len(flat))

    def _add_several(self, is_read: Array, band: Array, last: Array, stretch: Array) -> None:
        if self._changes is None:
            self._changes = np.zeros((2, self.bands + 1, self.bins), dtype=np.int64)
        plane = is_read * ((self.bands + 1) * self.bins) + stretch
        flat = self._changes.reshape(-1)
        flat += np.bincount(plane + band * self.bins, minlength=len(flat))
        flat -= np.bincount(plane + (last + 1) * self.bins, minlength=len(flat))


class Touched:
    """The lowest and the highest address of a place that was touched, kept as rows come."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.low, self.high = 0, 0
        self._next = 0

    def update(self, bins: Bins, most: int = 1 << 62) -> bool:
        """Look at rows that are new; whether all are looked at."""
        view = bins.view
        until = min(len(view), self._next + most)
        while self._next < until:
            stop = min(self._next + _AT_ONCE, until)
            chosen = self.place.holds(view, slice(self._next, stop))
            address = view.columns["address"][self._next : stop][chosen]
            if len(address):
                size = np.maximum(view.columns["size"][self._next : stop][chosen], 1).astype(np.uint64)
                low = int(address.min())
                high = min(int((address + size - np.uint64(1)).max()) + 1, 1 << 64)
                self.low = min(self.low, low) if self.high else low
                self.high = max(self.high, high)
            self._next = stop
        return self._next >= len(view)
