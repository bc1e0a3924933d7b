"""A choice of rows as people write it, tested on columns piece by piece: ten million rows take tenths of a second.

::

    kind        mmio   dma_write   "config interrupt"   failed   pending
    device      blink   00:03.0
    register    CTRL   blink.CTRL   CTRL.EN   CTRL.EN==1   STATUS!=0
                bar0   bar0+0x10..0x1f   config+4   dma+0x1000..0x1fff   0x1000..0x1fff
    value       0x1f   1..9   >=0x100   !=0   &0x80   &0xf0==0x30
    text        part of a mark, a fault, a source line, or a name of a kind, origin, device, register or status;
                a number is also a row's own number, its address or its value
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from hdvlab.analysis.register_rows import RegisterRows, written_registers
from hdvlab.errors import HResult, UsageError
from hdvlab.registers.nearest import nearest
from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind, Origin
from hdvlab.trace.tables import Tables

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Array]

#: Which of some rows are meant: their columns and their numbers in, booleans out.
Test = Callable[[Columns, Array], Array]

#: Words for ``kind`` that are no kinds.
STATE_WORDS = ("failed", "pending")

_ON_BAR = KIND_GROUPS["mmio"] | KIND_GROUPS["doorbell"]
_WITH_TEXT = KIND_GROUPS["mark"] | KIND_GROUPS["fault"] | KIND_GROUPS["lost"]
_NUMBER = r"(?:0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_]*)"
_PLACE = re.compile(
    rf"(?:(?P<device>\w+)\.)?(?:(?P<space>bar[0-5]|config|dma)\s*\+?\s*)?"
    rf"(?:(?P<first>{_NUMBER})(?:\s*\.\.\s*(?P<last>{_NUMBER}))?)?"
)
_CONDITION = re.compile(r"(?P<what>[^=!<>&]*?)\s*(?P<test>(?:==|!=|<=|>=|<|>|=|&).*)?")
_VALUE = re.compile(
    rf"(?:&\s*(?P<mask>{_NUMBER})\s*)?(?:(?P<op>==|!=|<=|>=|<|>|=)?\s*(?P<first>{_NUMBER})"
    rf"(?:\s*\.\.\s*(?P<last>{_NUMBER}))?)?"
)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class RowFilter:
    """A choice of rows; what is empty chooses all. The module says what may be written."""

    kind: str = ""
    device: str = ""
    register: str = ""
    value: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return any(getattr(self, one.name).strip() for one in fields(self))

    def test(self, tables: Tables, text_of: Callable[[int], str] = lambda row: "") -> Test:
        """What tells the rows that are meant.

        Parameters
        ----------
        tables : Tables
            The trace's; a description that comes later is not known to the test.
        text_of : callable
            Row number to the text of a mark or fault: :meth:`hdvlab.trace.trace.Trace.text`.

        Raises
        ------
        UsageError
            It cannot be read, or names what the trace does not have; ``operation`` is the attribute's name.
        """
        tests = [
            made(written.strip())
            for name, made in (
                ("kind", _kind_test),
                ("device", lambda text: _device_test(text, tables)),
                ("register", lambda text: _register_test(text, tables)),
                ("value", _value_test),
                ("text", lambda text: _text_test(text, tables, text_of)),
            )
            if (written := getattr(self, name)).strip()
        ]

        def test(columns: Columns, rows: Array) -> Array:
            chosen = np.ones(len(rows), dtype=bool)
            for one in tests:
                chosen &= one(columns, rows)
            return chosen

        return test

    def __str__(self) -> str:
        told = [f"{one.name} {getattr(self, one.name)}" for one in fields(self) if getattr(self, one.name)]
        return ", ".join(told) or "all rows"


def _number(text: str, attribute: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:  # 010 is eight in C and ten elsewhere
        raise UsageError(f"{text} is no number; write {text.lstrip('0_')} or 0x1f", operation=attribute) from None
    if number >> 64:
        raise UsageError(f"{text} has more than 64 bits", operation=attribute)
    return number


def _lookup(codes: Iterable[int], size: int) -> Array:
    table = np.zeros(size, dtype=bool)
    table[list(codes)] = True
    return table


def _kind_test(text: str) -> Test:
    words = [word for word in re.split(r"[\s,]+", text) if word]
    kinds: set[Kind] = set()
    for word in words:
        if word in KIND_GROUPS:
            kinds |= KIND_GROUPS[word]
        elif word in Kind.__members__ and Kind[word]:
            kinds.add(Kind[word])
        elif word not in STATE_WORDS:
            known = dict.fromkeys([*KIND_GROUPS, *STATE_WORDS, *(kind.name for kind in Kind if kind)])
            raise UsageError(f"no kind {word}; {nearest(word, known)}", operation="kind")
    table = _lookup(kinds, 256)

    def test(columns: Columns, rows: Array) -> Array:
        chosen: Array = table[columns["kind"]]
        status = columns["status"]
        if "pending" in words:
            chosen = chosen | (status == E_PENDING)
        if "failed" in words:
            chosen = chosen | ((status < 0) & (status != E_PENDING)) | (columns["kind"] == Kind.fault)
        return chosen

    return test


def _devices_of(text: str, tables: Tables) -> list[int]:
    numbers = [number for number, info in enumerate(tables.devices) if text in (info.name, info.address)]
    if not numbers:
        raise UsageError(
            f"no device {text}; {nearest(text, (info.name for info in tables.devices))}", operation="device"
        )
    return numbers


def _device_test(text: str, tables: Tables) -> Test:
    table = _lookup(_devices_of(text, tables), 1 << 16)
    return lambda columns, rows: table[columns["device"]]


def _register_test(text: str, tables: Tables) -> Test:
    match = _CONDITION.fullmatch(text)
    what, condition = (match["what"], match["test"]) if match else (text, None)
    if place := _PLACE.fullmatch(what):
        touches = _place_test(place, tables)
        if condition is None:
            return touches
        holds = _value_test(condition, "register")
        return lambda columns, rows: touches(columns, rows) & holds(columns, rows)
    named = _named(what, tables)
    compare = _comparison(condition, "register") if condition is not None else None
    tests = [_of_register(place, compare) for place in named]

    def test(columns: Columns, rows: Array) -> Array:
        chosen = np.zeros(len(rows), dtype=bool)
        for one in tests:
            chosen |= one(columns, rows)
        return chosen

    return test


def _named(what: str, tables: Tables) -> list[RegisterRows]:
    """The registers, or fields of them, that a name may mean."""
    known: dict[str, list[RegisterRows]] = {}
    for written, place in written_registers(tables):
        known.setdefault(written, []).append(place)
    if what not in known:
        raise UsageError(f"no register {what}; {nearest(what, known)}", operation="register")
    return known[what]


def _of_register(place: RegisterRows, compare: Callable[[Array], Array] | None = None) -> Test:
    """Accesses that touch a register, or all bits of a field where a value of it is asked for."""
    kinds = _lookup(_ON_BAR, 256)

    def test(columns: Columns, rows: Array) -> Array:
        whole = place if compare is None else replace(place, field=None)
        chosen = whole.touching(columns) & kinds[columns["kind"]]
        return chosen if compare is None else place.covering(columns, chosen, compare)

    return test


def _place_test(place: re.Match[str], tables: Tables) -> Test:
    """Accesses that overlap addresses of a BAR, of config space, of guest memory, or of any of them."""
    space, device = place["space"], place["device"]
    if not space and not place["first"]:
        raise UsageError("write a register's name, bar0+0x10, config+4 or dma+0x1000..0x1fff", operation="register")
    first = _number(place["first"], "register") if place["first"] else 0
    last = _number(place["last"], "register") if place["last"] else first if place["first"] else (1 << 64) - 1
    if last < first or last >> 64:
        raise UsageError(f"{first:#x}..{last:#x} is no range of addresses", operation="register")
    bar = int(space[3]) if space and space.startswith("bar") else None
    groups = {"config": "config", "dma": "dma"}.get(space or "")
    kinds = _lookup(_ON_BAR if bar is not None else KIND_GROUPS[groups] if groups else range(len(Kind)), 256)
    numbers = _lookup(_devices_of(device, tables), 1 << 16) if device else None

    def test(columns: Columns, rows: Array) -> Array:
        address, size = columns["address"], columns["size"]
        # address + size may wrap, so what is before the last address is compared.
        chosen = (address <= last) & ((address >= first) | (first - address < size)) & kinds[columns["kind"]]
        if bar is not None:
            chosen &= columns["bar"] == bar
        return chosen if numbers is None else chosen & numbers[columns["device"]]

    return test


def _comparison(text: str, attribute: str) -> Callable[[Array], Array]:
    """A condition on values: ``>=3``, ``1..9``, ``&0x80``."""
    match = _VALUE.fullmatch(text.strip())
    if match is None or not (match["mask"] or match["first"]):
        raise UsageError(
            f"{text} is no condition; write 0x1f, 1..9, >=0x100, !=0, &0x80 or &0xf0==0x30", None, attribute
        )
    numbers = {name: _number(match[name], attribute) for name in ("mask", "first", "last") if match[name]}
    compare = _OPERATORS[match["op"] or "=="]

    def test(values: Array) -> Array:
        if "mask" in numbers:
            values = values & np.uint64(numbers["mask"])
        result: Array
        if "first" not in numbers:
            result = values != 0
        elif "last" in numbers:
            result = (values >= numbers["first"]) & (values <= numbers["last"])
        else:
            result = compare(values, np.uint64(numbers["first"]))
        return result

    return test


def _value_test(text: str, attribute: str = "value") -> Test:
    compare = _comparison(text, attribute)
    return lambda columns, rows: compare(columns["value"])


def _text_test(text: str, tables: Tables, text_of: Callable[[int], str]) -> Test:
    wanted = text.lower()
    kinds = _lookup([kind for kind in Kind if wanted in kind.name], 256)
    origins = _lookup([origin for origin in Origin if wanted in origin.name], 256)
    devices = _lookup([n for n, info in enumerate(tables.devices) if wanted in info.name.lower()], 1 << 16)
    sources = np.array([n for n, line in tables.sources.items() if wanted in str(line).lower()], dtype=np.uint64)
    registers = [
        _of_register(RegisterRows(number, index, register))
        for number, info in enumerate(tables.devices)
        for index, bar in info.bars.items()
        for register in bar.registers or ()
        if wanted in register.name.lower()
    ]
    number = int(text, 0) if re.fullmatch(_NUMBER, text) and not re.fullmatch(r"0\d+", text) else -1
    with_text = _lookup(_WITH_TEXT, 256)

    def test(columns: Columns, rows: Array) -> Array:
        chosen: Array = kinds[columns["kind"]] | origins[columns["origin"]] | devices[columns["device"]]
        if len(sources):
            chosen |= np.isin(columns["pc"], sources)
        for register in registers:
            chosen |= register(columns, rows)
        if 0 <= number < 1 << 64:
            chosen |= (columns["value"] == number) | (columns["address"] == number) | (rows == number)
        status = columns["status"]
        for code in np.unique(status[status != 0]):
            if wanted in HResult.symbol_of(int(code)).lower():
                chosen |= status == code
        for place in np.flatnonzero(with_text[columns["kind"]] & ~chosen):
            chosen[place] = wanted in text_of(int(rows[place])).lower()
        return chosen

    return test
