"""Single accesses. ``peek`` and ``poke`` go past the bus to the device, ``read`` and ``write`` as a driver's would."""

from __future__ import annotations

import ast
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING

from hdvlab.commands.location import Location, find
from hdvlab.commands.number import Value
from hdvlab.commands.progress import late_bar
from hdvlab.device import CannotPeekError
from hdvlab.errors import AccessWarning, HResult, TraceError, UsageError
from hdvlab.guest import Function, GuestRegister
from hdvlab.trace.tables import SourceLine

if TYPE_CHECKING:
    from hdvlab.device.rehearsed import Rehearsal
    from hdvlab.lab import AnyLab, Plugged

#: Frames of these stand between a person and an access.
_PACKAGES = ("hdvlab", "IPython", "ipykernel")

#: What IPython makes of ``%hdv read CTRL``; a cell's lines are kept so.
_CALL = re.compile(r"""get_ipython\(\)\.run_line_magic\('hdv', ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)""")

_WHY = {
    HResult.E_ACCESSDENIED: "the register is read-only",
    HResult.ERROR_NOT_FOUND: "no register claims that offset",
    HResult.E_INVALIDARG: "the register does not take accesses of that size or place",
    HResult.ERROR_INVALID_STATE: "the device is not running",
    HResult.E_UNEXPECTED: "its handler failed; %hdv faults has the traceback",
    HResult.ERROR_POSSIBLE_DEADLOCK: "it is held inside its own callback; %hdv continue lets it go on",
}


@dataclass(frozen=True)
class Poked:
    """What a poke changed: stored values before and after, which need not be the value poked.

    ``old`` and ``new`` are None where the device cannot be looked at.
    """

    name: str
    old: Value | None
    new: Value | None

    def __repr__(self) -> str:
        if self.new is None:
            return f"{self.name}: poked; what became of it cannot be looked at"
        if self.old == self.new:
            return f"{self.name}: {self.old!r}, unchanged"
        return f"{self.name}: {self.old!r} → {self.new!r}"


class Pokes(tuple[Poked, ...]):
    """Several pokes, shown one a line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))


def _peek(lab: AnyLab, place: Location) -> Value:
    if place.bar is None:
        config = lab.machine.config_peek(place.plugged.slot)
        _check_config(place)
        value = int.from_bytes(config[place.offset : place.offset + place.size], "little")
    else:
        value = place.plugged.peek(place.bar, place.offset, place.size)
    if place.field is not None:
        value = place.field.extract(value)
    return Value(value, place.describe(value), place.whole)


def _check_config(place: Location) -> None:
    if place.size not in (1, 2, 4) or place.offset % 4 + place.size > 4 or place.offset >= 4096:
        raise UsageError(f"{place.name}: config space is accessed 1, 2 or 4 bytes at a time, within one dword")


def peek(lab: AnyLab, location: str, *, size: int | None = None) -> Value:
    """Look at a register, a field, or a place, without touching it: no handler runs, and no row is left.

    Parameters
    ----------
    lab : Lab
        Where.
    location : str
        See :mod:`hdvlab.commands.location`.
    size : int, optional
        Bytes.
    """
    _check_no_value("peek", location)
    return _peek(lab, find(lab, location, size))


def _check_no_value(verb: str, location: str) -> None:
    name, equals, value = location.partition("=")
    if equals:
        raise UsageError(f"{verb} takes no value; write %hdv {verb} {name}, or %hdv write {name} {value or 1}")


def poke(lab: AnyLab, settings: str | Sequence[str], *, size: int | None = None) -> Poked | Pokes:
    """Set a register, a field, or a place, past the bus: the device handles it, whatever its command register says.

    The row's origin is ``user``. Setting a field keeps the other bits.

    Parameters
    ----------
    lab : Lab
        Where.
    settings : str or sequence of str
        ``CTRL.EN=1`` or ``CTRL.EN 1``; several of the first form are done in their order.
    size : int, optional
        Bytes.

    Warns
    -----
    AccessWarning
        The device refused it; why is in the message.
    """
    text = settings if isinstance(settings, str) else " ".join(settings)
    pairs = re.sub(r"\s*=\s*", "=", text).split()
    if len(pairs) == 2 and "=" not in text:
        pairs = ["=".join(pairs)]
    done = tuple(_poke(lab, pair, size) for pair in pairs)
    return done[0] if len(done) == 1 else Pokes(done)


def _poke(lab: AnyLab, pair: str, size: int | None) -> Poked:
    name, equals, text = pair.partition("=")
    if not equals or not name or not text:
        raise UsageError(f"{pair}: write it as {name or 'CTRL'}=1, without another word between")
    place = find(lab, name, size)
    if place.bar is None:
        raise UsageError(f"poke goes to registers; write {name} {text} goes over the bus to config space")
    value = place.parse_value(text)
    old = _seen(lab, place)
    pc = _line(lab, place.plugged)
    if place.register is not None and place.size == place.register.size:
        hresult = place.plugged.poke_field(place.register, place.bar, place.field, value, pc)
    else:
        hresult = place.plugged.poke(place.bar, place.offset, place.size, value, pc)
    if hresult < 0:
        symbol = HResult.symbol_of(hresult)
        why = next((text for code, text in _WHY.items() if code == hresult & 0xFFFFFFFF), "the device refused it")
        if hresult & 0xFFFFFFFF == HResult.E_UNEXPECTED and not place.plugged.device.faults:
            why = "the device's code answered that"
        warnings.warn(f"poke of {place.plugged.name} {place.name} had no effect: {why} ({symbol})", AccessWarning, 3)
    return Poked(place.name, old, _seen(lab, place))


def whatif(
    lab: AnyLab, access: str, location: str, value: str | int | None = None, *, size: int | None = None
) -> Rehearsal:
    """What would a read or a write over the bus do? Told, and not done: the handlers run on a copy of the device.

    Parameters
    ----------
    lab : Lab
        Where.
    access : {"read", "write"}
        Which.
    location : str
        See :mod:`hdvlab.commands.location`; a write's with the value, ``CTRL.EN=1``.
    value : str or int, optional
        What is written; not given where ``location`` has it.
    size : int, optional
        Bytes.

    Raises
    ------
    CannotRehearseError
        The device is compiled, or its code uses what cannot be copied; the message says what.
    """
    if access not in ("read", "write"):
        raise UsageError(f"whatif {access}: write %hdv whatif read {location}, or %hdv whatif write {location}=1")
    name, _, inside = location.partition("=")
    if access == "read" and (value is not None or inside or "=" in location):
        raise UsageError(f"a read takes no value; write %hdv whatif read {name}, or %hdv whatif write {name}=1")
    if access == "write" and (value is None) == (inside == ""):
        raise UsageError(f"a write takes one value; write %hdv whatif write {name}=1")
    place = find(lab, name, size)
    if place.bar is None:
        raise UsageError(
            f"{name}: config space is the machine's, a rehearsal a device's registers'; %hdv peek {name} looks at it"
        )
    number = None if access == "read" else place.parse_value(inside or str(value))
    whole = place.register is not None and place.size == place.register.size
    where = f"bar{place.bar}.{place.name}" if whole else place.offset
    with late_bar(f"trying it on a copy of {place.plugged.name}"):
        told = place.plugged.rehearse(where, write=number, bar=place.bar, size=place.size)
    return replace(told, place=place.name)


def _seen(lab: AnyLab, place: Location) -> Value | None:
    try:
        return _peek(lab, place)
    except CannotPeekError:
        return None


def _as_typed(line: str) -> str:
    """A line as it was before IPython put its own call in the place of ``%hdv``."""
    return _CALL.sub(lambda match: f"%hdv {ast.literal_eval(match[1])}", line)


def _sources(lab: AnyLab, theirs: Function) -> Callable[[FrameType], int]:
    """What numbers source lines: the person's line, not the ones of this package."""
    number = theirs.source_of

    def source_of(frame: FrameType) -> int:
        outside: FrameType | None = frame
        while outside is not None and outside.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES:
            outside = outside.f_back
        if outside is None or number is None:
            return 0
        code, line = outside.f_code, outside.f_lineno or 1
        text = linecache.getline(code.co_filename, line, outside.f_globals).strip()
        if (typed := _as_typed(text)) == text:
            return number(outside)
        try:
            return lab.add_source(SourceLine(code.co_filename, line, code.co_qualname, typed))
        except TraceError:
            return number(outside)  # which counts what cannot be written down

    return source_of


