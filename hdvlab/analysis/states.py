"""A register as a state machine: which values followed which, and who changed them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import Array, kind_codes, of_kinds
from hdvlab.analysis.signals import Signal
from hdvlab.analysis.values import df_values
from hdvlab.registers import RegisterMap
from hdvlab.trace.schema import Kind, Origin
from hdvlab.trace.tables import Tables

#: Who changes a register.
CAUSES: Final = ("guest write", "user write", "other write", "device", "reset")

#: Columns of :func:`df_state_changes`.
CHANGE_COLUMNS: Final = {
    "t_ns": "start of the access that told of the change, or of the reset",
    "previous": "the value before",
    "value": "the value after",
    "by": "who changed it, a category of CAUSES",
}

#: Columns of :func:`df_states`.
STATE_COLUMNS: Final = {
    "value": "the value; the smallest one where the state stands for several",
    "values": "values that the state stands for; 1, or more for the last state",
    "entered": "times it was entered, from any other value; the first time, of which nothing is before, is not one",
    "held_ns": "time it was held, as far as accesses told",
}

#: Columns of :func:`df_transitions`.
TRANSITION_COLUMNS: Final = {
    "previous": "state before, an index of df_states' frame",
    "state": "state after; the same where several values are one state",
    "by": "who changed it, a category of CAUSES",
    "count": "how often",
}

_BY = pd.CategoricalDtype(list(CAUSES))

#: Steps that give registers their reset values.
_RESETS: Final = {Kind.initialize, Kind.reset}


def df_state_changes(rows: pd.DataFrame, tables: Tables, signal: Signal) -> pd.DataFrame:
    """The changes of a register, or of one field, that accesses tell of.

    A write that tells a new value was the guest's, or a person's poke; a read that finds another value than the one
    known before means that the device changed it in between. A reset gives a described register its reset value. A
    value that comes and goes between two accesses is not known of. What accesses tell is said in
    :func:`hdvlab.analysis.values.df_values`.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    tables : Tables
        Devices of the trace.
    signal : Signal
        Which register or field, see :func:`hdvlab.analysis.signals.find_signals`.

    Returns
    -------
    DataFrame
        Columns :data:`CHANGE_COLUMNS`, index ``row``. ``attrs``: ``told`` (accesses that told a value), ``first`` (the
        value known first; None = nothing is known), ``start_ns`` (since when) and ``end_ns`` (last row of the trace).
    """
    values = df_values(rows, signal.device, signal.bar, signal.register)
    at = rows.index.get_indexer(values.index)
    value = values["value"].to_numpy()
    by = _causes(rows, at, values["written"].to_numpy())
    resets = np.flatnonzero(of_kinds(kind_codes(rows), _RESETS) & (rows["device"].to_numpy() == signal.device))
    known = _is_described(tables, signal)
    if known and len(resets):
        # Registers are found again by others than the trace: their reset value is part of the description.
        value = np.concatenate([value, np.full(len(resets), signal.register.reset, dtype=np.uint64)])
        by = np.concatenate([by, np.full(len(resets), CAUSES.index("reset"), dtype=by.dtype)])
        at = np.concatenate([at, resets])
        order = np.argsort(at, kind="stable")
        value, by, at = value[order], by[order], at[order]
    elif len(resets) and len(at):
        was_reset = np.searchsorted(resets, at[1:]) > np.searchsorted(resets, at[:-1])
        by[1:][was_reset & (by[1:] == CAUSES.index("device"))] = CAUSES.index("reset")
    if (field := signal.field) is not None:
        value = (value >> np.uint64(field.lsb)) & np.uint64((1 << field.width) - 1)
    t_ns = rows["t_ns"].to_numpy()
    changed = np.flatnonzero(value[1:] != value[:-1]) + 1
    changes = pd.DataFrame(
        {
            "t_ns": t_ns[at[changed]],
            "previous": value[changed - 1],
            "value": value[changed],
            "by": pd.Categorical.from_codes(by[changed], dtype=_BY),
        },
        index=rows.index[at[changed]].rename("row"),
    )
    changes.attrs.update(
        told=len(values),
        first=int(value[0]) if len(values) else None,
        start_ns=int(t_ns[at[0]]) if len(at) else 0,
        end_ns=int(t_ns.max(initial=0)),
    )
    return changes


def _causes(rows: pd.DataFrame, at: Array, written: Array) -> Array:
    origin = rows["origin"]
    codes = (origin.cat.codes if isinstance(origin.dtype, pd.CategoricalDtype) else origin).to_numpy()[at]
    by_origin = np.full(max(Origin) + 1, CAUSES.index("other write"), dtype=np.int8)
    by_origin[Origin.guest], by_origin[Origin.user] = CAUSES.index("guest write"), CAUSES.index("user write")
    found: Array = np.where(written, by_origin[codes], np.int8(CAUSES.index("device")))
    return found


def _is_described(tables: Tables, signal: Signal) -> bool:
    info = tables.devices[signal.device].bars.get(signal.bar) if signal.device < len(tables.devices) else None
    registers: RegisterMap | None = info.registers if info is not None else None
    return registers is not None and registers.at(signal.register.offset) is not None


def df_states(changes: pd.DataFrame, max_states: int = 10) -> pd.DataFrame:
    """The values that a register had, in rising order.

    Parameters
    ----------
    changes : DataFrame
        As :func:`df_state_changes` gives it.
    max_states : int
        Most states. Where there were more values, those that come and go most have a state of their own and all others
        share the last one.

    Returns
    -------
    DataFrame
        Columns :data:`STATE_COLUMNS`, index ``state``; empty where nothing is known.
    """
    first = changes.attrs["first"]
    if first is None:
        return pd.DataFrame({name: [] for name in STATE_COLUMNS})
    value = np.append(np.uint64(first), changes["value"].to_numpy())
    begin = np.append(changes.attrs["start_ns"], changes["t_ns"].to_numpy())
    held = np.maximum(np.diff(begin, append=changes.attrs["end_ns"]), 0)
    codes, unique = pd.factorize(value, sort=True)
    seen = np.bincount(codes)
    entered = seen - np.bincount(codes[:1], minlength=len(unique))
    states = pd.DataFrame(
        {
            "value": unique,
            "values": 1,
            "entered": entered,
            "held_ns": np.bincount(codes, weights=held).astype(np.int64),
        }
    )
    if len(states) > max_states:
        own = np.sort(np.argsort(-seen, kind="stable")[: max_states - 1])
        rest = states.drop(own)
        shared = {
            "value": rest["value"].min(),
            "values": len(rest),
            "entered": rest["entered"].sum(),
            "held_ns": rest["held_ns"].sum(),
        }
        states = pd.concat([states.loc[own], pd.DataFrame([shared])], ignore_index=True)
    states["value"] = states["value"].astype(np.uint64)
    states.index.name = "state"
    return states


def df_transitions(changes: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """How often each state followed which, and by whom; the most frequent first.

    Parameters
    ----------
    changes : DataFrame
        As :func:`df_state_changes` gives it.
    states : DataFrame
        As :func:`df_states` gives it for the same changes.

    Returns
    -------
    DataFrame
        Columns :data:`TRANSITION_COLUMNS`.
    """
    if changes.empty:
        return pd.DataFrame({name: [] for name in TRANSITION_COLUMNS})
    own = states.loc[states["values"] == 1, "value"].to_numpy(dtype=np.uint64)

    def state_of(value: Array) -> Array:
        place = np.minimum(np.searchsorted(own, value), max(len(own) - 1, 0))
        return np.where(own[place] == value, place, len(states) - 1) if len(own) else np.zeros(len(value), np.int64)

    previous, after = (state_of(changes[name].to_numpy()) for name in ("previous", "value"))
    by = changes["by"].cat.codes.to_numpy().astype(np.int64)
    counts = np.bincount((previous * len(states) + after) * len(CAUSES) + by)
    used = np.flatnonzero(counts)
    used = used[np.argsort(-counts[used], kind="stable")]
    pair = used // len(CAUSES)
    return pd.DataFrame(
        {
            "previous": pair // len(states),
            "state": pair % len(states),
            "by": pd.Categorical.from_codes(used % len(CAUSES), dtype=_BY),
            "count": counts[used],
        }
    )
