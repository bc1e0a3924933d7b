"""A BAR as an author writes it: a class whose attributes are registers.

Ref: PCI Local Bus 3.0, section 6.2.5.1 (base address registers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from hdvlab.errors import RegisterError
from hdvlab.registers.map import RegisterMap
from hdvlab.registers.register import Register, mark_handler

_F = TypeVar("_F", bound=Callable[..., Any])

#: Attributes of a BAR here, in a device and on the guest's side: a register of that name would be hidden by them.
_RESERVED = frozenset({"on_read", "on_write", "map", "bar_size", "bits", "prefetchable", "read", "write", "address",
                       "size", "function", "index", "registers"})  # fmt: skip
#: The same for fields: a register's value is an int there.
_RESERVED_FIELDS = frozenset({"read", "write", "modify", "register", *(name for name in dir(int) if name[0] != "_")})


class BarType(type):
    """Makes ``bar0.NAME`` for a missing name say which registers there are."""

    map: RegisterMap

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or "map" not in cls.__dict__:
            raise AttributeError(name)
        return cls.map[name]


class Bar(metaclass=BarType):
    """Base class of a BAR description.

    ::

        class bar0(Bar, size=4096):
            CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
            COUNT = Register(0x04, access="ro")

    Parameters
    ----------
    size : int
        Bytes: a power of two, 16 or more. 4096 or more keeps the BAR on pages of its own.
    bits : {32, 64}
        Width of the address; a 64-bit BAR takes two of the six.
    prefetchable : bool
        Reads have no side effects.
    """

    map: ClassVar[RegisterMap]
    bar_size: ClassVar[int]
    bits: ClassVar[int]
    prefetchable: ClassVar[bool]

    def __init_subclass__(
        cls, *, size: int | None = None, bits: int | None = None, prefetchable: bool | None = None
    ) -> None:
        def setting(given: Any, name: str, default: Any) -> Any:
            return given if given is not None else getattr(super(cls, cls), name, default)

        name = cls.__name__
        for key, value in vars(cls).items():
            if isinstance(value, Register) and (key in _RESERVED or key.startswith("_")):
                raise RegisterError(f"{name}: {key!r} cannot be a register's name; hdvlab uses it")
        cls.bar_size = setting(size, "bar_size", 4096)
        cls.bits = setting(bits, "bits", 32)
        cls.prefetchable = setting(prefetchable, "prefetchable", False)
        if not isinstance(cls.bar_size, int) or cls.bar_size < 16 or cls.bar_size & (cls.bar_size - 1):
            raise RegisterError(f"{name}: a BAR's size is a power of two, 16 bytes or more, not {cls.bar_size!r}")
        if cls.bits not in (32, 64):
            raise RegisterError(f"{name}: a BAR has 32 or 64 bits, not {cls.bits!r}")
        if cls.bar_size > 1 << 63:
            raise RegisterError(f"{name}: {cls.bar_size:#x} bytes do not fit a BAR; {1 << 63:#x} is the most")
        if cls.bits == 32 and cls.bar_size > 1 << 31:
            raise RegisterError(f"{name}: {cls.bar_size:#x} bytes do not fit a 32-bit BAR; say bits=64")
        registers: dict[str, Register] = {}
        for base in reversed(cls.__mro__):
            for key, value in vars(base).items():
                if isinstance(value, Register):
                    if taken := _RESERVED_FIELDS.intersection(value.fields):
                        raise RegisterError(
                            f"{name}.{key}: {min(taken)!r} cannot be a field's name; hdvlab uses it for something else"
                        )
                    if value.name != key:
                        raise RegisterError(f"{name}.{key} is the register {value.name} again; give it one of its own")
                    registers[key] = value
        cls.map = RegisterMap(registers.values(), cls.bar_size, name)

    @classmethod
    def on_read(cls, function: _F) -> _F:
        """Decorator: ``function(self, offset, size)`` answers reads that no register claims. Returns an int."""
        return mark_handler(function, cls, "read")

    @classmethod
    def on_write(cls, function: _F) -> _F:
        """Decorator: ``function(self, offset, size, value)`` receives writes that no register claims."""
        return mark_handler(function, cls, "write")
