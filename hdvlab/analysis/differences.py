"""Two runs side by side: how often each register was touched in the one and in the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hdvlab.analysis.places import factorize_places
from hdvlab.analysis.selection import ACCESS_KINDS, READS, WRITES, Array, device_name, kind_codes, of_kinds
from hdvlab.analysis.stretches import Stretches, pieces
from hdvlab.trace.schema import KIND_GROUPS, Kind
from hdvlab.trace.tables import Tables

#: Columns of :func:`df_differences`.
DIFFERENCE_COLUMNS = {
    "label": "the register, or the place; a kind where accesses go to no BAR; with the device where there are several",
    "device": "the device's name",
    "place": "places that the row stands for; more than 1 for the last row where there are too many",
    "left_reads": "reads in the left run",
    "left_writes": "writes in the left run, doorbells too",
    "left": "all in the left run",
    "right_reads": "reads in the right run",
    "right_writes": "writes in the right run",
    "right": "all in the right run",
    "difference": "right less left",
}

#: Columns of :func:`df_strokes`.
STROKE_COLUMNS = {
    "band": "number of the band",
    "side": "-1 = read, 1 = write, 0 = neither",
    "t_ns": "since the run began: of the row, or of the beginning of the stretch that the stroke stands for",
    "end_ns": "the same time, or the end of the stretch",
    "count": "rows that the stroke stands for",
}

#: Kinds beside accesses to BARs that have a row each.
_ELSEWHERE = KIND_GROUPS["config"] | KIND_GROUPS["dma"] | KIND_GROUPS["interrupt"]


def df_differences(left: pd.DataFrame, right: pd.DataFrame, *tables: Tables, max_bands: int = 24) -> pd.DataFrame:
    """Counts of accesses per register in two runs, and by how much they differ.

    Registers are the same where device (by name), BAR and offset are. Beside them there is a row for each of config
    space, DMA and interrupts.

    Parameters
    ----------
    left, right : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the left trace and, where these are others, those of the right.
    max_bands : int
        Most rows. Where there would be more, places that differ most are kept, then the busiest, and the last row is
        all others.

    Returns
    -------
    DataFrame
        Columns :data:`DIFFERENCE_COLUMNS`, index ``band``, in the order of device, BAR and offset.
    """
    return factorize_bands(left, right, *tables, max_bands=max_bands)[2]


def factorize_bands(
    left: pd.DataFrame, right: pd.DataFrame, *tables: Tables, max_bands: int = 24
) -> tuple[Array, Array, pd.DataFrame]:
    """What :func:`df_differences` gives, and for each row of either run its band; -1 for rows that have none."""
    of_left, of_right = tables[0] if tables else Tables(), tables[-1] if tables else Tables()
    codes, places = [], []
    for rows, known in ((left, of_left), (right, of_right)):
        code, place = _places(rows, known)
        codes.append(code)
        places.append(place)
    keys = ["device", "part", "bar", "address"]
    joined = pd.concat(places).drop_duplicates(keys)
    joined = joined.sort_values(["part", "device", "bar", "address"], kind="stable").reset_index(drop=True)
    number = pd.Series(np.arange(len(joined)), index=pd.MultiIndex.from_frame(joined[keys]))
    band_of = [
        number.reindex(pd.MultiIndex.from_frame(place[keys])).to_numpy() if len(place) else np.empty(0, np.int64)
        for place in places
    ]
    bands = [
        np.where(code >= 0, np.append(band, -1)[code], -1).astype(np.int64)
        for code, band in zip(codes, band_of, strict=True)
    ]
    joined["label"] = _labels(joined)
    counted = _count(joined, bands, (left, right))
    if len(counted) > max_bands:
        rank = np.lexsort((-(counted["left"] + counted["right"]), -counted["difference"].abs()))
        own = np.sort(rank[: max_bands - 1])
        renumber = np.full(len(counted) + 1, max_bands - 1)
        renumber[own], renumber[-1] = np.arange(len(own)), -1
        bands = [renumber[band] for band in bands]
        shared = counted.drop(own)
        others: dict[str, Any] = {name: shared[name].sum() for name in list(DIFFERENCE_COLUMNS)[2:]}
        last = pd.DataFrame([{"label": f"{len(shared):,} others", "device": "", **others}])
        counted = pd.concat([counted.loc[own], last], ignore_index=True)
    counted.index.name = "band"
    return bands[0], bands[1], counted


def _places(rows: pd.DataFrame, tables: Tables) -> tuple[Array, pd.DataFrame]:
    """A number for the place of each row, and what the places are: registers first, then kinds that go to no BAR."""
    codes, places = factorize_places(rows, tables)
    known = places[["device", "bar", "address", "register"]].copy()
    known["part"] = 0
    kinds = kind_codes(rows)
    other = of_kinds(kinds, _ELSEWHERE)
    if other.any():
        device = rows["device"].to_numpy()[other].astype(np.int64)
        fine, unique = pd.factorize(device * len(Kind) + kinds[other])
        codes = codes.copy()
        codes[other] = len(known) + fine
        names = [Kind(kind).name.replace("_", " ") for kind in (unique % len(Kind)).tolist()]
        more = {
            "device": unique // len(Kind),
            "bar": -1,
            "address": unique % len(Kind),
            "register": np.array(names, dtype=object),
            "part": 1,
        }
        known = pd.concat([known, pd.DataFrame(more)], ignore_index=True)
    names = [device_name(tables, number) for number in known["device"].tolist()]
    known["device"] = np.array(names, dtype=object)
    return codes, known


def _labels(places: pd.DataFrame) -> list[str]:
    several = places["device"].nunique() > 1
    bars = places.loc[places["part"] == 0].groupby("device")["bar"].nunique()
    labels = []
    for device, bar, address, register in zip(
        places["device"], places["bar"], places["address"], places["register"], strict=True
    ):
        place = register or (f"BAR{bar}+{address:#x}" if bars[device] > 1 else f"{address:#x}")
        labels.append(f"{device} {place}" if several and device else place)
    return labels


def _count(places: pd.DataFrame, bands: list[Array], sides: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    counted = pd.DataFrame({"label": places["label"], "device": places["device"], "place": 1})
    for name, band, rows in zip(("left", "right"), bands, sides, strict=True):
        sides_of = np.zeros((len(places) + 1, 3), dtype=np.int64)
        for piece in pieces(len(rows)):  # band -1 falls on the last row, which is dropped
            key = band[piece] % (len(places) + 1) * 3 + side_of(rows.iloc[piece]) + 1
            sides_of += np.bincount(key, minlength=sides_of.size).reshape(sides_of.shape)
        counted[f"{name}_reads"], counted[f"{name}_writes"] = sides_of[:-1, 0], sides_of[:-1, 2]
        counted[name] = sides_of[:-1].sum(axis=1)
    counted["difference"] = counted["right"] - counted["left"]
    return counted[list(DIFFERENCE_COLUMNS)]


def side_of(rows: pd.DataFrame) -> Array:
    """-1 for rows that read, 1 for rows that write, 0 for others; int8."""
    sides = np.zeros(len(Kind), dtype=np.int8)
    sides[[int(kind) for kind in READS]], sides[[int(kind) for kind in WRITES]] = -1, 1
    found: Array = sides[kind_codes(rows)]
    return found


def run_start(rows: pd.DataFrame) -> int:
    """When a run begins: its first access, in nanoseconds since the trace began; marks and power-on are before it."""
    counted = of_kinds(kind_codes(rows), {*ACCESS_KINDS, *_ELSEWHERE})
    t_ns = rows["t_ns"].to_numpy()[counted]
    return int(t_ns.min()) if len(t_ns) else 0


def df_strokes(rows: pd.DataFrame, band: Array, stretches: Stretches, binned: bool) -> pd.DataFrame:
    """What to draw of one run: a stroke per row, or one per stretch of time.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    band : array of int
        Band of each row; rows with -1 are left out.
    stretches : Stretches
        Of the time since the run began.
    binned : bool
        One per stretch.

    Returns
    -------
    DataFrame
        Columns :data:`STROKE_COLUMNS`.
    """
    t_ns, start_ns = rows["t_ns"].to_numpy(), run_start(rows)
    if not binned:
        chosen = band >= 0
        start = t_ns[chosen] - start_ns
        side = side_of(rows)[chosen]
        return pd.DataFrame({"band": band[chosen], "side": side, "t_ns": start, "end_ns": start, "count": 1})
    counts = np.zeros((int(band.max(initial=-1)) + 1) * 3 * stretches.count, dtype=np.int64)
    for piece in pieces(len(rows)):
        chosen = band[piece] >= 0
        key = band[piece] * 3 + side_of(rows.iloc[piece]) + 1
        key = key * stretches.count + stretches.of(t_ns[piece] - start_ns)
        counts += np.bincount(key[chosen], minlength=len(counts))
    used = np.flatnonzero(counts)
    start = stretches.first_ns + used % stretches.count * stretches.width_ns
    return pd.DataFrame(
        {
            "band": used // stretches.count // 3,
            "side": used // stretches.count % 3 - 1,
            "t_ns": start,
            "end_ns": start + stretches.width_ns,
            "count": counts[used],
        }
    )
