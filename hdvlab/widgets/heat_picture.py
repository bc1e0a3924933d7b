"""What a heat map panel is sent: the cells of a stretch of time and of addresses, in one buffer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hdvlab.registers import RegisterMap
from hdvlab.trace.trace import Trace
from hdvlab.widgets.bins import Bins
from hdvlab.widgets.heat_bins import HeatBins, Place, Touched, list_places
from hdvlab.widgets.timeline_window import Window
from hdvlab.widgets.units import counted, duration

Array = np.ndarray[Any, Any]
Rows = range | Array

#: One cell: its place (band times stretches plus stretch) and how many accesses touched it.
CELL = np.dtype([("at", "<u4"), ("count", "<u4")])

MOST_BANDS = 160
_MOST_NAMES = 200
_MOST_CHOSEN = 1_000_000
_PAGE = 4096


@dataclass(frozen=True)
class Look:
    """What a person looks at: a place, a window of time, addresses (all that were touched if ``high`` is 0)."""

    place: Place | None = None
    window: Window = field(default_factory=Window)
    low: int = 0
    high: int = 0
    reads: bool = True
    writes: bool = True
    bins: int = 400


class HeatPicture:
    """Heat maps of one trace that may still grow."""

    def __init__(self) -> None:
        self.bins = Bins()
        self.trace: Trace | None = None
        self.look = Look()
        self.places: list[Place] = []
        self.heat: HeatBins | None = None
        self._touched: Touched | None = None
        self._was_complete = False

    def update(self, trace: Trace, most: int = 1 << 62) -> bool:
        """Take in new rows of ``trace``, at most about ``most``; whether the picture is another."""
        is_other = trace is not self.trace
        if is_other:
            self.trace, self.bins, self.heat, self._touched = trace, Bins(), None, None
        tables = trace.tables
        changed = self.bins.update(trace.view(), len(tables.devices), most)
        self.bins.groups_of(np.arange(self.bins.summed, len(self.bins)) if self.bins.is_complete else np.arange(0))
        self.places = list_places(self.bins, tables)
        place = self._same_place()
        if place is None:
            return changed or is_other
        if self._touched is None or self._touched.place != place:
            self._touched, self.heat = Touched(place), None
        is_touched = self._touched.update(self.bins, most)
        grid = self._grid(place)
        changed |= grid is not self.heat
        self.heat = grid
        changed |= self.heat.update(self.bins, most)
        complete = self.bins.is_complete and is_touched and self.heat.is_complete
        changed |= complete != self._was_complete
        self._was_complete = complete
        return changed or is_other

    @property
    def is_complete(self) -> bool:
        """Whether everything is counted."""
        return self._was_complete or not self.places

    def _same_place(self) -> Place | None:
        """The place that is looked at, by its name; the one with most rows where none was chosen or it is gone."""
        wanted = self.look.place
        for place in self.places:
            if wanted is not None and (place.name, place.bar) == (wanted.name, wanted.bar):
                self.look = replace(self.look, place=place)
                return place
        return self.places[0] if self.places else None

    def _addresses(self) -> tuple[int, int]:
        touched = self._touched
        if self.look.high > self.look.low:
            return self.look.low, self.look.high
        return (touched.low, max(touched.high, touched.low + 1)) if touched is not None else (0, 1)

    def _grid(self, place: Place) -> HeatBins:
        """Cells that hold the look: those that are there where they do, else new ones.

        Where the look grows with the trace, widths are powers of two with room to grow, so that all rows are counted
        anew only now and then.
        """
        window = self.look.window.placed(self.bins)
        low, high = self._addresses()
        step = _power(-(-(high - low) // MOST_BANDS))
        width = window.width(self.look.bins)
        is_fixed = window.mode == "fixed"
        width = width if is_fixed else _power(width)
        heat = self.heat
        if (
            heat is not None
            and (heat.place, heat.width, heat.step) == (place, width, step)
            and (heat.first <= window.first and window.stop <= heat.end)
            and (heat.low <= low and high <= heat.high)
        ):
            return heat
        # The margin before a whole trace grows with it, by less than 8 stretches until their width changes.
        first = (window.first // width - (0 if is_fixed else 8)) * width
        bins = -(-(window.stop - first) // width) if is_fixed else 2 * self.look.bins + 16
        low -= low % step
        bands = MOST_BANDS + 1 if self.look.high <= self.look.low else -(-(high - low) // step)
        return HeatBins(place, first, width, bins, low, step, bands)

    def picture(self, chosen: Rows | None = None) -> tuple[dict[str, Any], bytes]:
        """What to draw: plain facts, and the cells and chosen cells they count."""
        window = self.look.window.placed(self.bins)
        place = self._same_place()
        low, high = self.bins.extent()
        header: dict[str, Any] = {
            "places": [one.label for one in self.places],
            "place": self.places.index(place) if place is not None else -1,
            "reads": self.look.reads,
            "writes": self.look.writes,
            "extent": [low, high],
            "mode": window.mode,
            "first": window.first,
            "stop": window.stop,
            "total": len(self.bins),
            "done": self._done(),
            "cells": 0,
            "chosen_cells": 0,
            "chosen": 0 if chosen is None else len(chosen),
        }
        heat, touched = self.heat, self._touched
        if heat is None or place is None or touched is None:
            return header, b""
        from_address, to_address = self._addresses()
        if self.look.high <= self.look.low:  # whole cells
            from_address -= from_address % heat.step
            to_address += -to_address % heat.step
        base = 0 if place.bar >= 0 else touched.low // _PAGE * _PAGE
        column, end_column = self._columns(heat, window)
        band = max((from_address - heat.low) // heat.step, 0)
        end_band = min(-(-(to_address - heat.low) // heat.step), heat.bands)
        counts = heat.counts(reads=self.look.reads, writes=self.look.writes)[band:end_band, column:end_column]
        bins = counts.shape[1]
        used = np.flatnonzero(counts)
        cells = np.zeros(len(used), CELL)
        cells["at"], cells["count"] = used, np.minimum(counts.ravel()[used], 0xFFFFFFFF)
        marked = self._chosen_cells(heat, chosen, band, end_band, column, end_column)
        header |= {
            "base": hex(base),
            "low": from_address - base,
            "high": to_address - base,
            "touched": [touched.low - base, touched.high - base],
            "bands": counts.shape[0],
            "band_low": heat.low + band * heat.step - base,
            "step": heat.step,
            "bins": bins,
            "bin_first": heat.first + column * heat.width,
            "width": heat.width,
            "most": int(counts.max(initial=0)),
            "names": self._names(place, from_address, to_address),
            "cells": len(cells),
            "chosen_cells": len(marked),
        }
        return header, cells.tobytes() + marked.astype("<u4").tobytes()

    def _columns(self, heat: HeatBins, window: Window) -> tuple[int, int]:
        first = max((window.first - heat.first) // heat.width, 0)
        stop = min(-(-(window.stop - heat.first) // heat.width), heat.bins)
        return first, max(stop, first)

    def _done(self) -> float:
        counted_share = self.heat.done if self.heat is not None else 1.0
        summed = 1.0 if self.bins.is_complete else self.bins.summed / max(len(self.bins), 1)
        return min(counted_share, summed)

    def _names(self, place: Place, low: int, high: int) -> list[dict[str, Any]]:
        """The registers of the stretch of addresses, where something describes the BAR."""
        registers = self._registers(place)
        if registers is None:
            return []
        shown = [one for one in registers if one.end > low and one.offset < high]
        if len(shown) > _MOST_NAMES:
            return []
        return [{"low": one.offset, "high": one.end, "name": one.name} for one in shown]

    def _registers(self, place: Place) -> RegisterMap | None:
        info = self.trace.devices[place.devices[-1]].bars.get(place.bar) if self.trace is not None else None
        return info.registers if info is not None else None

    def _chosen_cells(
        self, heat: HeatBins, chosen: Rows | None, band: int, end_band: int, column: int, end_column: int
    ) -> Array:
        """Which of the cells that are sent hold the beginning of a chosen row."""
        if chosen is None or not 0 < len(chosen) <= _MOST_CHOSEN:
            return np.zeros(0, dtype=np.int64)
        numbers = np.arange(chosen.start, chosen.stop) if isinstance(chosen, range) else chosen
        positions = self.bins.view.positions(numbers)
        at, bands, _ = heat.touching(self.bins.view, positions[positions >= 0])
        columns = (self.bins.x_of(at) - heat.first) // heat.width
        inside = (bands >= band) & (bands < end_band) & (columns >= column) & (columns < end_column)
        return np.unique((bands[inside] - band) * (end_column - column) + columns[inside] - column)

    def choose(self, first: int, stop: int, low: int, high: int) -> Array:
        """Numbers of the rows that touch some addresses in a stretch of time."""
        place = self._same_place()
        if place is None:
            return np.zeros(0, dtype=np.int64)
        cell = HeatBins(place, first, max(stop - first, 1), 1, low, max(high - low, 1), 1)
        span = self.bins.span(first, cell.end)
        found = cell.find(self.bins.view, span, reads=self.look.reads, writes=self.look.writes)
        return self.bins.x_of(found, by_row=True)

    @property
    def base(self) -> int:
        """The address that the picture's addresses count from."""
        place = self._same_place()
        if place is None or place.bar >= 0 or self._touched is None:
            return 0
        return self._touched.low // _PAGE * _PAGE

    def summary(self) -> str:
        """The picture in a sentence or two, for those who do not see it."""
        place = self._same_place()
        if place is None or self.heat is None:
            return "No access to a BAR or to guest memory in this trace yet."
        window = self.look.window.placed(self.bins)
        low, high = self._addresses()
        column, end = self._columns(self.heat, window)
        counts = self.heat.counts(reads=self.look.reads, writes=self.look.writes)[:, column:end]
        per_band = counts.sum(axis=1)
        busiest = int(per_band.argmax())
        at = self.heat.low + busiest * self.heat.step
        registers = self._registers(place)
        register = registers.at(at) if registers is not None else None
        what = {(True, True): "Accesses", (True, False): "Reads", (False, True): "Writes"}
        told = what.get((self.look.reads, self.look.writes), "Neither reads nor writes")
        name = f" ({register.name})" if register is not None else ""
        return (
            f"{told} of {place.label} from {low:#x} to {high - 1:#x}, {duration(window.span)} of time; most, "
            f"{counted(int(per_band[busiest]))}, at {at:#x}{name}."
        )

    def text(self, columns: int = 60, lines: int = 24) -> str:
        """The picture in characters, darker for more, on a logarithmic scale."""
        place = self._same_place()
        if place is None or self.heat is None:
            return self.summary()
        window = self.look.window.placed(self.bins)
        low, high = self._addresses()
        step = _power(-(-(high - low) // lines))
        low -= low % step
        width = window.width(columns)
        heat = HeatBins(place, window.first, width, columns, low, step, -(-(high - low) // step))
        heat.update(self.bins)
        counts = heat.counts(reads=self.look.reads, writes=self.look.writes)
        shade = np.ceil(np.log1p(counts) / np.log1p(max(int(counts.max()), 1)) * 4).astype(int)
        room = len(f"{low + step * heat.bands:#x}")
        drawn = [
            f"{f'{low + band * step:#x}':>{room}} |{''.join(' ░▒▓█'[level] for level in row)}| {counted(int(total))}"
            for band, (row, total) in enumerate(zip(shade, counts.sum(axis=1), strict=True))
            if total
        ]
        scale = f"one character is {duration(width)} by {step} bytes; what was not touched has no line"
        return "\n".join([self.summary(), *drawn, f"{'':>{room}}  {scale}"])


def _power(least: int) -> int:
    """The smallest power of two that is at least ``least``."""
    return 1 << max(least - 1, 0).bit_length()
