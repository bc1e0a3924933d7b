"""Places in BARs that rows touch: registers where they are described, else aligned dwords."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import ACCESS_KINDS, Array, kind_codes, of_kinds
from hdvlab.trace.tables import Tables

#: Columns of the frame :func:`factorize_places` gives.
PLACE_COLUMNS = {
    "device": "device number",
    "bar": "BAR 0 to 5; -1 = none",
    "address": "first byte: the register's offset, or the dword's",
    "end": "first byte behind it",
    "register": "the register's name; empty where nothing describes the place",
    "rows": "accesses",
}

_ADDRESS_BITS = 45  # with 3 bits of BAR and 16 of device they fill a key of 64


def factorize_places(rows: pd.DataFrame, tables: Tables) -> tuple[Array, pd.DataFrame]:
    """Number the places that rows touch.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the trace, for the registers.

    Returns
    -------
    codes : array of int64
        For each row its place, a number of the second frame's index; -1 for rows that touch no BAR.
    places : DataFrame
        Columns :data:`PLACE_COLUMNS`, index ``place`` in the order of device, BAR and address.
    """
    on_bar = of_kinds(kind_codes(rows), ACCESS_KINDS)
    everything = bool(on_bar.all())
    device, bar, address = (
        rows[name].to_numpy() if everything else rows[name].to_numpy()[on_bar] for name in ("device", "bar", "address")
    )
    head = (device.astype(np.uint64) << np.uint64(3)) | (bar + 1).astype(np.uint64)
    keys = (head << np.uint64(_ADDRESS_BITS)) | (address & np.uint64((1 << _ADDRESS_BITS) - 1))
    fine, unique = pd.factorize(keys)
    starts = unique & np.uint64((1 << _ADDRESS_BITS) - 1)
    heads = unique >> np.uint64(_ADDRESS_BITS)
    names = np.full(len(unique), "", dtype=object)
    places = starts & ~np.uint64(3)
    ends = places + np.uint64(4)
    for number, info in enumerate(tables.devices):
        for index, bar_info in info.bars.items():
            if bar_info.registers is None or not len(bar_info.registers):
                continue
            registers = bar_info.registers.registers
            offsets = np.array([register.offset for register in registers], dtype=np.uint64)
            behind = np.array([register.end for register in registers], dtype=np.uint64)
            here = np.flatnonzero(heads == number * 8 + index + 1)
            found = np.searchsorted(offsets, starts[here], side="right") - 1
            inside = (found >= 0) & (starts[here] < behind[found])
            here, found = here[inside], found[inside]
            places[here], ends[here] = offsets[found], behind[found]
            names[here] = np.array([register.name for register in registers], dtype=object)[found]
    merged, first, coarse = np.unique(
        (heads << np.uint64(_ADDRESS_BITS)) | places, return_index=True, return_inverse=True
    )
    codes = coarse[fine]
    table = pd.DataFrame(
        {
            "device": (heads[first] >> np.uint64(3)).astype(np.int64),
            "bar": (heads[first] & np.uint64(7)).astype(np.int64) - 1,
            "address": places[first].astype(np.int64),
            "end": ends[first].astype(np.int64),
            "register": names[first],
            "rows": np.bincount(codes, minlength=len(merged)),
        }
    )
    table.index.name = "place"
    if everything:
        return codes, table
    whole = np.full(len(rows), -1, dtype=np.int64)
    whole[on_bar] = codes
    return whole, table
