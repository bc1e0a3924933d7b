"""What a timeline panel is sent: lanes, bins or single rows of a stretch, moments and losses, in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdvlab.analysis.lanes import df_lanes, lane_numbers
from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind
from hdvlab.trace.tables import Tables
from hdvlab.trace.trace import Trace
from hdvlab.widgets.bins import Bins
from hdvlab.widgets.chosen import chosen_among, chosen_per_bin
from hdvlab.widgets.row_groups import group_columns
from hdvlab.widgets.timeline_window import Window
from hdvlab.widgets.units import counted, duration

Array = np.ndarray[Any, Any]
Rows = range | Array

#: One row as it is drawn. ``x`` is its time since the picture's origin, in ns; ``flags`` are those below.
RECORD = np.dtype(
    [
        ("row", "<i8"), ("x", "<i8"), ("address", "<u8"), ("value", "<u8"), ("cause", "<i8"), ("dur_ns", "<u4"),
        ("size", "<u4"), ("status", "<i4"), ("device", "<u2"), ("lane", "<i2"), ("kind", "u1"), ("origin", "u1"),
        ("bar", "i1"), ("flags", "u1"), ("spare", "<u4"),
    ]
)  # fmt: skip
PENDING, FAILED, CHOSEN, OUTSIDE = 1, 2, 4, 8

#: Rows of a kind in a lane and a stretch of the picture.
CELL = np.dtype([("lane", "<u2"), ("kind", "u1"), ("spare", "u1"), ("bin", "<u4"), ("count", "<u4"), ("failed", "<u4")])

#: Chosen rows in a stretch.
SHARE = np.dtype([("bin", "<u4"), ("count", "<u4")])

#: Rows are drawn one by one where there are no more of them.
MOST_ROWS = 3000
_MOST_MOMENTS = 100
_MOST_RUNNING = 200
_FAR = 1 << 16  # rows behind an access that are searched for its effects
_STEPS = [int(kind) for kind in KIND_GROUPS["lifecycle"]]


class TimelinePicture:
    """Pictures of one trace that may still grow."""

    def __init__(self) -> None:
        self.bins = Bins()
        self.origin = 0
        """Time that the picture's times count from, ns."""
        self.trace: Trace | None = None
        self.lanes = df_lanes(pd.DataFrame({"kind": [0], "bar": [-1], "device": [0]}), Tables())
        self._lane_of_group: Array = np.zeros(0, dtype=np.int64)
        self._known = (-1, -1)

    def update(self, trace: Trace, most: int = 1 << 62) -> bool:
        """Take in new rows of ``trace``, at most about ``most``; whether a picture would be another."""
        is_other = trace is not self.trace
        if is_other:
            self.trace, self.bins, self._known = trace, Bins(), (-1, -1)
        was_empty = not len(self.bins)
        tables = trace.tables
        changed = self.bins.update(trace.view(), len(tables.devices), most)
        if was_empty and len(self.bins):
            # Trace time, unless it is of a calendar: a browser's numbers are exact up to 2**53.
            low = self.bins.extent()[0]
            self.origin = low if abs(low) >= 1 << 52 else 0
        # Rows that are not in blocks yet get their group when they are looked at.
        self.bins.groups_of(np.arange(self.bins.summed, len(self.bins)) if self.bins.is_complete else np.arange(0))
        self._name_lanes(tables)
        return changed or is_other

    def _name_lanes(self, tables: Tables) -> None:
        if self._known != (known := (len(self.bins.groups), len(tables.devices))):
            columns = group_columns(self.bins.groups)
            groups = pd.DataFrame({name: columns[name] for name in ("kind", "bar", "device")})
            self.lanes = df_lanes(groups, tables)
            self._lane_of_group = lane_numbers(groups, tables, self.lanes)
            self._known = known

    def picture(self, window: Window, bins: int, chosen: Rows | None = None) -> tuple[dict[str, Any], bytes]:
        """What to draw of a window, at most ``bins`` stretches wide: plain facts, and the records they count."""
        assert self.trace is not None, "update comes first"
        window = window.placed(self.bins)
        base = 0 if window.by_row else self.origin
        low, high = self.bins.extent(by_row=window.by_row)
        found = self.bins.find(window.first, window.stop, MOST_ROWS, by_row=window.by_row)
        parts: dict[str, Array] = {"cells": np.zeros(0, CELL), "shares": np.zeros(0, SHARE)}
        header: dict[str, Any] = {
            "first": window.first - base,
            "stop": window.stop - base,
            "extent": [low - base, high - base],
            "origin": str(self.origin),
            "by_row": window.by_row,
            "mode": window.mode,
            "lanes": self.lanes["label"].tolist(),
            "total": len(self.bins),
            "summed": len(self.bins) if self.bins.is_complete else self.bins.summed,
            "binned": found is None,
        }
        if found is None:
            header |= self._draw_bins(window, bins, base, chosen, parts)
            shown = np.zeros(0, dtype=np.int64)
        else:
            header["shown"], header["width"] = len(found), 0
            shown = found
        waiting = self.bins.find_pending()
        header["pending"] = len(waiting)
        if not window.by_row:
            running = self.bins.find_running(window.first) if found is not None else waiting[:0]
            x = self.bins.x_of(waiting)
            running = np.union1d(running, waiting[(x < window.stop)])
            header["more_running"] = max(len(running) - _MOST_RUNNING, 0)
            shown = np.union1d(shown, running[-_MOST_RUNNING:])
        around, header["unsearched"] = self._around(chosen)
        shown = np.union1d(shown, around)
        parts["rows"] = self._records(shown, window, base, chosen)
        header["chosen"] = 0 if chosen is None else len(chosen)
        header |= self._moments(window, base)
        header |= {name: len(parts[name]) for name in ("cells", "shares", "rows")}
        return header, b"".join(parts[name].tobytes() for name in ("cells", "shares", "rows"))

    def _draw_bins(
        self, window: Window, bins: int, base: int, chosen: Rows | None, parts: dict[str, Array]
    ) -> dict[str, Any]:
        width = window.width(bins)
        first = window.first // width * width  # a picture that moves along keeps its bins
        bins = -(-(window.stop - first) // width)
        counts = self.bins.count(first, width, bins, by_row=window.by_row)
        self._name_lanes(self.trace.tables)  # type: ignore[union-attr]
        columns = group_columns(self.bins.groups)
        lane = self._lane_of_group
        key = lane * 32 + columns["kind"]
        drawn = np.unique(key[lane >= 0])
        sums = np.zeros((2, len(drawn), bins), dtype=np.int64)
        for group in np.flatnonzero(lane >= 0):
            sums[0, np.searchsorted(drawn, key[group])] += counts[group]
            if columns["failed"][group]:
                sums[1, np.searchsorted(drawn, key[group])] += counts[group]
        at, where = np.nonzero(sums[0])
        cells = np.zeros(len(at), CELL)
        cells["lane"], cells["kind"], cells["bin"] = drawn[at] // 32, drawn[at] % 32, where
        cells["count"], cells["failed"] = sums[0][at, where], sums[1][at, where]
        parts["cells"] = cells
        if chosen is not None and len(chosen):
            share = chosen_per_bin(self.bins, chosen, first, width, bins, window.by_row)
            used = np.flatnonzero(share)
            parts["shares"] = np.zeros(len(used), SHARE)
            parts["shares"]["bin"], parts["shares"]["count"] = used, share[used]
        return {"bin_first": first - base, "width": width, "bins": bins, "shown": int(sums[0].sum())}

    def _around(self, chosen: Rows | None) -> tuple[Array, int]:
        """Positions of the one chosen row, of what caused it and of what it caused; and how many rows behind it were
        not searched for that."""
        if chosen is None or len(chosen) != 1:
            return np.zeros(0, dtype=np.int64), 0
        view, row = self.bins.view, int(chosen[0])
        place = int(view.positions(np.array([row]))[0])
        if place < 0:
            return np.zeros(0, dtype=np.int64), 0
        cause = view.columns["cause"]
        effects = np.flatnonzero(cause[place + 1 : place + _FAR] == row) + place + 1
        before = view.positions(cause[place : place + 1])
        unsearched = max(len(cause) - (place + _FAR), 0)
        return np.concatenate([before[before >= 0], [place], effects[:MOST_ROWS]]), unsearched

    def _records(self, positions: Array, window: Window, base: int, chosen: Rows | None) -> Array:
        view = self.bins.view
        columns = view.columns
        records = np.zeros(len(positions), RECORD)
        for name in ("address", "value", "cause", "dur_ns", "size", "status", "device", "kind", "origin", "bar"):
            records[name] = columns[name][positions]
        records["row"] = self.bins.x_of(positions, by_row=True)
        records["x"] = columns["t_ns"][positions] - self.origin
        group = self.bins.groups_of(positions)
        self._name_lanes(self.trace.tables)  # type: ignore[union-attr]
        records["lane"] = self._lane_of_group[group] if len(group) else group
        status = records["status"]
        x = self.bins.x_of(positions, by_row=window.by_row)
        records["flags"] = (
            PENDING * (status == E_PENDING)
            + FAILED * (((status < 0) & (status != E_PENDING)) | (records["kind"] == Kind.fault))
            + CHOSEN * chosen_among(records["row"], chosen)
            + OUTSIDE * ((x < window.first) | (x >= window.stop))
        )
        return records

    def _moments(self, window: Window, base: int) -> dict[str, Any]:
        """Marks, lifecycle steps and losses in the window."""
        rare = self.bins.find_rare()
        x = self.bins.x_of(rare, by_row=window.by_row)
        rare = rare[(x >= window.first) & (x < window.stop)]
        kind = self.bins.view.columns["kind"][rare]
        rows = self.bins.x_of(rare, by_row=True)
        named = (kind == Kind.mark) | np.isin(kind, _STEPS)
        moments = []
        for position, row, code in list(zip(rare[named], rows[named], kind[named], strict=True))[:_MOST_MOMENTS]:
            at = int(self.bins.x_of(np.array([position]), by_row=window.by_row)[0])
            label = self.trace.text(int(row)) or "mark" if code == Kind.mark else Kind(code).name.replace("_", " ")  # type: ignore[union-attr]
            moments.append({"x": at - base, "row": int(row), "label": label[:200], "mark": bool(code == Kind.mark)})
        lost = []
        losses = rare[kind == Kind.lost]
        for position in losses[:_MOST_MOMENTS].tolist():
            ends = self.bins.x_of(np.array([max(position - 1, 0), position]), by_row=window.by_row)
            rows_lost = int(self.bins.view.columns["value"][position])
            lost.append({"first": int(ends.min()) - base, "stop": int(ends[1]) - base, "rows": rows_lost})
        unnamed = int(np.count_nonzero(named)) - len(moments)
        return {"moments": moments, "more_moments": unnamed, "lost": lost, "more_lost": len(losses) - len(lost)}

    def brush(self, window: Window, lanes: Sequence[int] | None = None) -> Rows:
        """Numbers of the rows that begin in a window, in all lanes or in some: a range where nothing is left out."""
        span = self.bins.span(window.first, window.stop, by_row=window.by_row)
        positions = np.arange(span.start, span.stop)
        x = self.bins.x_of(positions, by_row=window.by_row)
        inside = (x >= window.first) & (x < window.stop)
        positions = positions[inside]
        if lanes is not None:
            group = self.bins.groups_of(positions)
            self._name_lanes(self.trace.tables)  # type: ignore[union-attr]
            positions = positions[np.isin(self._lane_of_group, lanes)[group]]
        rows = self.bins.x_of(positions, by_row=True)
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
            return range(int(rows[0]), int(rows[-1]) + 1)
        return rows

    def summary(self, window: Window) -> str:
        """The picture in a sentence or two, for those who do not see it."""
        window = window.placed(self.bins)
        if not len(self.bins):
            return "No rows in this trace yet."
        counts = self.bins.count(window.first, window.span, 1, by_row=window.by_row)[:, 0]
        self._name_lanes(self.trace.tables)  # type: ignore[union-attr]
        busy = [
            f"{label} {counted(int(counts[self._lane_of_group == lane].sum()))}"
            for lane, label in enumerate(self.lanes["label"])
        ]
        failed = int(counts[group_columns(self.bins.groups)["failed"]].sum())
        if window.by_row:
            where = f"rows {counted(window.first)} to {counted(window.stop - 1)}"
        else:
            where = f"{duration(window.span)} from {duration(window.first - self.origin)} on"
        told = f"{counted(int(counts.sum()))} of {counted(len(self.bins))} rows, {where}: {', '.join(busy)}."
        waiting = len(self.bins.find_pending())
        return told + (f" {counted(failed)} failed." if failed else "") + (f" {waiting} pending." if waiting else "")

    def text(self, window: Window, columns: int = 60) -> str:
        """The picture in characters: a line for each lane, its height the logarithm of how many rows there are."""
        window = window.placed(self.bins)
        if not len(self.bins):
            return "No rows in this trace yet."
        counts = self.bins.count(window.first, window.width(columns), columns, by_row=window.by_row)
        self._name_lanes(self.trace.tables)  # type: ignore[union-attr]
        labels = self.lanes["label"].tolist()
        room = max((len(label) for label in labels), default=0)
        most = np.log1p(max(int(counts.max()), 1))
        lines = []
        for lane, label in enumerate(labels):
            per_bin = counts[self._lane_of_group == lane].sum(axis=0)
            height = np.ceil(np.log1p(per_bin) / most * 8).astype(int).clip(0, 8)
            drawn = "".join(" ▁▂▃▄▅▆▇█"[level] for level in height)
            lines.append(f"{label:>{room}} |{drawn}| {counted(int(per_bin.sum()))}")
        unit = counted(window.width(columns)) + " rows" if window.by_row else duration(window.width(columns))
        return "\n".join([self.summary(window), *lines, f"{'':>{room}}  one character is {unit}"])
