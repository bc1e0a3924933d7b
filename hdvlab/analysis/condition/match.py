"""A tree of a condition, asked of columns: which rows it holds for."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hdvlab.analysis.condition.words import Both, Either, Event, Node, Not, Test
from hdvlab.analysis.register_rows import RegisterRows, written_registers
from hdvlab.analysis.selection import READS, WRITES, Array, of_kinds
from hdvlab.errors import HResult, UsageError
from hdvlab.registers import Field, Register
from hdvlab.registers.nearest import nearest
from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind, Origin
from hdvlab.trace.tables import Tables

Columns = Mapping[str, Array]

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ON_BAR = KIND_GROUPS["mmio"]
_ACCESSES = READS | WRITES


def match(node: Node, columns: Columns, tables: Tables) -> Array:
    """Which rows the node holds for, as booleans; UsageError where a name is unknown."""
    if isinstance(node, Not):
        return ~match(node.part, columns, tables)
    if isinstance(node, Both):
        return match(node.one, columns, tables) & match(node.other, columns, tables)
    if isinstance(node, Either):
        return match(node.one, columns, tables) | match(node.other, columns, tables)
    return _event(node, columns, tables)


def _event(event: Event, columns: Columns, tables: Tables) -> Array:
    devices, register = _names(event, tables)
    chosen = np.ones(len(columns["kind"]), dtype=bool)
    if kinds := _kinds(event, register is not None):
        chosen &= of_kinds(columns["kind"], kinds)
    if event.origin:
        chosen &= columns["origin"] == Origin[event.origin]
    if event.ending:
        status = columns["status"]
        waits = status == E_PENDING
        chosen &= waits if event.ending == "pending" else (status < 0) & ~waits
    if devices is not None:
        chosen &= np.isin(columns["device"], devices)
    if event.bar is not None:
        chosen &= columns["bar"] == event.bar
    if event.first is not None and event.last is not None:
        first, size = columns["address"], np.maximum(columns["size"], 1).astype(np.uint64)
        chosen &= (first <= np.uint64(event.last)) & (first + size > np.uint64(event.first))
    if register is not None:
        return chosen & _register(register, event.test, columns)
    if event.test is not None:
        column = columns[event.column or "value"]
        chosen &= _compare(column, event.test.sign, _plain(event))
    return chosen


def _kinds(event: Event, on_register: bool) -> frozenset[Kind] | set[Kind]:
    """The kinds that are meant; empty = all."""
    kinds: frozenset[Kind] | set[Kind] = frozenset()
    if event.kind:
        kinds = KIND_GROUPS[event.kind] if event.kind in KIND_GROUPS else frozenset({Kind[event.kind]})
    elif on_register or event.bar is not None:
        kinds = _ON_BAR
    if event.verb:
        meant = {"read": READS, "write": WRITES, "access": _ACCESSES}[event.verb]
        kinds = meant & kinds if kinds else meant
        if not kinds:
            raise UsageError(f"condition {event.text!r}: {event.kind} is no {event.verb}")
    if event.first is not None and event.bar is None and not event.kind:
        raise UsageError(f"condition {event.text!r}: an address of what? write dma, config or bar0+ before it")
    return kinds


def _plain(event: Event) -> int:
    assert event.test is not None
    if event.column == "status" and event.test.meaning in HResult.__members__:
        return HResult[event.test.meaning].signed
    if event.test.meaning:
        raise UsageError(f"condition {event.text!r}: {event.test.meaning} is no number, and no field is named")
    return event.test.number


def _compare(values: Array, sign: str, number: int) -> Array:
    if sign == "&":
        return (values & values.dtype.type(number)) != 0  # type: ignore[no-any-return]
    low, high = (int(edge) for edge in (np.iinfo(values.dtype).min, np.iinfo(values.dtype).max))
    if not low <= number <= high:  # no row has it; numpy would compare as floats
        return np.full(len(values), _SIGNS[sign](0, number), dtype=bool)
    result: Array = _SIGNS[sign](values, values.dtype.type(number))
    return result


# ---- names -----------------------------------------------------------------------------------------------------------


def _names(event: Event, tables: Tables) -> tuple[list[int] | None, list[RegisterRows] | None]:
    """The devices and the registers that an event names; None = none named."""
    devices: list[int] | None = None
    places: list[RegisterRows] | None = None
    for name in event.names:
        numbers = [number for number, info in enumerate(tables.devices) if name == info.name]
        known = [place for written, place in written_registers(tables) if written == name]
        if known and places is None:
            places = known
        elif numbers and devices is None:
            devices = numbers
        else:
            words = [info.name for info in tables.devices] + [written for written, _ in written_registers(tables)]
            raise UsageError(f"condition {event.text!r}: no register or device {name}; {nearest(name, words)}")
    return devices, places


def _register(places: list[RegisterRows], test: Test | None, columns: Columns) -> Array:
    """Which rows touch one of some registers, and pass the test there."""
    held = np.zeros(len(columns["kind"]), dtype=bool)
    for place in places:
        touched = replace(place, field=None).touching(columns)
        if test is None:
            held |= touched
            continue
        number = _number_of(test, place.register, place.field)
        held |= place.covering(columns, touched, functools.partial(_compare, sign=test.sign, number=number))
    return held


def _number_of(test: Test, register: Register, field: Field | None) -> int:
    if not test.meaning:
        return test.number
    meanings = {text: value for value, text in field.meanings.items()} if field is not None else {}
    if test.meaning not in meanings:
        what = f"{register.name}.{field.name}" if field is not None else register.name
        known = f"it has {', '.join(meanings)}" if meanings else "write a number"
        raise UsageError(f"{what} has no value called {test.meaning}; {known}")
    return meanings[test.meaning]
