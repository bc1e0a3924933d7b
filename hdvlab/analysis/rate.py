"""How many accesses per second, and how much of the time devices' code is at work."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import Array, device_name, kind_codes, of_kinds
from hdvlab.analysis.stretches import Stretches, pieces
from hdvlab.errors import UsageError
from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind
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

    Raises
    ------
    UsageError
        ``by`` is something else.
    """
    if by not in ("kind", "device"):
        raise UsageError(f"the rate is shown by 'kind' or by 'device', not by {by!r}")
    counted = of_kinds(kind_codes(rows), _COUNTED)
    few = rows[["t_ns", "dur_ns", "kind", "device", "status", "cause"]]
    if not counted.all():
        few = few[counted]
    if few.empty:
        return pd.DataFrame({name: [] for name in RATE_COLUMNS})
    columns = {name: few[name].to_numpy() for name in ("t_ns", "dur_ns", "device", "status", "cause")}
    columns["kind"] = kind_codes(few)
    t_ns = columns["t_ns"]
    last, measured, waiting = int(t_ns.max()), False, 0
    for piece in pieces(len(few)):
        outer = _outer(columns, piece)
        busy = columns["dur_ns"][piece][outer]
        last = max(last, int((t_ns[piece][outer] + busy).max(initial=last)) - 1)
        measured |= bool(busy.any())
        waiting += int(np.count_nonzero(columns["status"][piece] == E_PENDING))
    if bins is None:
        bins = int(np.clip(2 * np.sqrt(len(few)), 8, 300))
    first = int(t_ns.min())
    stretches = Stretches.over(first, last, bins)
    rank, names = _groups(columns["kind" if by == "kind" else "device"], tables, by)
    count = np.zeros((len(names), stretches.count), dtype=np.int64)
    busy_ns = np.zeros_like(count)
    open_ones = np.zeros_like(count)
    for piece in pieces(len(few)):
        groups = rank[columns["kind" if by == "kind" else "device"][piece]]
        count += _per_cell(groups, stretches.of(t_ns[piece]), count.shape)
        outer = _outer(columns, piece)
        groups, begin = groups[outer], t_ns[piece][outer]
        for sign, moment in ((1, begin), (-1, begin + columns["dur_ns"][piece][outer])):
            place = stretches.of(moment)
            # An access is at work from its beginning to the end of that stretch, and in all stretches behind it; what
            # is behind its end is taken away again in the same way. Sums of whole numbers: exact.
            left = stretches.first_ns + (place + 1) * stretches.width_ns - moment
            busy_ns += sign * _per_cell(groups, place, count.shape, left)
            open_ones += sign * _per_cell(groups, place, count.shape)
    busy_ns += (np.cumsum(open_ones, axis=1) - open_ones) * stretches.width_ns
    rate = pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(
                np.repeat(np.arange(len(names)), stretches.count), categories=pd.Index(names)
            ),
            "t_ns": np.tile(stretches.edges_ns[:-1], len(names)),
            "count": count.ravel(),
            "busy_ns": busy_ns.ravel(),
        }
    )
    rate.attrs.update(
        stretches=stretches,
        span_ns=last - first + 1,
        measured=measured,
        pending=waiting,
    )
    return rate


def _outer(columns: dict[str, Array], piece: slice) -> Array:
    """Which of the rows are callbacks that are not inside another one, and have ended."""
    outer: Array = of_kinds(columns["kind"][piece], SERVED) & (columns["cause"][piece] < 0)
    outer &= columns["status"][piece] != E_PENDING
    return outer


def _per_cell(groups: Array, place: Array, shape: tuple[int, ...], weights: Array | None = None) -> Array:
    key = groups * shape[1] + place
    found: Array = np.bincount(key, weights, minlength=shape[0] * shape[1]).astype(np.int64).reshape(shape)
    return found


def _groups(numbers: Array, tables: Tables, by: str) -> tuple[Array, list[str]]:
    """The rank of each number among those there are, and what the ranks are called."""
    present = np.flatnonzero(np.bincount(numbers))
    rank = np.zeros(int(present[-1]) + 1, dtype=np.int64)
    rank[present] = np.arange(len(present))
    if by == "kind":
        return rank, [Kind(code).name for code in present.tolist()]
    names = [device_name(tables, number) or "no device" for number in present.tolist()]
    # A class that was changed and plugged in again is a device of its own, and of the same name.
    return rank, [
        f"{name} ({number})" if names.count(name) > 1 else name
        for name, number in zip(names, present.tolist(), strict=True)
    ]


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
