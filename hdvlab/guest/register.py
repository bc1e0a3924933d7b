"""Registers, fields and BARs as a driver sees them: every use is an access."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from hdvlab.errors import AccessError
from hdvlab.registers import Field, NoSuchRegisterError, Register, RegisterMap

if TYPE_CHECKING:
    from hdvlab.guest.function import Function


class GuestRegister:
    """A register of a BAR, on the guest's side.

    ``read()`` and ``write(value)`` are accesses of the register's width; ``modify(EN=1)`` is one of each; a field is an
    attribute: ``bar0.CTRL.EN.write(1)``.
    """

    __slots__ = ("_bar", "_offset", "_size", "register")

    def __init__(self, bar: GuestBar, register: Register) -> None:
        self._bar = bar
        self._offset = register.offset
        self._size = register.size
        self.register = register

    # These two are the hot path of every driver: no more calls than needed.

    def read(self) -> int:
        """The value, all ones when the device did not answer."""
        return self._read(sys._getframe(1))

    def write(self, value: int) -> None:
        """Write ``value``, which must fit the register."""
        self._write(value, sys._getframe(1))

    def modify(self, **fields: int) -> int:
        """Read, replace the named fields, write; returns the value written."""
        return self._modify(fields, sys._getframe(1))

    def _read(self, frame: FrameType) -> int:
        bar = self._bar
        function = bar.function
        source_of = function.source_of
        pc = 0 if source_of is None else source_of(frame)
        value, hresult = function.bus.read(bar.address + self._offset, self._size, function.origin, pc)
        if hresult < 0:
            function.failed(hresult, self, "read")
        return value

    def _write(self, value: int, frame: FrameType) -> None:
        if not 0 <= value < 1 << self.register.width:
            raise AccessError(f"{self.register.name} is {self.register.width} bits wide; {value:#x} does not fit")
        bar = self._bar
        function = bar.function
        source_of = function.source_of
        pc = 0 if source_of is None else source_of(frame)
        hresult = function.bus.write(bar.address + self._offset, self._size, value, function.origin, pc)
        if hresult < 0:
            function.failed(hresult, self, "write")

    def _modify(self, fields: dict[str, int], frame: FrameType) -> int:
        value = self._read(frame)
        for name, part in fields.items():
            value = self._field(name).insert(value, part)
        self._write(value, frame)
        return value

    def _field(self, name: str) -> Field:
        try:
            return self.register.fields[name]
        except KeyError:
            known = ", ".join(self.register.fields) or "none"
            raise NoSuchRegisterError(f"{self.register.name} has no field {name}; it has {known}") from None

    def __getattr__(self, name: str) -> GuestField:
        if name.startswith("_"):
            raise AttributeError(name)
        return GuestField(self, self._field(name))

    def __dir__(self) -> list[str]:
        return ["read", "write", "modify", *self.register.fields]

    def __str__(self) -> str:
        return f"{self._bar.function.name} {self.register.name}"

    def _repr_html_(self) -> str:
        return self.register._repr_html_()  # without a value: reading would be an access

    def __repr__(self) -> str:
        return f"<{self._bar.function.name} bar{self._bar.index}+{self._offset:#x} {self.register.name}>"


class GuestField:
    """A field of a register, on the guest's side: reads the register, writes it by read-modify-write."""

    __slots__ = ("_register", "field")

    def __init__(self, register: GuestRegister, field: Field) -> None:
        self._register = register
        self.field = field

    def read(self) -> int:
        """The field's value, from one read of the register."""
        return self.field.extract(self._register._read(sys._getframe(1)))

    def write(self, value: int) -> None:
        """One read and one write of the register."""
        self._register._modify({self.field.name: value}, sys._getframe(1))

    def __repr__(self) -> str:
        return f"{self._register!r}.{self.field.name}"


class GuestBar:
    """A BAR on the guest's side: ``bar.CTRL`` is a register; ``bar.read(offset, size)`` is any access inside it."""

    def __init__(self, function: Function, index: int, address: int, size: int, registers: RegisterMap) -> None:
        self.function = function
        self.index = index
        self.address = address
        """Guest-physical base, as enumeration placed it."""
        self.size = size
        self.registers = registers
        self._made: dict[str, GuestRegister] = {}

    def _check(self, offset: int, size: int) -> None:
        if size not in (1, 2, 4, 8):
            raise AccessError(f"an access has 1, 2, 4 or 8 bytes, not {size}")
        if not 0 <= offset <= self.size - size:
            raise AccessError(f"bar{self.index} is {self.size:#x} bytes long; {offset:#x}/{size} is outside it")

    def read(self, offset: int, size: int = 4) -> int:
        """Read 1, 2, 4 or 8 bytes at ``offset``."""
        self._check(offset, size)
        function = self.function
        pc = function.pc_of(sys._getframe(1))
        value, hresult = function.bus.read(self.address + offset, size, function.origin, pc)
        if hresult < 0:
            function.failed(hresult, f"{function.name} bar{self.index}+{offset:#x}", "read")
        return value

    def write(self, offset: int, value: int, size: int = 4) -> None:
        """Write 1, 2, 4 or 8 bytes at ``offset``."""
        self._check(offset, size)
        if not 0 <= value < 1 << 8 * size:
            raise AccessError(f"{value:#x} does not fit {size} bytes")
        function = self.function
        pc = function.pc_of(sys._getframe(1))
        hresult = function.bus.write(self.address + offset, size, value, function.origin, pc)
        if hresult < 0:
            function.failed(hresult, f"{function.name} bar{self.index}+{offset:#x}", "write")

    def __getattr__(self, name: str) -> GuestRegister:
        if name.startswith("_"):
            raise AttributeError(name)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = GuestRegister(self, self.registers[name])
        return made

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__.get("registers", ()):
            raise AccessError(f"an access is written {name}.write({value!r}); this would only name something {name}")
        object.__setattr__(self, name, value)

    def __iter__(self) -> Iterator[GuestRegister]:
        return (getattr(self, register.name) for register in self.registers)

    def __dir__(self) -> list[str]:
        return ["read", "write", "address", "size", *(register.name for register in self.registers)]

    def __repr__(self) -> str:
        return f"<{self.function.name} bar{self.index} at {self.address:#x}, {self.size:#x} bytes>"
