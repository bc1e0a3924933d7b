"""Numbers as people type them, and integers that show themselves in hexadecimal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.registers import Register


def parse_number(text: str) -> int:
    """``0x1f``, ``0b101``, ``0o17`` or decimal, with ``_`` wherever it helps.

    Raises
    ------
    UsageError
        It is no number, or a negative one.
    """
    try:
        number = int(text, 0)
    except ValueError:
        stripped = text.lstrip("0_")
        hint = f"; write {stripped} or 0x{stripped}" if stripped != text and stripped.isdigit() else ""
        raise UsageError(f"{text!r} is no number{hint or '; write 31, 0x1f or 0b1_1111'}") from None
    if number < 0:
        raise UsageError(f"{text} is negative; write the bits, for example {number & 0xFFFFFFFF:#x}")
    return number


def parse_count(text: str) -> int:
    """A number of things, at least one.

    Raises
    ------
    UsageError
        It is no whole number, or less than 1.
    """
    if text.lstrip("-").isdigit() and int(text) < 1:
        raise UsageError(f"{text} is too few; write a whole number from 1 on, such as 20")
    try:
        float(text)
    except ValueError:
        return parse_number(text)
    if not text.isdigit():
        raise UsageError(f"{text} is no whole number; write one from 1 on, such as 20")
    return parse_number(text)


def parse_slot(text: str) -> int:
    """The number of a slot; which of them there are is the machine's matter.

    Raises
    ------
    UsageError
        It is no number, or a negative one.
    """
    if text.startswith("-"):
        raise UsageError(f"slot {text}: slots are 0 to 31")
    return parse_number(text)


_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_size(text: str) -> int:
    """A number of bytes: ``65536``, ``64K``, ``64M``, ``1GiB``."""
    word = text.lower().removesuffix("b").removesuffix("i")
    unit = word[-1:] if word[-1:] in _UNITS and not word.startswith("0x") else ""
    return parse_number(word.removesuffix(unit)) << _UNITS[unit]


class Value(int):
    """A number read from a device: an int that shows itself in hexadecimal, with the fields it is made of.

    ``fields`` is text such as ``EN=1 RATE=3``; empty where nothing describes it.
    """

    fields: str
    register: Register | None

    def __new__(cls, value: int, fields: str = "", register: Register | None = None) -> Value:
        self = super().__new__(cls, value)
        self.fields = fields
        self.register = register
        return self

    def _repr_html_(self) -> str | None:
        """The register as datasheets draw it; None where it is no whole register with fields."""
        if self.register is None or not self.register.fields:
            return None
        from hdvlab.registers.diagram import html_diagram

        return html_diagram(self.register, int(self))

    def __str__(self) -> str:
        return hex(self)

    def __repr__(self) -> str:
        return f"{self:#x} ({self.fields})" if self.fields else hex(self)

    def __reduce__(self) -> tuple[type[Value], tuple[int, str]]:
        return (Value, (int(self), self.fields))
