"""What a register held over time, as far as the accesses tell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import ACCESS_KINDS, Array, kind_codes, of_kinds
from hdvlab.registers import Field, Register
from hdvlab.trace.schema import Kind

#: Columns of :func:`df_values`.
VALUE_COLUMNS = {
    "t_ns": "start of the access",
    "value": "the register's value as known after it",
    "written": "the access was a write; else the guest read the value",
}

#: Columns of :func:`df_segments`.
SEGMENT_COLUMNS = {
    "t_ns": "from when; the first may begin before the stretch that was asked for",
    "end_ns": "until when",
    "value": "the value, or the last one where there were several",
    "changes": "values that came and went within the segment; 1 = it held one value",
    "written": "the segment began with a write",
}


def df_values(rows: pd.DataFrame, device: int, bar: int, register: Register) -> pd.DataFrame:
    """The register's value after each access that tells some of it.

    A write tells the bits that writes store; bits that are cleared or set by writing 1 and read-only bits are known
    from reads alone, write-only bits from writes alone. Bytes an access does not touch keep what was known, and bits
    of which nothing is known yet count as their reset value. Failed and pending accesses tell nothing.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    device, bar : int
        Where the register is.
    register : Register
        Which; its ``access`` and its fields' decide what a write tells.

    Returns
    -------
    DataFrame
        Columns :data:`VALUE_COLUMNS`, index ``row``.
    """
    address, size = rows["address"].to_numpy(), rows["size"].to_numpy()
    chosen = address < np.uint64(register.end)
    chosen &= address + size > np.uint64(register.offset)
    chosen &= rows["device"].to_numpy() == device
    chosen &= rows["bar"].to_numpy() == bar
    chosen &= rows["status"].to_numpy() >= 0
    chosen &= of_kinds(kind_codes(rows), ACCESS_KINDS)
    at = np.flatnonzero(chosen)
    written = kind_codes(rows)[at] != int(Kind.mmio_read)
    shift = (address[at].astype(np.int64) - register.offset) * 8
    value = rows["value"].to_numpy()[at]
    value = np.where(
        shift >= 0,
        value << np.clip(shift, 0, 63).astype(np.uint64),
        value >> np.clip(-shift, 0, 63).astype(np.uint64),
    )
    value, told = _accumulate(register, value, written, shift // 8, size[at].astype(np.int64))
    t_ns = np.maximum.accumulate(rows["t_ns"].to_numpy()[at[told]]) if told.any() else rows["t_ns"].to_numpy()[:0]
    return pd.DataFrame(
        {"t_ns": t_ns, "value": value[told], "written": written[told]}, index=rows.index[at[told]].rename("row")
    )


def _accumulate(register: Register, value: Array, written: Array, first: Array, size: Array) -> tuple[Array, Array]:
    """The register's value after each access, and which accesses tell any of it.

    ``first`` is the byte of the register where an access starts, ``size`` its bytes.
    """
    masks = register.masks
    every = (1 << register.width) - 1
    whole = (first <= 0) & (first + size >= register.size)
    if register.narrow == "low":
        whole = whole | written
    bytes_apart = [(0, every)] if whole.all() else [(byte, 0xFF << 8 * byte) for byte in range(register.size)]
    state = np.zeros(len(value), dtype=np.uint64)
    told = np.zeros(len(value), dtype=bool)
    for byte, lane in bytes_apart:
        reached = whole | ((first <= byte) & (byte < first + size))
        # Bits that behave alike are known from the same accesses, so one forward fill serves them all.
        for by_read in (True, False):
            for by_write in (True, False):
                bits = lane & (masks.read if by_read else every & ~masks.read)
                bits &= masks.write if by_write else every & ~masks.write
                if not bits or not (by_read or by_write):
                    continue
                tells = reached & np.where(written, by_write, by_read)
                latest = np.maximum.accumulate(np.where(tells, np.arange(len(value)), -1))
                known = np.where(latest >= 0, value[latest], np.uint64(register.reset))
                state |= known & np.uint64(bits)
                told |= tells
    return state, told


def df_segments(
    values: pd.DataFrame, start_ns: int, end_ns: int, field: Field | None = None, cells: int = 800
) -> pd.DataFrame:
    """Stretches of time in which the register, or one field of it, held a value.

    Parameters
    ----------
    values : DataFrame
        As :func:`df_values` gives it.
    start_ns, end_ns : int
        The stretch of time to look at. The segment that holds at its start may have begun before it; the last
        one ends with it.
    field : Field, optional
        Look at this field's value only.
    cells : int
        Parts of equal length to divide the time into. Values that come and go within one are taken together, so there
        are at most two segments per cell, however often the value changes.

    Returns
    -------
    DataFrame
        Columns :data:`SEGMENT_COLUMNS`.
    """
    before = max(int(np.searchsorted(values["t_ns"].to_numpy(), start_ns, side="right")) - 1, 0)
    values = values.iloc[before:]
    value = values["value"].to_numpy()
    if field is not None:
        value = (value >> np.uint64(field.lsb)) & np.uint64((1 << field.width) - 1)
    if not len(value):
        return pd.DataFrame({name: [] for name in SEGMENT_COLUMNS})
    changed = np.flatnonzero(np.concatenate([[True], value[1:] != value[:-1]]))
    begin = values["t_ns"].to_numpy()[changed]
    end = np.append(begin[1:], max(end_ns, int(begin[-1])))
    width = (int(end[-1]) - start_ns) // cells + 1
    cell = np.maximum(begin - start_ns, 0) // width
    # A value that outlives its cell is drawn as itself; those that come and go within one are drawn together.
    stays = (end - start_ns) // width > cell
    key = cell * 2 + stays  # never falls: only the last value of a cell outlives it
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    last = np.append(first[1:], len(key)) - 1
    return pd.DataFrame(
        {
            "t_ns": begin[first],
            "end_ns": end[last],
            "value": value[changed][last],
            "changes": last - first + 1,
            "written": values["written"].to_numpy()[changed][first],
        }
    )
