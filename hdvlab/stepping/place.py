"""Where a breakpoint is, as people write it.

::

    CTRL   blink.CTRL   blink.bar0.CTRL      a register
    CTRL.EN                                  a field of it
    CTRL==1   CTRL.MODE==fast                with a value
    bar0   bar0+0x10   blink.bar0+0x10..0x1f a place in a BAR
    config   config+0x4   config+0x10..0x27  config space
    dma   dma 0x1000..0x1fff   dma_write     guest memory that devices touch
    interrupt   doorbell   reset   blink.start   any other kind of row, or a group of kinds
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hdvlab.errors import UsageError
from hdvlab.registers import Field, Register, RegisterMap
from hdvlab.registers.nearest import nearest
from hdvlab.registers.spelling import spellings as written_registers
from hdvlab.trace.schema import KIND_GROUPS, Kind

#: Kinds of rows at which the guest or a device can be stopped.
STOPPABLE: frozenset[Kind] = (
    KIND_GROUPS["config"] | KIND_GROUPS["mmio"] | KIND_GROUPS["dma"] | KIND_GROUPS["interrupt"]
    | (KIND_GROUPS["lifecycle"] - {Kind.pause, Kind.resume})
)  # fmt: skip
#: Words for them: single kinds, and groups.
KIND_WORDS = tuple(
    dict.fromkeys(
        [*(name for name, kinds in KIND_GROUPS.items() if kinds & STOPPABLE), *(k.name for k in sorted(STOPPABLE))]
    )
)

READS = frozenset({Kind.mmio_read, Kind.config_read, Kind.dma_read})
WRITES = frozenset({Kind.mmio_write, Kind.config_write, Kind.dma_write, Kind.doorbell})
_EVERYWHERE = (1 << 64) - 1
_ON_BAR = frozenset({Kind.mmio_read, Kind.mmio_write, Kind.doorbell})
_RANGE = r"(?:\s*\+\s*(?P<first>\w+)(?:\s*\.\.\s*(?P<last>\w+))?)?"
_SPACE = re.compile(r"(?:(?P<device>\w+)\.)?(?P<space>bar\d|config)" + _RANGE, re.IGNORECASE)
_MEMORY = re.compile(
    r"(?:(?P<device>\w+)\.)?(?P<kind>dma(?:_read|_write)?)(?:\s+(?P<first>\w+)(?:\s*\.\.\s*(?P<last>\w+))?)?",
    re.IGNORECASE,
)


class Slot(Protocol):
    """A plugged-in device, as far as breakpoints look at it: :class:`hdvlab.lab.Plugged`."""

    name: str
    index: int

    @property
    def maps(self) -> dict[int, RegisterMap]: ...
    @property
    def bars(self) -> Mapping[int, Any]: ...
    def peek(self, bar: int, offset: int, size: int) -> int: ...


@dataclass(frozen=True)
class Place:
    """What the library compares accesses with, by names that outlive a restart of the machine.

    ``bar`` is -1 for none; ``first`` and ``last`` are the first and last byte; ``value`` and ``mask`` are of the bytes
    from ``first`` on; mask 0 = any.
    """

    device: str | None
    kinds: frozenset[Kind]
    bar: int = -1
    first: int = 0
    last: int = _EVERYWHERE
    value: int = 0
    mask: int = 0
    register: str = ""
    field: str = ""

    @property
    def has_bytes(self) -> bool:
        """Whether it is about bytes somewhere, not only about what happens."""
        return self.last != _EVERYWHERE


def find_place(
    text: str, slots: Iterable[Slot], *, access: str | None = None, device: str | None = None, kind: str | None = None
) -> Place:
    """The place that ``text`` means.

    Parameters
    ----------
    text : str
        See the top of this module; empty where ``kind`` or ``device`` say all.
    slots : iterable of Slot
        What is plugged in.
    access : {"r", "w", "rw"}, optional
        Only reads, or only writes; of DMA as the device sees it.
    device : str, optional
        Only this device.
    kind : str, optional
        Only rows of this kind, or group of kinds.

    Raises
    ------
    UsageError
        Nothing has that name, or several things have; the message says what to write.
    """
    slots = list(slots)
    names = [slot.name for slot in slots]
    if access not in (None, "r", "w", "rw"):
        raise UsageError(f"access is 'r', 'w' or 'rw', not {access!r}")
    if device is not None and device not in names:
        raise UsageError(f"no device {device} is plugged in; {nearest(device, names)}")
    where, equals, wanted = (part.strip() for part in _cut(text))
    place, register, field = _named(where, slots, device)
    kinds = place.kinds
    if kind is not None:
        kinds &= find_kinds(kind)
        if not kinds:
            raise UsageError(f"{text} is never of kind {kind}; it is {_listed(place.kinds)}")
    if access in ("r", "w"):
        only = kinds & (READS if access == "r" else WRITES)
        if not only:
            raise UsageError(f"{text or kind}: {_listed(kinds)} has no {'reads' if access == 'r' else 'writes'}")
        kinds = only
    value, mask, first = 0, 0, place.first
    if equals:
        value, mask = _value(wanted, where, place, register, field)
        first = register.offset if register is not None else place.first
    return Place(place.device, kinds, place.bar, first, place.last, value, mask, place.register, place.field)


def _cut(text: str) -> tuple[str, str, str]:
    for sign in ("==", "="):
        if sign in text:
            return text.partition(sign)
    return text, "", ""


def find_kinds(word: str) -> frozenset[Kind]:
    """The kinds that a word stands for, those at which can be stopped."""
    found = KIND_GROUPS.get(word) or (frozenset({Kind[word]}) if word in Kind.__members__ else None)
    if found is None:
        raise UsageError(f"no kind {word}; {nearest(word, KIND_WORDS)}")
    if not found & STOPPABLE:
        raise UsageError(f"nothing stops at {word}: it is told when it is over. There is {', '.join(KIND_WORDS)}")
    return found & STOPPABLE


def _listed(kinds: frozenset[Kind]) -> str:
    return ", ".join(kind.name for kind in sorted(kinds))


def _named(where: str, slots: list[Slot], device: str | None) -> tuple[Place, Register | None, Field | None]:
    if not where:
        return Place(device, STOPPABLE), None, None
    owner, dot, rest = where.rpartition(".")
    is_kind = (rest in KIND_GROUPS or rest in Kind.__members__) and (not dot or owner in [s.name for s in slots])
    if is_kind and rest not in ("config",):
        return Place(owner or device, find_kinds(rest)), None, None
    if match := _SPACE.fullmatch(where):
        return _in_space(where, match, slots, device), None, None
    if match := _MEMORY.fullmatch(where):
        first = _number(match["first"]) if match["first"] else 0
        last = _number(match["last"]) if match["last"] else first if match["first"] else _EVERYWHERE
        _check_order(where, first, last)
        who = match["device"] or device
        if who is not None and who not in [slot.name for slot in slots]:
            raise UsageError(f"no device {who} is plugged in; {nearest(who, [slot.name for slot in slots])}")
        return Place(who, find_kinds(match["kind"].lower()), -1, first, last), None, None
    return _in_map(where, slots, device)


def _check_order(where: str, first: int, last: int) -> None:
    if last < first:
        raise UsageError(f"{where}: {last:#x} is below {first:#x}; write the lower one first")


def _number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise UsageError(f"{text!r} is no number; write 31, 0x1f or 0b1_1111") from None
    if number >> 64:
        raise UsageError(f"{text} has more than 64 bits")
    return number


def _in_space(where: str, match: re.Match[str], slots: list[Slot], device: str | None) -> Place:
    names = [slot.name for slot in slots]
    name = match["device"] or device
    if name is None and len(slots) > 1:
        raise UsageError(f"say which device: {' or '.join(f'{one}.{where}' for one in names)}")
    if not slots:
        raise UsageError("no device is plugged in; %hdv plug NAME does that, %hdv plug edu for a first one")
    slot = next((slot for slot in slots if name in (None, slot.name)), None)
    if slot is None:
        raise UsageError(f"no device {name} is plugged in; {nearest(str(name), names)}")
    first = _number(match["first"]) if match["first"] else 0
    space = match["space"].lower()
    size = 4096
    if space != "config":
        bars = {index: bar.bar_size for index, bar in slot.bars.items()}
        if int(space[3:]) not in bars:
            raise UsageError(f"{slot.name} has no {space}; {nearest('', (f'bar{index}' for index in bars))}")
        size = bars[int(space[3:])]
    last = _number(match["last"]) if match["last"] else min(first + 3, size - 1) if match["first"] else size - 1
    if max(first, last) >= size:
        raise UsageError(f"{space} of {slot.name} is {size:#x} bytes long; {max(first, last):#x} is outside it")
    _check_order(where, first, last)
    if space == "config":
        return Place(slot.name, KIND_GROUPS["config"], -1, first, last)
    return Place(slot.name, _ON_BAR, int(space[3:]), first, last)


def spellings(slots: Iterable[Slot]) -> Iterator[tuple[str, Slot, int, Register, Field | None]]:
    """Every way to write a register or field."""
    for slot in slots:
        for written, bar, register, field in written_registers(slot.name, slot.maps):
            yield written, slot, bar, register, field


def _in_map(where: str, slots: list[Slot], device: str | None) -> tuple[Place, Register, Field | None]:
    if not slots:
        raise UsageError("no device is plugged in; %hdv plug NAME does that, %hdv plug edu for a first one")
    chosen = [slot for slot in slots if device in (None, slot.name)]
    found = [one for one in spellings(chosen) if one[0] == where]
    if not found:
        words = {name for name, *_ in spellings(chosen) if ".bar" not in f".{name}"}
        owner, dot, rest = where.partition(".")
        inside = [word.partition(".")[2] for word in words if word.startswith(f"{owner}.")]
        if dot and inside:
            raise UsageError(f"{owner} has no {rest}; {nearest(rest, sorted(inside))}")
        raise UsageError(f"no register {where}; {nearest(where, [*sorted(words), *KIND_WORDS], _short(words))}")
    if len(found) > 1:
        full = [f"{slot.name}.bar{bar}.{where.rpartition('bar')[2]}" for _, slot, bar, *_ in found]
        raise UsageError(f"{where} is ambiguous; say which: {' or '.join(full)}")
    _, slot, bar, register, field = found[0]
    first, last = register.offset, register.end - 1
    if field is not None:
        first, last = register.offset + field.lsb // 8, register.offset + field.msb // 8
    name = "" if field is None else field.name
    return Place(slot.name, _ON_BAR, bar, first, last, 0, 0, register.name, name), register, field


def _short(words: set[str]) -> list[str]:
    return sorted(word for word in words if "." not in word)


def _value(text: str, where: str, place: Place, register: Register | None, field: Field | None) -> tuple[int, int]:
    meanings = {meaning: value for value, meaning in field.meanings.items()} if field is not None else {}
    number = meanings.get(text)
    if number is None:
        try:
            number = _number(text)
        except UsageError as error:
            known = f" ({', '.join(meanings)})" if meanings else ""
            raise UsageError(f"{where}: {error}{known}") from None
    if field is not None:
        width, shift = field.width, field.lsb
    elif register is not None:
        width, shift = register.width, 0
    elif not place.has_bytes:
        width, shift = 64 if number >> 32 else 32, 0
    else:
        width, shift = 8 * min(8, place.last - place.first + 1), 0
    if number < 0 or number >> width:
        raise UsageError(f"{where} is {width} bit{'s' if width > 1 else ''} wide; {number:#x} does not fit")
    return number << shift, ((1 << width) - 1) << shift
