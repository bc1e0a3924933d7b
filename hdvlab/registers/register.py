"""A register: description as data, the one object that dispatches, decodes, documents and draws.

Ref: SystemRDL 2.0, section 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from hdvlab.errors import RegisterError
from hdvlab.registers.access import Access, BitMasks
from hdvlab.registers.field import Field

_F = TypeVar("_F", bound=Callable[..., Any])

#: Attribute of a function that says which register's reads or writes it handles.
HANDLES = "__hdv_handles__"


def mark_handler(function: _F, target: object, kind: str) -> _F:
    """Note on ``function`` that it handles ``kind`` ("read" or "write") of ``target`` (a Register or a Bar)."""
    if not callable(function):
        raise RegisterError(f"on_{kind} decorates a function, not {function!r}")
    setattr(function, HANDLES, [*getattr(function, HANDLES, []), (target, kind)])
    return function


def _listed(sizes: object, where: str) -> list[int]:
    if not isinstance(sizes, Iterable):
        raise RegisterError(f"{where}: access sizes are listed, [4] or [4, 8], not {sizes!r}")
    listed = list(sizes)
    if not all(isinstance(size, int) for size in listed):
        raise RegisterError(f"{where}: access sizes are numbers of bytes, not {listed!r}")
    return listed


class Register:
    """One register of a BAR. Its behaviour, if it has any, is given with :meth:`on_write` and :meth:`on_read`.

    Parameters
    ----------
    offset : int
        Bytes from the start of the BAR; a multiple of the register's size.
    width : int
        Bits: 8, 16, 32 or 64.
    access : str
        ``"rw"``, ``"ro"``, ``"wo"``, ``"w1c"`` (write 1 to clear), ``"w1s"`` (write 1 to set) or ``"rc"`` (read to
        clear). Bits that no field names are reserved when fields are given: read-only, at their reset value.
    reset : int
        Value after reset.
    fields : mapping of str to int, tuple or Field
        A bit number, ``(lsb, width)``, or a :class:`Field`.
    access_sizes : iterable of int, optional
        Bytes an access may have, of 1, 2, 4 and 8; any by default. Others read all ones and write nothing.
    narrow : {"merge", "low"}
        What an access narrower than the register does. ``"merge"``: it touches the bytes it addresses. ``"low"``: it
        must start at the register's own offset, reads the low bytes, and a write replaces the whole, zero-extended.
    doc : str
        One line for people.

    Raises
    ------
    RegisterError
        The description contradicts itself; the message states both numbers.
    """

    def __init__(
        self,
        offset: int,
        width: int = 32,
        *,
        access: Access | str = Access.RW,
        reset: int = 0,
        fields: Mapping[str, int | tuple[int, int] | Field] | None = None,
        access_sizes: Iterable[int] | None = None,
        narrow: Literal["merge", "low"] = "merge",
        doc: str = "",
        name: str = "",
    ) -> None:
        where = name or f"the register at {offset:#x}" if isinstance(offset, int) else "Register"
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise RegisterError(f"{where}: the offset is a number of bytes from the BAR's start, not {offset!r}")
        if width not in (8, 16, 32, 64):
            raise RegisterError(f"{where} is {width} bits wide; a register has 8, 16, 32 or 64")
        if narrow not in ("merge", "low"):
            raise RegisterError(f"{where}: narrow is 'merge' or 'low', not {narrow!r}")
        sizes = frozenset((1, 2, 4, 8) if access_sizes is None else _listed(access_sizes, where))
        if not sizes or sizes - {1, 2, 4, 8}:
            raise RegisterError(f"{where}: access sizes are 1, 2, 4 and 8 bytes, not {sorted(sizes)}")
        if fields is not None and not isinstance(fields, Mapping):
            raise RegisterError(f"{where}: fields are given as {{'EN': 0, 'RATE': (1, 4)}}, not {fields!r}")
        self.offset = offset
        self.width = width
        self.access = Access.parse(access, where)
        self.reset = reset
        self.access_sizes = sizes
        self.narrow = narrow
        self.doc = doc
        self.name = name
        self.fields: dict[str, Field] = {key: Field.parse(key, given, where) for key, given in (fields or {}).items()}

    def check(self) -> None:
        """Raise :class:`~hdvlab.errors.RegisterError` where the description contradicts itself.

        Called when a map or a BAR is made of the register, because only then it has its name.
        """
        where = self.name or f"the register at {self.offset:#x}"
        if self.offset % self.size:
            raise RegisterError(
                f"{where} is {self.size} bytes wide; its offset {self.offset:#x} is not a multiple of it"
            )
        if not isinstance(self.reset, int) or isinstance(self.reset, bool) or not 0 <= self.reset < 1 << self.width:
            raise RegisterError(f"{where} is {self.width} bits wide; its reset value {self.reset!r} does not fit")
        taken: dict[int, str] = {}
        top = max((f.msb for f in self.fields.values()), default=-1)
        if top >= self.width:
            raise RegisterError(f"{where} is {self.width} bits wide but its fields cover {top + 1}")
        for field in self.fields.values():
            for bit in range(field.lsb, field.msb + 1):
                if bit in taken:
                    raise RegisterError(f"{where}: bit {bit} is in both {taken[bit]} and {field.name}")
                taken[bit] = field.name

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.width // 8

    @property
    def end(self) -> int:
        """First byte behind the register."""
        return self.offset + self.size

    @property
    def masks(self) -> BitMasks:
        """Per-bit behaviour, as C serves it."""
        masks = BitMasks()
        covered = 0
        for field in self.fields.values():
            masks = masks.with_bits(field.mask, Access(field.access or self.access))
            covered |= field.mask
        rest = ((1 << self.width) - 1) & ~covered
        return masks.with_bits(rest, Access.RO if self.fields else self.access)

    def on_write(self, function: _F) -> _F:
        """Decorator: call ``function(self, value)`` after a guest write was stored.

        ``value`` is the register-wide value as written (bytes a narrower write does not touch keep the stored value,
        write-1 bits in them are 0). A third parameter, if there is one, receives the value stored before the write.
        """
        return mark_handler(function, self, "write")

    def on_read(self, function: _F) -> _F:
        """Decorator: call ``function(self)`` or ``function(self, value)``; what it returns is the guest's answer.

        ``value`` is the stored value. The answer is not stored.
        """
        return mark_handler(function, self, "read")

    def decode(self, value: int) -> dict[str, int]:
        """Field name to field value."""
        return {name: field.extract(value) for name, field in self.fields.items()}

    def describe(self, value: int) -> str:
        """The fields of a value for people: ``EN=1 RATE=3``; empty where there are no fields."""
        return " ".join(field.describe(field.extract(value)) for field in self.fields.values())

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        fields = {
            f.name: {
                "lsb": f.lsb,
                "width": f.width,
                "access": f.access and Access(f.access).value,
                "meanings": {str(key): text for key, text in f.meanings.items()},
                "doc": f.doc,
            }
            for f in self.fields.values()
        }
        return {
            "name": self.name,
            "offset": self.offset,
            "width": self.width,
            "access": self.access.value,
            "reset": self.reset,
            "fields": fields,
            "access_sizes": sorted(self.access_sizes),
            "narrow": self.narrow,
            "doc": self.doc,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Register:
        """The register that :meth:`to_dict` wrote."""
        fields: dict[str, int | tuple[int, int] | Field] = {
            name: Field(
                f["lsb"], f["width"], f["access"], {int(key): text for key, text in f["meanings"].items()}, f["doc"]
            )
            for name, f in data["fields"].items()
        }
        rest = {key: value for key, value in data.items() if key not in ("fields", "offset", "width")}
        return cls(data["offset"], data["width"], fields=fields, **rest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Register) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.offset, self.width))

    def diagram(self, value: int | None = None) -> str:
        """The register as datasheets draw it, in ASCII; with its fields' values where ``value`` is given."""
        from hdvlab.registers.diagram import text_diagram

        return text_diagram(self, value)

    def _repr_html_(self) -> str:
        from hdvlab.registers.diagram import html_diagram

        return html_diagram(self)

    def __repr__(self) -> str:
        fields = f" {{{', '.join(self.fields)}}}" if self.fields else ""
        return f"<Register {self.name} {self.offset:#x} {self.width} bits {self.access.value}{fields}>"
