"""Signals: registers and fields by name, found in a trace, as a waveform shows them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hdvlab.analysis.places import factorize_places
from hdvlab.analysis.selection import Array, busiest_bar, device_name, find_device
from hdvlab.analysis.values import df_values
from hdvlab.errors import UsageError
from hdvlab.registers import Field, Register
from hdvlab.trace.tables import Tables

_OFFSET = re.compile(r"(?:BAR(?P<bar>[0-5])\+)?(?P<offset>0x[0-9a-f]+)", re.IGNORECASE)

#: Candidates whose changes are counted exactly before the most often changing are chosen.
_CANDIDATES = 12


@dataclass(frozen=True)
class Signal:
    """A register of a traced device, or one field of it."""

    device: int
    bar: int
    register: Register
    field: Field | None = None

    @property
    def name(self) -> str:
        """``CTRL`` or ``CTRL.EN``."""
        return self.register.name if self.field is None else f"{self.register.name}.{self.field.name}"


def find_signals(rows: pd.DataFrame, tables: Tables, names: Sequence[str]) -> list[Signal]:
    """The signals that names mean.

    Parameters
    ----------
    rows : DataFrame
        Rows of the trace; they decide which BAR an offset without one belongs to.
    tables : Tables
        Devices of the trace.
    names : sequence of str
        ``"CTRL"`` or ``"CTRL.EN"``; an offset, ``"0x10"`` or ``"BAR2+0x10"``, where nothing describes it; each with
        ``"device."`` before it where several devices have such a register.

    Raises
    ------
    UsageError
        A name that nothing has, or that several devices have; the message says what to write.
    """
    return [_find(rows, tables, name) for name in names]


def _find(rows: pd.DataFrame, tables: Tables, name: str) -> Signal:
    owner, rest = _split_owner(tables, name)
    device = find_device(tables, owner, rows) if owner else None
    if match := _OFFSET.fullmatch(rest):
        given = None if match["bar"] is None else int(match["bar"])
        found = busiest_bar(rows, device, given)
        if found is None:
            raise UsageError(f"no access of this trace goes to {name}")
        return Signal(*found, undescribed(tables, *found, int(match["offset"], 16)))
    register_name, _, field_name = rest.partition(".")
    described = [signal for signal in _described(tables) if device in (None, signal.device)]
    matches = _latest(rows, tables, [signal for signal in described if signal.register.name == register_name])
    if not matches:
        near = difflib.get_close_matches(register_name.upper(), [signal.name for signal in described], 1)
        hint = f"did you mean {near[0]}?" if near else "an offset such as 0x10 works where nothing is described"
        raise UsageError(f"this trace has no register {register_name}; {hint}")
    if len(matches) > 1:
        owners = [f"{device_name(tables, signal.device)}.{rest}" for signal in matches]
        raise UsageError(f"{rest} is a register of several devices; write {' or '.join(dict.fromkeys(owners))}")
    if not field_name:
        return matches[0]
    fields = matches[0].register.fields
    if field_name not in fields:
        raise UsageError(f"{register_name} has no field {field_name}; it has {', '.join(fields) or 'none'}")
    return Signal(matches[0].device, matches[0].bar, matches[0].register, fields[field_name])


def _split_owner(tables: Tables, name: str) -> tuple[str, str]:
    """The device that a name begins with (``blink.CTRL``, ``00:01.0:CTRL``), and the rest of it."""
    owner, colon, rest = name.rpartition(":")
    if colon:
        return owner, rest
    first, dot, rest = name.partition(".")
    return (first, rest) if dot and any(info.name == first for info in tables.devices) else ("", name)


def _latest(rows: pd.DataFrame, tables: Tables, signals: list[Signal]) -> list[Signal]:
    """Of the devices of one name, only the one that is meant: a class that was changed and plugged in again."""
    meant = {name: find_device(tables, name, rows) for name in {device_name(tables, s.device) for s in signals}}
    return [signal for signal in signals if meant[device_name(tables, signal.device)] == signal.device]


def _described(tables: Tables) -> Iterator[Signal]:
    for number, info in enumerate(tables.devices):
        for index, bar in info.bars.items():
            for register in bar.registers or ():
                yield Signal(number, index, register)


def undescribed(tables: Tables, device: int, bar: int, offset: int) -> Register:
    """The register at an offset; a plain one of 32 bits where nothing describes it."""
    info = tables.devices[device].bars.get(bar) if device < len(tables.devices) else None
    known = info.registers.at(offset) if info is not None and info.registers is not None else None
    return known or Register(offset & ~3, name=f"{offset & ~3:#x}")


def busiest_signals(rows: pd.DataFrame, tables: Tables, most: int = 4) -> list[Signal]:
    """The registers whose value changes most often, in the order of device, BAR and offset.

    Described registers if any of them changes, else dwords that nothing describes; where no value changes at all, the
    registers that are accessed most.
    """
    codes, places = factorize_places(rows, tables)
    described = places["register"] != ""
    still: list[list[tuple[int, int, Signal]]] = []
    for wanted in (described, ~described):  # the second takes as long as the first, and is seldom needed
        counted = _changing(rows, tables, codes, places[wanted], most)
        if chosen := [entry for entry in counted if entry[0] >= 1]:
            return _in_order(chosen)
        still.append(counted)
    return next((_in_order(counted) for counted in still if counted), [])


def _in_order(chosen: list[tuple[int, int, Signal]]) -> list[Signal]:
    return [signal for _, _, signal in sorted(chosen, key=lambda entry: entry[1])]


def _changing(
    rows: pd.DataFrame, tables: Tables, codes: Array, places: pd.DataFrame, most: int
) -> list[tuple[int, int, Signal]]:
    """Changes, place and signal of the places that change most, or that are accessed most where none does."""
    if places.empty:
        return []
    rows = rows[["t_ns", "kind", "device", "bar", "address", "size", "value", "status"]]
    narrow = codes.astype(np.int16) if codes.max(initial=0) < 0x7FFF else codes  # int16 sorts in linear time
    order = np.argsort(narrow, kind="stable")
    place, value = codes[order], rows["value"].to_numpy()[order]
    changed = (value[1:] != value[:-1]) & (place[1:] == place[:-1])
    # A first guess: any two accesses in a row that differ. Writes that are no values are sorted out below.
    guess = np.bincount(place[1:][changed & (place[1:] >= 0)], minlength=int(codes.max()) + 1)
    likely = places.sort_values("rows", ascending=False).index
    likely = likely[np.argsort(-guess[likely], kind="stable")[:_CANDIDATES]]
    starts = np.searchsorted(place, np.arange(int(codes.max()) + 2))
    counted = []
    for number in likely:
        device, bar, address = (int(places.loc[number, name]) for name in ("device", "bar", "address"))
        register = undescribed(tables, device, bar, address)
        mine = rows.iloc[order[starts[number] : starts[number + 1]]]
        held = df_values(mine, device, bar, register)["value"].to_numpy()
        if len(held):
            changes = int(np.count_nonzero(held[1:] != held[:-1]))
            counted.append((changes, int(number), Signal(device, bar, register)))
    return sorted(counted, key=lambda entry: -entry[0])[:most]
