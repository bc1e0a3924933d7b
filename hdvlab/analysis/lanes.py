"""Lanes of a timeline: which lane a row stands in, and what is drawn there."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import Array, device_name, failed, kind_codes, pending
from hdvlab.trace.schema import KIND_GROUPS, Kind
from hdvlab.trace.tables import Tables

#: Columns of :func:`df_lanes`.
LANE_COLUMNS = {
    "label": "what the lane holds, with the device's name where the trace has several",
    "device": "device number; -1 = none",
    "part": "one of PARTS",
    "rows": "rows in the lane",
}

#: Columns of :func:`df_marks`.
MARK_COLUMNS = {
    "lane": "number of the lane",
    "kind": "kind of the rows, category",
    "t_ns": "start of the row, or of the stretch of time that the mark stands for",
    "end_ns": "end of the row (start + duration), or of the stretch",
    "count": "rows the mark stands for",
    "failed": "of these: faults and accesses that failed",
    "pending": "of these: accesses still being served",
}

#: Parts of a device that have a lane each, top to bottom. ``MMIO`` is for accesses that no BAR claims.
PARTS = (
    "config",
    "MMIO",
    *(f"BAR{bar}" for bar in range(6)),
    "doorbells",
    "DMA",
    "interrupts",
    "memory",
    "lifecycle",
    "faults",
)

_KINDS = pd.CategoricalDtype([kind.name for kind in Kind])
_BAR0 = PARTS.index("BAR0")
_WIDTH = 16  # keys per device: at least len(PARTS)
_FEW = 1000  # marks that never count as too many
_COLUMNS = 400  # marks that fit side by side in a lane
_NOWHERE = 15  # part number of rows that have no lane: marks and lost rows run across all lanes


def _part_of_kind() -> Array:
    parts = np.full(len(Kind), _NOWHERE, dtype=np.int64)
    for group, part in (
        ("config", "config"),
        ("mmio", "MMIO"),
        ("doorbell", "doorbells"),
        ("dma", "DMA"),
        ("interrupt", "interrupts"),
        ("memory", "memory"),
        ("lifecycle", "lifecycle"),
        ("fault", "faults"),
    ):
        parts[[int(kind) for kind in KIND_GROUPS[group]]] = PARTS.index(part)
    return parts


_PART_OF_KIND = _part_of_kind()


def _keys(rows: pd.DataFrame, tables: Tables) -> Array:
    """One number per row that orders lanes: device, then part."""
    codes = kind_codes(rows)
    part = _PART_OF_KIND.astype(np.int32)[codes]
    bar = rows["bar"].to_numpy()
    placed = bar >= 0
    placed &= (part == PARTS.index("MMIO")) | (codes == int(Kind.fault))
    part = np.where(placed, bar + np.int32(_BAR0), part)
    device: Array = np.minimum(rows["device"].to_numpy(), np.uint16(min(len(tables.devices), 0xFFFF))).astype(np.int32)
    device *= _WIDTH
    device += part
    return device


def df_lanes(rows: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """The lanes that rows need, top to bottom: device by device, and what belongs to no device last.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the trace.

    Returns
    -------
    DataFrame
        Columns :data:`LANE_COLUMNS`, index ``lane``.
    """
    counts = np.bincount(_keys(rows, tables), minlength=1)
    found = [key for key in np.flatnonzero(counts) if key % _WIDTH != _NOWHERE]
    several = len({key // _WIDTH for key in found if key // _WIDTH < len(tables.devices)}) > 1
    entries = []
    for key in found:
        number, part = int(key) // _WIDTH, PARTS[int(key) % _WIDTH]
        known = number < len(tables.devices)
        label = f"{device_name(tables, number)} {part}" if several and known else part
        entries.append((label, number if known else -1, part, int(counts[key])))
    lanes = pd.DataFrame(entries, columns=list(LANE_COLUMNS))
    lanes.index.name = "lane"
    return lanes


def lane_numbers(rows: pd.DataFrame, tables: Tables, lanes: pd.DataFrame) -> Array:
    """For each row its lane in :func:`df_lanes`' frame; -1 for rows without one."""
    lane_of_key = np.full((len(tables.devices) + 1) * _WIDTH, -1, dtype=np.int32)
    for lane, (device, part) in enumerate(zip(lanes["device"], lanes["part"], strict=True)):
        number = len(tables.devices) if device < 0 else device
        lane_of_key[number * _WIDTH + PARTS.index(part)] = lane
    chosen: Array = lane_of_key[_keys(rows, tables)]
    return chosen


