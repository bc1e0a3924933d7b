"""Where an access goes, as people write it.

::

    CTRL            blink.CTRL          a register; with its device where several have one of that name
    CTRL.EN         blink.CTRL.EN       a field of it
    bar0+0x10       blink.bar2+0x10     a place in a BAR
    config+0x4      blink.config+0x4    a place in config space
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdvlab.commands.nearest import nearest
from hdvlab.commands.number import parse_number
from hdvlab.errors import UsageError
from hdvlab.registers import Field, Register
from hdvlab.registers.spelling import spellings as written_registers

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab, Plugged

_PLACE = re.compile(r"(?:(?P<device>\w+)\.)?(?P<space>bar\d|config)\s*\+\s*(?P<offset>\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Location:
    """A place in a plugged-in device.

    ``bar`` is None for config space; ``register`` and ``field`` are None where nothing was named. ``size`` in bytes.
    """

    plugged: Plugged
    bar: int | None
    offset: int
    size: int
    register: Register | None = None
    field: Field | None = None

    @property
    def name(self) -> str:
        """How it is written, without the device."""
        if self.register is None:
            return f"{'config' if self.bar is None else f'bar{self.bar}'}+{self.offset:#x}"
        return self.register.name if self.field is None else f"{self.register.name}.{self.field.name}"

    @property
    def whole(self) -> Register | None:
        """The register, where all of it is meant."""
        is_whole = self.field is None and self.register is not None and self.size == self.register.size
        return self.register if is_whole else None

    def describe(self, value: int) -> str:
        """The fields of a value that was read from here."""
        if self.field is not None:
            return str(self.field.meanings.get(value, ""))
        whole = self.register is not None and self.size == self.register.size
        return self.register.describe(value) if self.register is not None and whole else ""

    def parse_value(self, text: str) -> int:
        """A value for this place: a number that fits it, or what the field calls the value.

        Raises
        ------
        UsageError
            It is neither.
        """
        meanings = {meaning: value for value, meaning in self.field.meanings.items()} if self.field else {}
        if text in meanings:
            return meanings[text]
        try:
            value = parse_number(text)
        except UsageError as error:
            known = f" ({', '.join(meanings)})" if meanings else ""
            raise UsageError(f"{self.name}: {error}{known}") from None
        width = self.field.width if self.field is not None else 8 * self.size
        if value >> width:
            bits = "1 bit" if width == 1 else f"{width} bits"
            raise UsageError(f"{self.name} is {bits} wide; {value:#x} does not fit")
        return value


def find(lab: AnyLab, text: str, size: int | None = None) -> Location:
    """The place that ``text`` means.

    Parameters
    ----------
    lab : Lab
        Whose devices are meant.
    text : str
        See the top of this module.
    size : int, optional
        Bytes of the access; the register's own size, or 4, where it is not given.

    Raises
    ------
    UsageError
        Nothing has that name, or several things have; the message says what to write.
    """
    if not list(lab):
        raise UsageError("no device is plugged in; %hdv plug NAME does that, %hdv plug edu for a first one")
    if match := _PLACE.fullmatch(text):
        return _find_place(lab, match, size)
    wanted = [(written, place) for written, place in spellings(lab) if written == text]
    if not wanted:
        raise UsageError(_unknown(lab, text))
    if len(wanted) > 1:
        full = [_full_name(lab, place) for _, place in wanted]
        raise UsageError(f"{text} is ambiguous; say which: {' or '.join(full)}")
    return _sized(wanted[0][1], size)


def _find_place(lab: AnyLab, match: re.Match[str], size: int | None) -> Location:
    owners = [one.name for one in lab]
    name = match["device"]
    if name is None and len(owners) > 1:
        raise UsageError(f"say which device: {' or '.join(f'{owner}.{match[0]}' for owner in owners)}")
    if name is not None and name not in owners:
        raise UsageError(f"no device {name} is plugged in; {nearest(name, owners)}")
    plugged = lab[name or owners[0]]
    offset = parse_number(match["offset"])
    if match["space"].lower() == "config":
        return Location(plugged, None, offset, size or 4)
    bar = int(match["space"][3:])
    sizes = {index: one.bar_size for index, one in plugged.bars.items()}
    if bar not in sizes:
        raise UsageError(f"{plugged.name} has no bar{bar}; {nearest('', (f'bar{index}' for index in sizes))}")
    size = size or 4
    if offset + size > sizes[bar]:
        raise UsageError(f"bar{bar} of {plugged.name} is {sizes[bar]:#x} bytes long; {offset:#x}/{size} is outside it")
    return Location(plugged, bar, offset, size)


def _sized(place: Location, size: int | None) -> Location:
    if size is None or place.register is None or size == place.register.size:
        return place
    if place.field is not None:
        raise UsageError(f"{place.name} is a field; its register is accessed whole, without --size")
    return Location(place.plugged, place.bar, place.offset, size, place.register)


def _registers(lab: AnyLab) -> Iterator[Location]:
    for plugged in lab:
        for bar, registers in plugged.maps.items():
            for register in registers:
                yield Location(plugged, bar, register.offset, register.size, register)


def spellings(lab: AnyLab) -> Iterator[tuple[str, Location]]:
    """Every way to write a register or field of the plugged-in devices."""
    for plugged in lab:
        for written, bar, register, field in written_registers(plugged.name, plugged.maps):
            yield written, Location(plugged, bar, register.offset, register.size, register, field)


def _full_name(lab: AnyLab, place: Location) -> str:
    inside = [other for other in _registers(lab) if other.plugged is place.plugged]
    twins = [other for other in inside if other.register is not None and other.register.name == place.register.name]  # type: ignore[union-attr]
    bar = f"bar{place.bar}." if len(twins) > 1 else ""
    return f"{place.plugged.name}.{bar}{place.name}"


def completions(lab: AnyLab, full: bool = False) -> Iterable[str]:
    """What TAB offers: short names where they are unambiguous, then BARs and config space.

    With the device before them where there are several devices, or where ``full`` names are wanted.
    """
    several = full or len(list(lab)) > 1
    written = [word for word, _ in spellings(lab) if ".bar" not in f".{word}"]
    uses = Counter(written)
    yield from (word for word in uses if uses[word] == 1 and (several or word.partition(".")[0] not in lab))
    for plugged in lab:
        before = f"{plugged.name}." if several else ""
        yield from (f"{before}bar{bar}+0x" for bar in plugged.maps)
        yield f"{before}config+0x"


def _unknown(lab: AnyLab, text: str) -> str:
    known = list(completions(lab, full=True))
    device, dot, rest = text.partition(".")
    if re.fullmatch(r"(\w+\.)?(bar\d|config)", text, re.IGNORECASE):
        return f"{text} is no place by itself; write {text}+0x10"
    if dot and device in lab:
        name = rest.split(".")[0]
        inside = [
            word.removeprefix(f"{device}.") for word in known if word.startswith(f"{device}.") and "+" not in word
        ]
        return f"{device} has no register {name}; {nearest(rest, inside)}"
    for place in _registers(lab):
        register = place.register
        if dot and register is not None and register.name == device:
            fields = nearest(rest, register.fields) if register.fields else "it has none"
            return f"{device} has no field {rest}; {fields}"
    plain = [word for word in completions(lab) if "+" not in word]
    names = [place.register.name for place in _registers(lab) if place.register is not None]
    return f"no register {text}; {nearest(text, plain, names)}"
