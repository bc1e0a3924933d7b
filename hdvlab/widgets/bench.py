"""What panels need of a lab: said here, because labs lie above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hdvlab.registers import Field, Register, RegisterMap
from hdvlab.trace.source import HasTrace as HasTrace

if TYPE_CHECKING:
    from hdvlab.device.pluggable import BarLayout


class BenchDevice(Protocol):
    """A device in a slot; :class:`hdvlab.lab.Plugged`, see there."""

    name: str
    slot: int
    index: int

    @property
    def address(self) -> str: ...
    @property
    def maps(self) -> dict[int, RegisterMap]: ...
    @property
    def bars(self) -> Mapping[int, BarLayout]: ...
    def peek(self, bar: int, offset: int, size: int) -> int: ...
    def poke(self, bar: int, offset: int, size: int, value: int) -> int: ...
    def poke_field(self, register: Register, bar: int, field: Field | None, value: int) -> int: ...
    def value_of(self, bar: int, register: Register) -> int | None: ...
    def place(self, bar: int) -> int | None: ...


class BenchMachine(Protocol):
    """A machine that is on."""

    @property
    def ram_size(self) -> int: ...
    def config_peek(self, slot: int) -> bytes: ...


class Bench(HasTrace, Protocol):
    """A lab, here or in a device host."""

    @property
    def running(self) -> bool: ...
    @property
    def machine(self) -> BenchMachine: ...
    def __getitem__(self, name: str) -> BenchDevice: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