def df_marks(rows: pd.DataFrame, lane: Array, max_marks: int = 20_000) -> pd.DataFrame:
    """What to draw in the lanes: one mark per row, or, where these would be too many, one per stretch of time.

    Too many are more than ``max_marks``, or so many that most would stand on top of one another.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    lane : array of int
        Lane of each row (:func:`lane_numbers`); rows with -1 are left out.
    max_marks : int
        Most marks to make.

    Returns
    -------
    DataFrame
        Columns :data:`MARK_COLUMNS`; the index is ``row`` where each mark is one row. ``attrs["binned"]`` says whether
        marks stand for stretches, ``attrs["rows"]`` how many rows there are in all.
    """
    drawn = int(np.count_nonzero(lane >= 0))
    binned = drawn > max_marks or _crowded(rows, lane, drawn)
    marks = _one_per_stretch(rows, lane, max_marks) if binned else _one_per_row(rows, lane)
    marks["kind"] = pd.Categorical.from_codes(marks["kind"].to_numpy(), dtype=_KINDS)
    marks.attrs.update(binned=binned, rows=drawn)
    return marks


def _crowded(rows: pd.DataFrame, lane: Array, drawn: int) -> bool:
    """Whether more than three of four marks would hide behind another of their kind."""
    if drawn <= _FEW:
        return False
    t_ns = rows["t_ns"].to_numpy()
    column = (t_ns - t_ns.min()) * _COLUMNS // (int(t_ns.max()) - int(t_ns.min()) + 1)
    cells = ((lane + 1) * len(Kind) + kind_codes(rows)) * _COLUMNS + column
    return drawn > 4 * len(np.unique(cells[lane >= 0]))


def _one_per_row(rows: pd.DataFrame, lane: Array) -> pd.DataFrame:
    chosen = lane >= 0
    t_ns = rows["t_ns"].to_numpy()[chosen]
    return pd.DataFrame(
        {
            "lane": lane[chosen],
            "kind": kind_codes(rows)[chosen],
            "t_ns": t_ns,
            "end_ns": t_ns + rows["dur_ns"].to_numpy()[chosen],
            "count": 1,
            "failed": failed(rows)[chosen].astype(np.int64),
            "pending": pending(rows)[chosen].astype(np.int64),
        },
        index=rows.index[chosen],
    )


def _one_per_stretch(rows: pd.DataFrame, lane: Array, max_marks: int) -> pd.DataFrame:
    kinds = len(Kind)
    groups = (lane + 1) * np.int32(kinds) + kind_codes(rows)  # lane -1 becomes the first `kinds` groups, dropped below
    present = np.flatnonzero(np.bincount(groups))
    present = present[present >= kinds]
    # More stretches than a wide screen has pixels would not show.
    bins = max(1, min(max_marks // len(present), 1500))
    t_ns = rows["t_ns"].to_numpy()
    first, last = int(t_ns.min()), int(t_ns.max())
    width = max((last - first) // bins + 1, 1)
    rank = np.full(int(groups.max()) + 1, -1, dtype=np.int32)
    rank[present] = np.arange(len(present))
    cell = ((t_ns - first) * (1.0 / width)).astype(np.int32)
    np.minimum(cell, bins - 1, out=cell)
    cell += rank[groups] * np.int32(bins)
    chosen = lane >= 0

    def per_cell(which: Array) -> Array:
        return np.bincount(cell[which], minlength=len(present) * bins)

    count = per_cell(chosen) if not chosen.all() else np.bincount(cell, minlength=len(present) * bins)
    used = np.flatnonzero(count)
    start = first + (used % bins) * width
    group = present[used // bins]
    return pd.DataFrame(
        {
            "lane": group // kinds - 1,
            "kind": group % kinds,
            "t_ns": start,
            "end_ns": start + width,
            "count": count[used],
            "failed": per_cell(chosen & failed(rows))[used],
            "pending": per_cell(chosen & pending(rows))[used],
        }
    )
