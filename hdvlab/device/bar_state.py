"""A BAR as its device sees it: register names that are the stored values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hdvlab.errors import RegisterError
from hdvlab.registers import NoSuchRegisterError, Register, RegisterMap


def _int(name: str, value: Any) -> int:
    """An int, a bool or a number of another library; nothing is rounded in silence."""
    if not hasattr(value, "__index__"):
        raise RegisterError(f"{name} holds an int, not {value!r}")
    return int(value)


class RegisterValue(int):
    """A register's stored value: an int whose attributes are the fields.

    Reading ``self.bar0.CTRL.EN`` extracts the field; assigning ``self.bar0.CTRL.EN = 1`` stores it.
    """

    _state: BarState
    _register: Register

    def __getattr__(self, name: str) -> int:
        field = self._register.fields.get(name)
        if field is None:
            known = ", ".join(self._register.fields) or "none"
            raise NoSuchRegisterError(f"{self._register.name} has no field {name}; it has {known}")
        return field.extract(self)

    def __setattr__(self, name: str, value: int) -> None:
        field = self._register.fields.get(name)
        if field is None:
            known = ", ".join(self._register.fields) or "none"
            raise NoSuchRegisterError(f"{self._register.name} has no field {name}; it has {known}")
        self._state._store(self._register, field.insert(self._state._load(self._register), _int(name, value)))

    def _repr_html_(self) -> str:
        from hdvlab.registers.diagram import html_diagram

        return html_diagram(self._register, int(self))

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return (int, (int(self),))


class BarState:
    """The stored values of one BAR's registers, for the device's own use: no rows, no handlers, no access modes.

    ``state.CTRL`` reads, ``state.CTRL = 3`` stores; an int that does not fit the register is refused.
    """

    _map: RegisterMap
    _index: dict[str, int]
    _values: Any

    def __init__(self, registers: RegisterMap, index: dict[str, int], values: Any, owner: Any) -> None:
        self._describe(registers, index, values, owner)

    def _describe(self, registers: RegisterMap, index: dict[str, int], values: Any, owner: Any) -> None:
        """What it stands for from now on."""
        object.__setattr__(self, "_map", registers)
        object.__setattr__(self, "_index", index)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_owner", owner)  # the register file: the values are its memory

    def _load(self, register: Register) -> int:
        return int(self._values[self._index[register.name]])

    def _store(self, register: Register, value: int) -> None:
        value = _int(register.name, value)
        if not 0 <= value < 1 << register.width:
            raise RegisterError(f"{register.name} is {register.width} bits wide; {value:#x} does not fit")
        self._values[self._index[register.name]] = value

    def __getattr__(self, name: str) -> RegisterValue:
        register = self._map[name]
        value = RegisterValue(self._load(register))
        value.__dict__["_state"] = self
        value.__dict__["_register"] = register
        return value

    def __setattr__(self, name: str, value: int) -> None:
        self._store(self._map[name], value)

    def __iter__(self) -> Iterator[tuple[Register, int]]:
        return ((register, self._load(register)) for register in self._map)

    def __dir__(self) -> list[str]:
        return [register.name for register in self._map]

    def __repr__(self) -> str:
        return f"<{self._map.name}: {', '.join(f'{r.name}={v:#x}' for r, v in self)}>"