def _line(lab: AnyLab, plugged: Plugged) -> int:
    """The number of the person's line that is being executed; 0 where it cannot be written down."""
    return _sources(lab, plugged.on())(sys._getframe())


def _persons(lab: AnyLab, plugged: Plugged) -> Function:
    """The person's view of a device; its rows name the person's line, not the ones of this package."""
    theirs = plugged.on()
    mine = Function(theirs.bus, theirs.slot, theirs.name, theirs.maps, theirs.origin, _sources(lab, theirs))
    for bar in theirs.bars.values():
        mine.map_bar(bar.index, bar.address, bar.size)
    return mine


def read(lab: AnyLab, location: str, *, size: int | None = None) -> Value:
    """Read over the bus, as a driver would: read side effects happen, and a row with origin ``user`` is left.

    Warns
    -----
    AccessWarning
        Nothing answered, and the value is all ones; why is in the message.
    """
    _check_no_value("read", location)
    place = find(lab, location, size)
    function = _persons(lab, place.plugged)
    if place.bar is None:
        value = function.config_read(place.offset, place.size)
    elif place.register is not None and place.size == place.register.size:
        value = GuestRegister(function.bars[place.bar], place.register).read()
    else:
        value = function.bars[place.bar].read(place.offset, place.size)
    if place.field is not None:
        value = place.field.extract(value)
    return Value(value, place.describe(value), place.whole)


def write(lab: AnyLab, location: str, value: str | int | None = None, *, size: int | None = None) -> None:
    """Write over the bus, as a driver would; a field by one read and one write of its register.

    Parameters
    ----------
    lab : Lab
        Where.
    location : str
        See :mod:`hdvlab.commands.location`; or with the value, ``CTRL.EN=1``.
    value : str or int, optional
        What; not given where ``location`` has it.
    size : int, optional
        Bytes.

    Warns
    -----
    AccessWarning
        It had no effect; why is in the message.
    """
    name, _, inside = location.partition("=")
    if (value is None) == (inside == ""):
        raise UsageError(f"write takes one value; write %hdv write {name} 1 or %hdv write {name}=1")
    place = find(lab, name, size)
    number = place.parse_value(inside or str(value))
    function = _persons(lab, place.plugged)
    if place.bar is None:
        function.config_write(place.offset, number, place.size)
    elif place.register is not None and place.size == place.register.size:
        register = GuestRegister(function.bars[place.bar], place.register)
        if place.field is None:
            register.write(number)
        else:
            register.modify(**{place.field.name: number})
    else:
        function.bars[place.bar].write(place.offset, number, place.size)
