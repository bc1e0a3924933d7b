"""What the register panel shows: descriptions, stored values, and which bits changed. It only looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hdvlab.analysis.selection import Array
from hdvlab.analysis.touching import rows_of_register
from hdvlab.errors import UsageError
from hdvlab.registers import Access, Field, Register
from hdvlab.widgets.bench import BenchDevice
from hdvlab.widgets.target import OfLab, Targets, numbers_of

#: How long a bit that changed is marked, seconds.
MARKED_FOR = 2.0


class Cell(NamedTuple):
    """One register of one device."""

    device: str
    bar: int
    register: Register


class Seen(NamedTuple):
    """One look: which registers there are, and the value of each, or why it cannot be looked at."""

    signature: object
    targets: list[BenchDevice]
    cells: list[Cell]
    answers: list[int | str]
    running: bool


class RegisterView(OfLab):
    """The registers of a device, or of all that are plugged in, as they stand.

    Parameters
    ----------
    lab : Targets
        Whose.
    device : str, optional
        Its name; all when not given. It may come and go.
    clock : callable
        Seconds, for how long a change is marked.
    """

    def __init__(self, lab: Targets, device: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(lab)
        self.device = device
        self._clock = clock
        self._signature: object = None
        self._targets: list[BenchDevice] = []
        self.running = False
        self.cells: list[Cell] = []
        self.generation = 0
        """Counts up when the registers are others than before."""
        self.answers: list[int | str] = []
        """For each cell its value, or why it cannot be looked at."""
        self._values = self._marked = self._changed = np.zeros(0, dtype=np.uint64)
        self._known = np.zeros(0, dtype=bool)
        self._changed_at = np.zeros(0)

    # ---- looking -----------------------------------------------------------------------------------------------

    def targets(self) -> list[BenchDevice]:
        """The devices that are shown and plugged in."""
        return [one for one in self._lab if self.device in (None, one.name)]

    def look(self) -> bool:
        """Look once; whether there is anything else to show than before."""
        return self.take(self.fetch())

    def fetch(self) -> Seen:
        """Look, on any thread; it may wait for a device host."""
        targets, running = self.targets(), self._lab.running
        signature = [(one.name, one.slot, one.index, len(one.maps), running) for one in targets]
        cells = [
            Cell(one.name, bar, register)
            for one in targets
            for bar, registers in one.maps.items()
            for register in registers
        ]
        answers = self._lab.peek_many([(name, bar, one.offset, one.size) for name, bar, one in cells])
        return Seen(signature, targets, cells, answers, running)

    def take(self, seen: Seen) -> bool:
        """Keep what was seen; whether there is anything else to show than before."""
        is_new = seen.signature != self._signature
        if is_new:
            self._signature, self._targets, self.cells = seen.signature, seen.targets, seen.cells
            self.running = seen.running
            self.generation += 1
        answers = seen.answers
        values = np.array([one if isinstance(one, int) else 0 for one in answers], dtype=np.uint64)
        known = np.array([isinstance(one, int) for one in answers], dtype=bool)
        now = self._clock()
        if is_new:
            self._marked = values.copy()
            self._changed, self._changed_at = np.zeros_like(values), np.full(len(values), now)
            differs = True
        else:
            bits = np.where(known & self._known, values ^ self._values, 0)
            changed = bits != 0
            over = (self._changed != 0) & ~changed & (now - self._changed_at >= MARKED_FOR)
            fresh_known = known & ~self._known
            self._marked = np.where(fresh_known, values, self._marked)
            self._changed = np.where(changed, bits, np.where(over, 0, self._changed)).astype(np.uint64)
            self._changed_at = np.where(changed, now, self._changed_at)
            differs = bool(changed.any() or over.any()) or answers != self.answers
        self._values, self._known, self.answers = values, known, answers
        return differs

    def mark(self) -> None:
        """From now on, ``since_mark`` counts from here."""
        self._marked = self._values.copy()

    @property
    def changed(self) -> Array:
        """For each cell, bits that changed within the last :data:`MARKED_FOR` seconds."""
        return self._changed

    @property
    def since_mark(self) -> Array:
        """For each cell, bits that differ from when the mark was set."""
        bits: Array = np.where(self._known, self._values ^ self._marked, 0).astype(np.uint64)
        return bits

    # ---- telling -----------------------------------------------------------------------------------------------

    def find(self, device: str, bar: int, offset: int) -> tuple[int, Cell]:
        """A cell and its number.

        Raises
        ------
        UsageError
            There is none any more.
        """
        for number, cell in enumerate(self.cells):
            if (cell.device, cell.bar, cell.register.offset) == (device, bar, offset):
                return number, cell
        raise UsageError(f"{device} has no register at bar{bar}+{offset:#x} any more; look again")

    def layout(self) -> dict[str, Any]:
        """The descriptions, for the browser: masks and meanings as text, for JSON has no 64-bit numbers."""
        devices = []
        for one in self._targets:
            bars = [
                {"bar": bar, "registers": [_described(register) for register in registers]}
                for bar, registers in one.maps.items()
            ]
            devices.append({"name": one.name, "address": one.address, "bars": bars})
        return {"generation": self.generation, "devices": devices, "wanted": self.device, "running": self.running}

    def packed(self) -> bytes:
        """Values, bits changed lately and bits changed since the mark: 64 bits each, then a byte: whether known."""
        parts = (self._values, self._changed, self.since_mark)
        return b"".join(part.astype("<u8").tobytes() for part in parts) + self._known.astype(np.uint8).tobytes()

    def reasons(self) -> list[list[Any]]:
        """Numbers of cells that cannot be looked at and why, neighbours with the same reason as one."""
        told: list[list[Any]] = []
        for number, answer in enumerate(self.answers):
            if isinstance(answer, int):
                continue
            if told and told[-1][1] == number - 1 and told[-1][2] == answer:
                told[-1][1] = number
            else:
                told.append([number, number, answer])
        return told

    def rows_of(self, cell: Cell, field: Field | None = None) -> Array:
        """Numbers of the rows that touched the bytes of a register, or of a field of it."""
        register = cell.register
        first = register.offset + (0 if field is None else field.lsb // 8)
        last = register.end - 1 if field is None else register.offset + field.msb // 8
        trace = self._lab.trace
        return rows_of_register(trace.view(), numbers_of(trace, cell.device), cell.bar, first, last)

    def text(self, seen: Seen) -> str:
        """The panel for a terminal; ``+`` where bits differ from those at the mark."""
        if not seen.targets:
            what = f"no device {self.device!r} is plugged in" if self.device else "no device is plugged in"
            return f"{what}; lab.plug(Device) does that"
        is_same = seen.signature == self._signature
        lines, shown = [], None
        for number, (cell, answer) in enumerate(zip(seen.cells, seen.answers, strict=True)):
            if (cell.device, cell.bar) != shown:
                shown = (cell.device, cell.bar)
                lines.append(f"{cell.device} bar{cell.bar}{'' if seen.running else ', machine off'}")
            register = cell.register
            differs = is_same and self._known[number] and answer != int(self._marked[number])
            value = f"{answer:#0{register.width // 4 + 2}x}" if isinstance(answer, int) else "?"
            told = register.describe(answer) if isinstance(answer, int) else answer
            where = f"{'+' if differs else ' '} {register.offset:#06x} {register.name:<20} {register.access.value:<3}"
            lines.append(f"{where} {value:>18}  {told}")
        return "\n".join(line.rstrip() for line in lines) or "no register is described"


def _described(register: Register) -> dict[str, Any]:
    masks = register.masks
    whole = (1 << register.width) - 1
    covered = 0
    for field in register.fields.values():
        covered |= field.mask
    return {
        "name": register.name,
        "offset": register.offset,
        "width": register.width,
        "access": register.access.value,
        "doc": register.doc,
        "reset": f"{register.reset:x}",
        "write": f"{masks.write:x}",
        "w1c": f"{masks.write_one_to_clear:x}",
        "w1s": f"{masks.write_one_to_set:x}",
        "rc": f"{masks.read_to_clear:x}",
        "wo": f"{whole & ~masks.read:x}",
        "reserved": f"{whole & ~covered if register.fields else 0:x}",
        "fields": [
            {
                "name": field.name, "lsb": field.lsb, "width": field.width,
                "access": Access(field.access or register.access).value,
                "meanings": {f"{value:x}": text for value, text in field.meanings.items()}, "doc": field.doc,
            }
            for field in sorted(register.fields.values(), key=lambda field: -field.lsb)
        ],
    }  # fmt: skip
