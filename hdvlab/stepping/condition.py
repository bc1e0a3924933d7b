"""A condition on an access: a Python expression, or a function, asked on the thread that makes the access.

In an expression there are ``value``, ``old``, ``offset``, ``size``, ``read``, ``write``, ``device`` and the other
attributes of :class:`~hdvlab.stepping.hit.Hit`; the fields of the register that is accessed, of ``value``; and the
device's registers by their names, looked at without touching, with their fields: ``CTRL.EN``.
"""

from __future__ import annotations

import builtins
import string
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

from hdvlab.errors import UsageError
from hdvlab.registers.nearest import nearest
from hdvlab.stepping.hit import Hit
from hdvlab.stepping.place import Place, Slot

#: Names that mean the access itself; a field or register of such a name is not seen.
ACCESS_NAMES = (
    "value", "old", "offset", "address", "size", "read", "write", "device", "bar", "kind", "row", "origin", "status",
    "before", "after", "stored", "place", "action",
)  # fmt: skip


_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


class Expression:
    """A Python expression over an access, compiled once.

    Raises
    ------
    UsageError
        It is no expression, or has a name that nothing has; the message names the nearest.
    """

    def __init__(self, text: str, known: Iterable[str], what: str = "condition") -> None:
        self.text = text
        try:
            self._code = compile(text.strip(), f"<{what}>", "eval")
        except (SyntaxError, ValueError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise UsageError(
                f"{what} {text!r} is no Python expression: {reason}; write something like value & 1"
            ) from None
        self._names = sorted({name for code in _codes(self._code) for name in _globals_of(code)})
        known = [*known, *ACCESS_NAMES]
        for name in self._names:
            if name not in known and not hasattr(builtins, name):
                raise UsageError(f"{what} {text!r}: nothing is called {name}; {nearest(name, known, ACCESS_NAMES)}")
        self._names = [name for name in self._names if name in known]

    @property
    def needs_value(self) -> bool:
        """Whether it speaks of the value, or of what may be a field of it; a read has one when it is answered."""
        return any(name == "value" or name not in ACCESS_NAMES for name in self._names)

    def __call__(self, hit: Hit) -> Any:
        """Its value."""
        names: dict[str, Any] = {"__builtins__": builtins}
        for name in self._names:
            names[name] = _looked_up(hit, name)
        return eval(self._code, names)


def _looked_up(hit: Hit, name: str) -> Any:
    if name in ACCESS_NAMES:
        return getattr(hit, name)
    if hit.register is not None and name in hit.register.fields:
        return hit.field(name)
    return hit.peeked(name)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _globals_of(code: CodeType) -> Iterator[str]:
    """Names that the code looks up outside itself; not those of attributes."""
    import dis

    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            yield instruction.argval


def known_names(place: Place, slots: Iterable[Slot]) -> set[str]:
    """Fields and registers that an expression at a place may name."""
    names: set[str] = set()
    for slot in slots:
        if place.device not in (None, slot.name):
            continue
        for bar, registers in slot.maps.items():
            for register in registers:
                names.add(register.name)
                inside = register.offset <= place.last and register.end > place.first
                if place.bar in (-1, bar) and inside:
                    names.update(register.fields)
    return names


class Message:
    """A tracepoint's text, as an f-string would have it: ``"CTRL={value:#x}"``.

    Raises
    ------
    UsageError
        A brace is not closed, or what is in braces is no expression.
    """

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self.text = text
        known = list(known)
        self._parts: list[tuple[str, Callable[[Hit], Any] | None, str, str]] = []
        try:
            for literal, expression, form, conversion in string.Formatter().parse(text):
                made = None if expression is None else Expression(expression, known, "log")
                self._parts.append((literal, made, form or "", conversion or ""))
        except ValueError as error:
            raise UsageError(
                f"log {text!r}: {error}; values are in braces: CTRL={{value:#x}}, a brace itself is written twice"
            ) from None

    def __call__(self, hit: Hit) -> str:
        """The text for one access."""
        done = []
        for literal, expression, form, conversion in self._parts:
            done.append(literal)
            if expression is not None:
                value = expression(hit)
                if conversion in _CONVERSIONS:
                    value = _CONVERSIONS[conversion](value)
                done.append(format(value, form))
        return "".join(done)


def make_condition(
    when: str | Callable[[Hit], Any] | None, place: Place, slots: Iterable[Slot]
) -> Callable[[Hit], Any] | None:
    """What asks of an access whether it is meant; None = every one is."""
    if when is None or callable(when):
        return when
    if not isinstance(when, str) or not when.strip():
        raise UsageError(f"a condition is a Python expression such as 'value & 1', or a function, not {when!r}")
    return Expression(when, known_names(place, slots))
