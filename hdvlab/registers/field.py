"""A field: a named run of bits in a register.

Ref: SystemRDL 2.0, section 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hdvlab.errors import RegisterError
from hdvlab.registers.access import Access


@dataclass(frozen=True)
class Field:
    """A run of bits.

    Parameters
    ----------
    lsb : int
        Number of the lowest bit.
    width : int
        Bits, 1 or more.
    access : Access or str, optional
        Software access of these bits; the register's own where it is not given.
    meanings : mapping of int to str, optional
        What values stand for, for example ``{0: "idle", 1: "busy"}``.
    doc : str
        One line for people.
    """

    lsb: int
    width: int = 1
    access: Access | str | None = None
    meanings: Mapping[int, str] = field(default_factory=dict)
    doc: str = ""
    name: str = ""

    @property
    def mask(self) -> int:
        """The field's bits at their place in the register."""
        return ((1 << self.width) - 1) << self.lsb

    @property
    def msb(self) -> int:
        """Number of the highest bit."""
        return self.lsb + self.width - 1

    def extract(self, value: int) -> int:
        """The field's value in a register's value."""
        return (value >> self.lsb) & ((1 << self.width) - 1)

    def insert(self, value: int, part: int) -> int:
        """A register's value with this field set to ``part``.

        Raises
        ------
        RegisterError
            ``part`` does not fit ``width`` bits.
        """
        if not 0 <= part < 1 << self.width:
            raise RegisterError(f"{self.name or 'field'} is {self.width} bits wide; {part:#x} does not fit")
        return (value & ~self.mask) | (part << self.lsb)

    def describe(self, part: int) -> str:
        """``NAME=3`` or, where the value has a meaning, ``NAME=busy``."""
        return f"{self.name}={self.meanings.get(part, part if part < 10 else hex(part))}"

    @classmethod
    def parse(cls, name: str, given: int | tuple[int, int] | Field, owner: str) -> Field:
        """Read a field as an author writes it: a bit number, ``(lsb, width)``, or a :class:`Field`."""
        if isinstance(given, bool) or not isinstance(given, int | tuple | Field):
            raise RegisterError(f"{owner}.{name}: write a bit number, (lsb, width) or Field(...), not {given!r}")
        if isinstance(given, int):
            given = cls(given)
        elif isinstance(given, tuple):
            if len(given) != 2 or not all(isinstance(part, int) for part in given):
                raise RegisterError(f"{owner}.{name}: a tuple is (lsb, width), not {given!r}")
            given = cls(*given)
        if not name.isidentifier() or name.startswith("_"):
            raise RegisterError(f"{owner}: {name!r} cannot be a field's name; use a Python identifier")
        if not isinstance(given.lsb, int) or not isinstance(given.width, int):
            raise RegisterError(f"{owner}.{name}: lsb {given.lsb!r} and width {given.width!r} are numbers of bits")
        if given.lsb < 0 or given.width < 1:
            raise RegisterError(f"{owner}.{name}: lsb {given.lsb} and width {given.width} describe no bits")
        access = None if given.access is None else Access.parse(given.access, f"{owner}.{name}")
        return cls(given.lsb, given.width, access, dict(given.meanings), given.doc, name)
