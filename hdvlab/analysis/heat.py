"""How often each place of a BAR was touched, over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.places import factorize_places
from hdvlab.analysis.selection import ACCESS_KINDS, Array, busiest_bar, kind_codes, of_kinds
from hdvlab.trace.tables import Tables

#: Columns of :func:`df_heat`.
HEAT_COLUMNS = {
    "band": "number of the band, lowest offset first; a band is one place or a run of neighbours",
    "label": "register name, else the offsets in hexadecimal",
    "address": "first byte of the band",
    "end": "first byte behind it",
    "places": "registers or dwords of the band that were touched at all",
    "t_ns": "start of the stretch of time",
    "count": "accesses to the band in the stretch; 1 or more",
}

_RUN = 8  # neighbours that make a run: shorter ones are more likely registers with roles of their own
_STRIDE = 16  # bytes between members of a run, at most


def df_heat(
    rows: pd.DataFrame,
    tables: Tables,
    device: int | None = None,
    bar: int | None = None,
    bins: int = 200,
    max_bands: int = 48,
) -> pd.DataFrame:
    """Accesses to one BAR, counted by place and stretch of time. What was never touched has no band.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the trace, for the registers.
    device, bar : int, optional
        Which BAR; the busiest of those that fit where one is not given.
    bins : int
        Stretches of time to count in.
    max_bands : int
        Most bands. Where more places were touched, runs of neighbours become one band, then aligned blocks;
        places much busier than those around them keep a band of their own.

    Returns
    -------
    DataFrame
        Columns :data:`HEAT_COLUMNS`. ``attrs``: ``device``, ``bar``, ``bin_ns`` (length of a stretch), ``start_ns``,
        ``bins``, ``places`` (touched in all) and ``rows``.
    """
    found = busiest_bar(rows, device, bar)
    if found is None:
        return pd.DataFrame({name: [] for name in HEAT_COLUMNS})
    chosen = of_kinds(kind_codes(rows), ACCESS_KINDS)
    chosen &= rows["device"].to_numpy() == found[0]
    chosen &= rows["bar"].to_numpy() == found[1]
    here = rows[["t_ns", "kind", "device", "bar", "address"]]
    if not chosen.all():
        here = here[chosen]
    codes, places = factorize_places(here, tables)
    band_of_place = _bands(places, max_bands)
    bands = _describe(places, band_of_place)

    t_ns = here["t_ns"].to_numpy()
    first, last = int(t_ns.min()), int(t_ns.max())
    width = (last - first) // bins + 1
    bins = (last - first) // width + 1  # a stretch shorter than `bins` nanoseconds has fewer
    cell = ((t_ns - first) * (1.0 / width)).astype(np.int64)
    np.minimum(cell, bins - 1, out=cell)
    cell += band_of_place[codes] * bins
    count = np.bincount(cell)
    used = np.flatnonzero(count)
    heat = bands.loc[used // bins].reset_index()
    heat["t_ns"] = first + (used % bins) * width
    heat["count"] = count[used]
    heat.attrs.update(
        device=found[0], bar=found[1], bin_ns=width, start_ns=first, bins=bins, places=len(places), rows=len(here)
    )
    return heat


def _bands(places: pd.DataFrame, most: int) -> Array:
    """For each place the number of its band."""
    count = len(places)
    if count <= most:
        return np.arange(count)
    address = places["address"].to_numpy()
    rows = places["rows"].to_numpy()
    around = places["rows"].rolling(9, center=True, min_periods=1).median().to_numpy()
    stands_out = np.where(rows >= 4 * around, rows, 0)
    own = np.zeros(count, dtype=bool)
    own[np.argsort(-stands_out, kind="stable")[: most // 2]] = True
    own &= stands_out > 0
    named = places["register"].to_numpy() != ""
    starts = _run_starts(address, own | named)
    shift = 3
    while np.count_nonzero(starts) > most:
        shift += 1
        block = address >> shift
        apart = np.ones(count, dtype=bool)
        apart[1:] = (block[1:] != block[:-1]) | own[1:] | own[:-1]
        starts &= apart
    return np.cumsum(starts) - 1


def _run_starts(address: Array, single: Array) -> Array:
    """Which places begin a band when runs of at least ``_RUN`` evenly spaced neighbours are taken together."""
    starts = np.ones(len(address), dtype=bool)
    begin = 0
    step = np.diff(address)
    for place in range(1, len(address) + 1):
        goes_on = (
            place < len(address)
            and not single[place]
            and not single[place - 1]
            and step[place - 1] <= _STRIDE
            and (place - begin < 2 or step[place - 1] == step[place - 2])
        )
        if not goes_on:
            if place - begin >= _RUN:
                starts[begin + 1 : place] = False
            begin = place
    return starts


def _describe(places: pd.DataFrame, band_of_place: Array) -> pd.DataFrame:
    first = np.flatnonzero(np.diff(band_of_place, prepend=-1))
    last = np.append(first[1:], len(places)) - 1
    address = places["address"].to_numpy()
    names = [name or f"{offset:#x}" for name, offset in zip(places["register"], address.tolist(), strict=True)]
    labels = [
        names[one] if one == other else f"{names[one]}…{names[other]} ({other - one + 1})"
        for one, other in zip(first.tolist(), last.tolist(), strict=True)
    ]
    bands = pd.DataFrame(
        {"label": labels, "address": address[first], "end": places["end"].to_numpy()[last], "places": last - first + 1}
    )
    bands.index.name = "band"
    return bands
