"""How long accesses took, or, where nobody measured that, how long the device was left alone between them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from hdvlab.analysis.places import factorize_places
from hdvlab.analysis.selection import READS, WRITES, Array, kind_codes, of_kinds, pending
from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import Tables

#: Columns of :func:`df_durations`.
DURATION_COLUMNS = {
    "group": "kind or register of the access, category",
    "ns": "time in the device's callback, or since the previous access; 1 or more",
}

#: Columns of :func:`df_histogram`.
HISTOGRAM_COLUMNS = {
    "group": "kind or register",
    "from_ns": "shortest time of the bin",
    "to_ns": "first time behind it",
    "count": "accesses",
}

#: Columns of :func:`df_latency`.
LATENCY_COLUMNS = {
    "count": "accesses",
    "median_ns": "half of the accesses took no longer",
    "p99_ns": "99 of 100 took no longer",
    "longest_ns": "the longest",
}

#: ``dur_ns`` of an access that took this long or longer.
SATURATED_NS = 0xFFFFFFFF

#: Group of the registers that are not kept apart.
OTHERS = "others"

_MEASURED = READS | WRITES | {Kind.interrupt}


def df_durations(
    rows: pd.DataFrame, tables: Tables, by: Literal["kind", "register"] = "kind", max_groups: int = 5
) -> pd.DataFrame:
    """One time per access.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the trace, for the registers.
    by : {"kind", "register"}
        What the column ``group`` holds. By register, only accesses to BARs count.
    max_groups : int
        Registers to keep apart; the rest are the group :data:`OTHERS`.

    Returns
    -------
    DataFrame
        Columns :data:`DURATION_COLUMNS`. ``attrs["measure"]`` is ``"dur_ns"``, or ``"gap_ns"`` where no row has a
        duration (an imported trace): then the time is that since the previous access of any kind to the same device.
        ``attrs["left_out"]`` counts accesses without a time: not measured, pending, or the first of their device.
    """
    if by not in ("kind", "register"):
        raise UsageError(f"latency is shown by 'kind' or by 'register', not by {by!r}")
    accesses = of_kinds(kind_codes(rows), _MEASURED)
    few = rows[["t_ns", "dur_ns", "kind", "device", "bar", "address", "status"]]
    if not accesses.all():
        few = few[accesses]
    measured = bool(few["dur_ns"].to_numpy().any())
    ns = _served(few) if measured else _gaps(few)
    if by == "kind":
        codes, names = kind_codes(few), [kind.name for kind in Kind]
    else:
        codes, names = _registers(few, tables, max_groups)
    asked = codes >= 0
    chosen = asked & (ns > 0)
    used = codes[chosen]
    present = np.flatnonzero(np.bincount(used))
    rank = np.zeros(len(names), dtype=np.int8)
    rank[present] = np.arange(len(present))
    groups = pd.CategoricalDtype([names[code] for code in present])
    durations = pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(rank[used], dtype=groups, validate=False),
            "ns": ns[chosen],
        },
        index=few.index[chosen],
    )
    durations.attrs.update(
        measure="dur_ns" if measured else "gap_ns", left_out=int(np.count_nonzero(asked) - len(durations))
    )
    return durations


def _served(rows: pd.DataFrame) -> Array:
    ns = rows["dur_ns"].to_numpy().astype(np.int64)
    ns[pending(rows)] = 0
    return ns


def _gaps(rows: pd.DataFrame) -> Array:
    """Time since the previous access of the same device; 0 for its first."""
    t_ns, device = rows["t_ns"].to_numpy(), rows["device"].to_numpy()
    gaps = np.zeros(len(rows), dtype=np.int64)
    if not len(rows):
        return gaps
    for number in np.flatnonzero(np.bincount(device)):
        mine = np.flatnonzero(device == number)
        gaps[mine[1:]] = np.diff(t_ns[mine])
    return gaps


def _registers(rows: pd.DataFrame, tables: Tables, most: int) -> tuple[Array, list[str]]:
    """Register of each row as a number, and what the numbers mean; the busiest first."""
    codes, places = factorize_places(rows, tables)
    several = places[["device", "bar"]].drop_duplicates().shape[0] > 1
    order = np.argsort(-places["rows"].to_numpy(), kind="stable")[:most]
    names = []
    for place in order:
        entry = places.loc[place]
        name = entry["register"] or (
            f"{entry['address']:#x}" if several else f"BAR{entry['bar']}+{entry['address']:#x}"
        )
        known = several and entry["device"] < len(tables.devices)
        names.append(f"{tables.devices[entry['device']].name} BAR{entry['bar']} {name}" if known else name)
    rank = np.full(len(places) + 1, most, dtype=np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = -1  # the place of rows that touch no BAR
    return rank[codes], [*names, *[OTHERS] * (most + 1 - len(names))]


def df_histogram(durations: pd.DataFrame, per_decade: int = 10) -> pd.DataFrame:
    """Counts in bins of equal width on a logarithmic scale.

    Parameters
    ----------
    durations : DataFrame
        As :func:`df_durations` gives it.
    per_decade : int
        Bins between 1 and 10.

    Returns
    -------
    DataFrame
        Columns :data:`HISTOGRAM_COLUMNS`; every bin between the first and the last used one, for every group.
    """
    if durations.empty:
        return pd.DataFrame({name: [] for name in HISTOGRAM_COLUMNS})
    groups = durations["group"].cat.categories
    place = np.floor(np.log10(durations["ns"].to_numpy()) * per_decade + 1e-9).astype(np.int64)
    first, last = int(place.min()), int(place.max())
    bins = last - first + 1
    cell = durations["group"].cat.codes.to_numpy().astype(np.int64) * bins + (place - first)
    counts = np.bincount(cell, minlength=len(groups) * bins)
    edges = 10.0 ** (np.arange(first, last + 2) / per_decade)
    return pd.DataFrame(
        {
            "group": np.repeat(groups.to_numpy(), bins),
            "from_ns": np.tile(edges[:-1], len(groups)),
            "to_ns": np.tile(edges[1:], len(groups)),
            "count": counts,
        }
    )


def df_latency(durations: pd.DataFrame) -> pd.DataFrame:
    """Median, 99th percentile and longest time of each group; the busiest group first, ``"others"`` last.

    Parameters
    ----------
    durations : DataFrame
        As :func:`df_durations` gives it.

    Returns
    -------
    DataFrame
        Columns :data:`LATENCY_COLUMNS`, index ``group``.
    """
    codes, ns = durations["group"].cat.codes.to_numpy(), durations["ns"].to_numpy()
    entries = []
    for code, name in enumerate(durations["group"].cat.categories):
        mine = ns[codes == code]
        middle, high = (len(mine) - 1) // 2, int(np.ceil(len(mine) * 0.99)) - 1
        parted = np.partition(mine, sorted({middle, high}))
        entries.append((name, len(mine), int(parted[middle]), int(parted[high]), int(mine.max())))
    latency = pd.DataFrame(entries, columns=["group", *LATENCY_COLUMNS]).set_index("group")
    latency = latency.sort_values("count", ascending=False, kind="stable")
    return pd.concat([latency.drop(OTHERS, errors="ignore"), latency[latency.index == OTHERS]])
