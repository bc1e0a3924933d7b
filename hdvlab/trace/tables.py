"""What the numbers in a trace's rows refer to: devices, source lines, and the lines a reader could not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hdvlab.registers import RegisterMap


@dataclass(frozen=True)
class BarInfo:
    """One BAR of a traced device.

    ``size`` is in bytes; ``address`` is the guest-physical base where it is known; ``registers`` is the description
    that names its offsets, if there is one.
    """

    size: int
    address: int | None = None
    registers: RegisterMap | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return {
            "size": self.size,
            "address": self.address,
            "registers": self.registers.to_dict() if self.registers is not None else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BarInfo:
        """The BAR that :meth:`to_dict` wrote."""
        registers = data["registers"]
        return cls(data["size"], data["address"], RegisterMap.from_dict(registers) if registers is not None else None)


@dataclass(frozen=True)
class DeviceInfo:
    """One traced device: the entry that a row's ``device`` number points at."""

    name: str
    vendor_id: int = 0
    device_id: int = 0
    address: str = ""
    """Bus address as ``lspci`` writes it: ``00:03.0``."""
    driver: str = ""
    """Guest driver, where the source says so."""
    bars: Mapping[int, BarInfo] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return {
            "name": self.name,
            "vendor_id": self.vendor_id,
            "device_id": self.device_id,
            "address": self.address,
            "driver": self.driver,
            "bars": {str(index): bar.to_dict() for index, bar in self.bars.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DeviceInfo:
        """The device that :meth:`to_dict` wrote."""
        rest = {key: value for key, value in data.items() if key != "bars"}
        return cls(bars={int(index): BarInfo.from_dict(bar) for index, bar in data["bars"].items()}, **rest)


@dataclass(frozen=True)
class SourceLine:
    """One line of a guest program: the entry that a row's ``pc`` number points at."""

    file: str
    line: int
    function: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.function}:{self.line} {self.text}".rstrip()


@dataclass(frozen=True)
class BadLine:
    """A line of an imported trace that could not be read: its number (from 1), its text and what is wrong with it."""

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        return f"line {self.number}: {self.reason}: {shown!r}"


@dataclass
class Tables:
    """Everything rows refer to by number."""

    devices: list[DeviceInfo] = field(default_factory=list)
    sources: dict[int, SourceLine] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the recorder or the importer says of the whole trace: clock, host, format."""
