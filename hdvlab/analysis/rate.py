"""How many accesses per second, and how much of the time devices' code is at work."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import Array, device_name, kind_codes, of_kinds, pending
from hdvlab.analysis.stretches import Stretches
from hdvlab.errors import UsageError
from hdvlab.trace.schema import KIND_GROUPS, Kind
from hdvlab.trace.tables import Tables

#: Columns of :func:`df_rate`.
RATE_COLUMNS = {
    "group": "kind of the access, or name of the device, category",
    "t_ns": "start of the stretch of time",
    "count": "accesses that begin in it",
    "busy_ns": "time of it in the device's callbacks, for whichever stretch the access began in",
}

#: Columns of :func:`df_rate_totals`.
TOTAL_COLUMNS = {
    "count": "accesses",
    "per_second": "of them, over the whole time",
    "busy_ns": "time in the device's callbacks",
    "share": "that time, divided by the whole time; more than 1 where callbacks of several devices overlap",
}

#: Accesses that a device serves in a callback of its own.
SERVED = KIND_GROUPS["config"] | KIND_GROUPS["mmio"]

_COUNTED = SERVED | KIND_GROUPS["dma"] | KIND_GROUPS["interrupt"]


def df_rate(
    rows: pd.DataFrame, tables: Tables, by: Literal["kind", "device"] = "kind", bins: int | None = None
) -> pd.DataFrame:
    """Accesses, and time in devices' callbacks, by stretch of time.

    DMA, interrupts and accesses to other devices that happen inside a callback are counted, but their time is already
    in that callback's. Accesses that are still being served have no time yet.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the trace, for their names.
    by : {"kind", "device"}
        What the column ``group`` holds.
    bins : int, optional
        Most stretches; 8 to 300, the more the more rows there are, when not given.

    Returns
    -------
    DataFrame
        Columns :data:`RATE_COLUMNS`, every stretch for every group. ``attrs``: ``stretches``, ``span_ns`` (from the
        first access to the end of the last), ``measured`` (whether any access has a duration) and ``pending``.
    """
    if by not in ("kind", "device"):
        raise UsageError(f"the rate is shown by 'kind' or by 'device', not by {by!r}")
    counted = of_kinds(kind_codes(rows), _COUNTED)
    few = rows[["t_ns", "dur_ns", "kind", "device", "status", "cause"]]
    if not counted.all():
        few = few[counted]
    if few.empty:
        return pd.DataFrame({name: [] for name in RATE_COLUMNS})
    t_ns, codes = few["t_ns"].to_numpy(), kind_codes(few)
    groups, names = _groups(few, tables, by)
    waits = pending(few)
    outer = of_kinds(codes, SERVED) & (few["cause"].to_numpy() < 0) & ~waits
    begin, busy = t_ns[outer], few["dur_ns"].to_numpy()[outer].astype(np.int64)
    first = int(t_ns.min())
    last = max(int(t_ns.max()), int((begin + busy).max(initial=first)) - 1)
    if bins is None:
        bins = int(np.clip(2 * np.sqrt(len(few)), 8, 300))
    stretches = Stretches.over(first, last, bins)
    cell = stretches.of(t_ns)
    cell += groups * stretches.count
    count = np.bincount(cell, minlength=len(names) * stretches.count)
    busy_ns = _busy(stretches, begin, busy, groups[outer], len(names))
    rate = pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(np.repeat(np.arange(len(names)), stretches.count), categories=names),
            "t_ns": np.tile(stretches.edges_ns[:-1], len(names)),
            "count": count,
            "busy_ns": busy_ns.ravel(),
        }
    )
    rate.attrs.update(
        stretches=stretches,
        span_ns=last - first + 1,
        measured=bool(busy.any()),
        pending=int(np.count_nonzero(waits)),
    )
    return rate


def _groups(rows: pd.DataFrame, tables: Tables, by: str) -> tuple[Array, list[str]]:
    numbers = kind_codes(rows) if by == "kind" else rows["device"].to_numpy()
    present = np.flatnonzero(np.bincount(numbers))
    rank = np.zeros(int(present[-1]) + 1, dtype=np.int64)
    rank[present] = np.arange(len(present))
    if by == "kind":
        return rank[numbers], [Kind(code).name for code in present.tolist()]
    names = [device_name(tables, number) or "no device" for number in present.tolist()]
    # A class that was changed and plugged in again is a device of its own, and of the same name.
    places = [f"{name} ({number})" if names.count(name) > 1 else name for name, number in zip(names, present.tolist(),
                                                                                             strict=True)]  # fmt: skip
    return rank[numbers], places


def _busy(stretches: Stretches, begin: Array, busy: Array, groups: Array, count: int) -> Array:
    """Nanoseconds at work in each stretch, for each group; exact, wherever an access begins and ends."""
    bins, width = stretches.count, stretches.width_ns
    end = begin + busy
    total = np.zeros((count, bins), dtype=np.int64)
    open_ones = np.zeros((count, bins), dtype=np.int64)
    for sign, moment in ((1, begin), (-1, end)):
        # Moments behind the last stretch cannot be: it ends where the last access does.
        place = stretches.of(moment)
        left = stretches.first_ns + (place + 1) * width - moment
        key = groups * bins + place
        here = np.bincount(key, minlength=count * bins).reshape(count, bins)
        rest = np.bincount(key, weights=left, minlength=count * bins).astype(np.int64).reshape(count, bins)
        total += sign * rest
        open_ones += sign * here
    before = np.cumsum(open_ones, axis=1) - open_ones
    return total + before * width


def df_rate_totals(rate: pd.DataFrame) -> pd.DataFrame:
    """Totals of each group, the busiest first.

    Parameters
    ----------
    rate : DataFrame
        As :func:`df_rate` gives it.

    Returns
    -------
    DataFrame
        Columns :data:`TOTAL_COLUMNS`, index ``group``.
    """
    if rate.empty:
        return pd.DataFrame({name: [] for name in TOTAL_COLUMNS})
    totals = rate.groupby("group", observed=True)[["count", "busy_ns"]].sum()
    span = int(rate.attrs["span_ns"])
    totals["per_second"] = totals["count"] * 1e9 / span
    totals["share"] = totals["busy_ns"] / span
    return totals.sort_values("count", ascending=False, kind="stable")[list(TOTAL_COLUMNS)]
