"""A register map: the registers of one BAR, found by offset or by name."""

from __future__ import annotations

import bisect
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hdvlab.errors import RegisterError
from hdvlab.registers.register import Register


class NoSuchRegisterError(RegisterError, AttributeError):
    """A name that no register of the map has."""


class RegisterMap:
    """The registers of one BAR in the order of their offsets.

    Parameters
    ----------
    registers : iterable of Register
        Named registers; they may not overlap nor reach past ``size``.
    size : int, optional
        Bytes of the BAR; unlimited where it is not given.
    name : str
        For messages.
    """

    def __init__(self, registers: Iterable[Register], size: int | None = None, name: str = "BAR") -> None:
        self.registers: tuple[Register, ...] = tuple(sorted(registers, key=lambda r: r.offset))
        self.size = size
        self.name = name
        for register in self.registers:
            register.check()
        self._starts = [r.offset for r in self.registers]
        self._by_name = {r.name: r for r in self.registers}
        if len(self._by_name) != len(self.registers):
            raise RegisterError(f"{name}: two registers have the same name")
        for one, other in zip(self.registers, self.registers[1:], strict=False):
            if one.end > other.offset:
                raise RegisterError(
                    f"{name}: {one.name} ends at {one.end:#x}, behind the start of {other.name} at {other.offset:#x}"
                )
        if size is not None and self.registers and self.registers[-1].end > size:
            last = self.registers[-1]
            raise RegisterError(f"{name} is {size:#x} bytes long but {last.name} ends at {last.end:#x}")

    def at(self, offset: int) -> Register | None:
        """The register that holds the byte at ``offset``, or None."""
        place = bisect.bisect_right(self._starts, offset) - 1
        if place >= 0 and offset < self.registers[place].end:
            return self.registers[place]
        return None

    def __getitem__(self, name: str) -> Register:
        try:
            return self._by_name[name]
        except KeyError:
            near = difflib.get_close_matches(name.upper(), list(self._by_name), 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(self._by_name) or 'none'}"
            raise NoSuchRegisterError(f"{self.name} has no register {name}; {hint}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers)

    def __len__(self) -> int:
        return len(self.registers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RegisterMap) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.size, self.registers))

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return {"name": self.name, "size": self.size, "registers": [r.to_dict() for r in self.registers]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RegisterMap:
        """The map that :meth:`to_dict` wrote."""
        return cls((Register.from_dict(r) for r in data["registers"]), data["size"], data["name"])

    def _repr_html_(self) -> str:
        from hdvlab.registers.diagram import html_map

        return html_map(self)

    def __repr__(self) -> str:
        return f"<RegisterMap {self.name}: {', '.join(self._by_name)}>"
