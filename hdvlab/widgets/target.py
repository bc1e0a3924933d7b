"""What the register, config and memory panels need of a lab, wherever its machine is."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from hdvlab.errors import StateError
from hdvlab.registers import Field, Register, RegisterMap
from hdvlab.trace.trace import Trace


class TargetBar(Protocol):
    """One BAR's shape."""

    @property
    def bar_size(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def prefetchable(self) -> bool: ...


class Target(Protocol):
    """A plugged-in device."""

    name: str
    slot: int
    index: int

    @property
    def address(self) -> str: ...
    @property
    def maps(self) -> Mapping[int, RegisterMap]: ...
    @property
    def bars(self) -> Mapping[int, TargetBar]: ...
    def poke_field(self, register: Register, bar: int, field: Field | None, value: int) -> int: ...
    def place(self, bar: int) -> int | None: ...


class Targets(Protocol):
    """The lab."""

    @property
    def trace(self) -> Trace: ...
    @property
    def running(self) -> bool: ...
    @property
    def machine(self) -> Any: ...
    def peek_many(self, places: Sequence[tuple[str, int, int, int]]) -> list[int | str]: ...
    def ram_peek(self, address: int, size: int) -> list[tuple[int, bytes | str]]: ...
    def __contains__(self, name: object) -> bool: ...
    def __getitem__(self, name: str) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


class OfLab:
    """Something that looks at a lab and does not keep it alive."""

    def __init__(self, lab: Targets) -> None:
        self._lab_ref = weakref.ref(lab)

    @property
    def _lab(self) -> Targets:
        lab = self._lab_ref()
        if lab is None:
            raise StateError("the lab of this panel is gone; make a panel of the one that there is")
        return lab


def numbers_of(trace: Trace, name: str) -> Collection[int]:
    """All numbers that a device of this name has had in the trace's ``device`` column."""
    return [number for number, info in enumerate(trace.devices) if info.name == name]
