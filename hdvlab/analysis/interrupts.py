"""Interrupts: how long from the write that asked for one to the MSI, and from there to the guest's answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import ACCESS_KINDS, WRITES, Array, kind_codes, of_kinds
from hdvlab.analysis.signals import find_signals
from hdvlab.analysis.stretches import Stretches
from hdvlab.trace.schema import Kind, Origin
from hdvlab.trace.tables import Tables

#: Columns of :func:`df_interrupt_latency`.
INTERRUPT_COLUMNS = {
    "t_ns": "when the device asked for the interrupt",
    "device": "device number",
    "data": "MSI data, which tells vectors apart",
    "write": "row of the access that led to it; -1 = none is known",
    "is_assumed": "the trace does not tell the access: it is the guest's last write to the device before",
    "to_msi_ns": "from the start of that access to the interrupt; -1 = unknown",
    "acknowledge": "row of the access that answered it; -1 = none did",
    "to_acknowledge_ns": "from the interrupt to the start of the answer; -1 = none",
    "is_shared": "a later interrupt of the same device has the same answer",
}

#: Columns of :func:`df_interrupt_phases`.
PHASE_COLUMNS = {
    "t_ns": "when the device asked for the first interrupt of the stretch",
    "count": "interrupts in it whose time is known",
    "least_ns": "the shortest time",
    "median_ns": "half of them took no longer",
    "most_ns": "the longest",
}


def df_interrupt_latency(
    rows: pd.DataFrame, tables: Tables, acknowledge: str | None = None, device: int | None = None
) -> pd.DataFrame:
    """For each interrupt the write before it and the answer behind it.

    The answer is the guest's first access to a BAR of the device after the interrupt, in the order of rows; with
    ``acknowledge`` only accesses to that register count. The write is the row that the trace gives as the
    interrupt's ``cause``; where a device raises interrupts from a thread of its own there is none, and the guest's last
    write to the device is assumed.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them; the index is the row number, rising.
    tables : Tables
        Devices of the trace, for the registers.
    acknowledge : str, optional
        A register or an offset, as :func:`hdvlab.analysis.signals.find_signals` takes them. Only the interrupts of its
        device are in the result then.
    device : int, optional
        Only this device's interrupts.

    Returns
    -------
    DataFrame
        Columns :data:`INTERRUPT_COLUMNS`, index ``row``.

    Raises
    ------
    UsageError
        There is no such register.
    """
    codes = kind_codes(rows)
    numbers, bars, address = (rows[name].to_numpy() for name in ("device", "bar", "address"))
    signal = None if acknowledge is None else find_signals(rows, tables, [acknowledge])[0]
    asked = codes == int(Kind.interrupt)
    if signal is not None:
        asked &= numbers == signal.device
    if device is not None:
        asked &= numbers == device
    guest = _by_guest(rows) & of_kinds(codes, ACCESS_KINDS)
    answers = guest
    if signal is not None:
        register = signal.register
        answers = guest & (bars == signal.bar) & (address < np.uint64(register.end))
        answers &= address + rows["size"].to_numpy() > np.uint64(register.offset)
    writes = guest & of_kinds(codes, WRITES)

    at = np.flatnonzero(asked)
    answer, write = np.full(len(at), -1, dtype=np.int64), np.full(len(at), -1, dtype=np.int64)
    is_shared = np.zeros(len(at), dtype=bool)
    for number in np.unique(numbers[at]):
        mine = np.flatnonzero(numbers[at] == number)
        answer[mine] = _next(np.flatnonzero(answers & (numbers == number)), at[mine])
        write[mine] = _before(np.flatnonzero(writes & (numbers == number)), at[mine])
        is_shared[mine[:-1]] = (answer[mine[:-1]] >= 0) & (answer[mine[:-1]] == answer[mine[1:]])
    cause = rows["cause"].to_numpy()[at]
    told = cause >= 0
    place = rows.index.get_indexer(pd.Index(cause[told])) if told.any() else np.empty(0, dtype=np.int64)
    is_assumed = ~told & (write >= 0)
    write[told] = place
    t_ns = rows["t_ns"].to_numpy()
    index = rows.index.to_numpy()
    return pd.DataFrame(
        {
            "t_ns": t_ns[at],
            "device": numbers[at],
            "data": rows["value"].to_numpy()[at],
            "write": np.where(write >= 0, index[write], -1),
            "is_assumed": is_assumed,
            # Threads take their numbers before their times, which may then differ the other way round by a little.
            "to_msi_ns": np.where(write >= 0, np.maximum(t_ns[at] - t_ns[write], 0), -1),
            "acknowledge": np.where(answer >= 0, index[answer], -1),
            "to_acknowledge_ns": np.where(answer >= 0, np.maximum(t_ns[answer] - t_ns[at], 0), -1),
            "is_shared": is_shared,
        },
        index=rows.index[at],
    )


def _by_guest(rows: pd.DataFrame) -> Array:
    origin = rows["origin"]
    codes = origin.cat.codes if isinstance(origin.dtype, pd.CategoricalDtype) else origin
    found: Array = codes.to_numpy() == int(Origin.guest)
    return found


def _next(accesses: Array, at: Array) -> Array:
    """For each of ``at`` the first of ``accesses`` behind it; -1 where there is none."""
    place = np.searchsorted(accesses, at, side="right")
    found: Array = np.append(accesses, -1)[place]
    return found


def _before(accesses: Array, at: Array) -> Array:
    """For each of ``at`` the last of ``accesses`` before it; -1 where there is none."""
    place = np.searchsorted(accesses, at, side="left")
    found: Array = np.append(-1, accesses)[place]
    return found


def df_interrupt_phases(interrupts: pd.DataFrame, column: str, bins: int = 300) -> pd.DataFrame:
    """One of the times, summed up by stretches of time.

    Parameters
    ----------
    interrupts : DataFrame
        As :func:`df_interrupt_latency` gives it.
    column : {"to_msi_ns", "to_acknowledge_ns"}
        Which time; interrupts for which it is unknown are left out.
    bins : int
        Most stretches.

    Returns
    -------
    DataFrame
        Columns :data:`PHASE_COLUMNS`. ``attrs["width_ns"]`` is the length of a stretch.
    """
    known = interrupts[interrupts[column].to_numpy() >= 0]
    if known.empty:
        return pd.DataFrame({name: [] for name in PHASE_COLUMNS})
    t_ns, ns = known["t_ns"].to_numpy(), known[column].to_numpy()
    stretches = Stretches.over(int(t_ns.min()), int(t_ns.max()), bins)
    cell = stretches.of(t_ns)
    if not np.all(cell[1:] >= cell[:-1]):
        order = np.argsort(cell, kind="stable")
        cell, ns, t_ns = cell[order], ns[order], t_ns[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    last = np.append(first[1:], len(cell))
    medians = [
        int(np.partition(ns[one:other], (other - one - 1) // 2)[(other - one - 1) // 2])
        for one, other in zip(first.tolist(), last.tolist(), strict=True)
    ]
    phases = pd.DataFrame(
        {
            "t_ns": t_ns[first],
            "count": last - first,
            "least_ns": np.minimum.reduceat(ns, first),
            "median_ns": medians,
            "most_ns": np.maximum.reduceat(ns, first),
        }
    )
    phases.attrs["width_ns"] = stretches.width_ns
    return phases
