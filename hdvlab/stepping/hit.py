"""One access that a breakpoint matched, with names for its numbers. Looking at it touches nothing."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from hdvlab.errors import HdvError
from hdvlab.registers import Register
from hdvlab.stepping.place import READS, WRITES, Slot
from hdvlab.trace.schema import Kind, Origin

BEFORE, AFTER = 0, 1


@dataclass(frozen=True)
class Access:
    """What the library says of a held access: ``HDVLAB_STOP_STATE``."""

    ticket: int
    breakpoint: int
    phase: int
    row: int
    held_ns: int
    address: int
    value: int
    pc: int
    size: int
    bar: int
    device: int
    kind: Kind
    origin: Origin
    status: int
    is_inside: bool

    @classmethod
    def of(cls, state: Any) -> Access:
        """From the C structure."""
        return cls(
            int(state.ticket), int(state.breakpoint), int(state.phase), int(state.row), int(state.held_ns),
            int(state.address), int(state.value), int(state.pc), int(state.size), int(state.bar), int(state.device),
            Kind(int(state.kind)), Origin(int(state.origin)), int(state.status), bool(state.is_inside),
        )  # fmt: skip


class Reading(int):
    """A register's value with its fields as attributes: ``CTRL.EN``."""

    register: Register

    def __new__(cls, value: int, register: Register) -> Reading:
        self = super().__new__(cls, value)
        self.register = register
        return self

    def __getattr__(self, name: str) -> int:
        field = self.register.fields.get(name)
        if field is None:
            raise AttributeError(f"{self.register.name} has no field {name}; it has {', '.join(self.register.fields)}")
        return field.extract(self)


class Hit:
    """An access as conditions and messages see it.

    Attributes
    ----------
    value : int
        What is written or was answered; of a read that is not answered yet, what the register stores.
    offset, size : int
        Bytes: from the BAR's start, or the address; and how many.
    read, write : bool
        Which of them it is; of DMA as the device sees it.
    old : int
        What the place stores before a write; behind one, what it had when this breakpoint was last met.
    device : str
        Name; empty where none is known.
    """

    def __init__(self, access: Access, slot: Slot | None, old: int | None = None) -> None:
        self.access = access
        self.slot = slot
        self.device = "" if slot is None else slot.name
        self.kind = access.kind.name
        self.offset = self.address = access.address
        self.size, self.bar, self.row = access.size, access.bar, access.row
        self.read, self.write = access.kind in READS, access.kind in WRITES
        self.before, self.after = access.phase == BEFORE, access.phase == AFTER
        self.origin, self.status = access.origin.name, access.status
        self.register = self._register()
        self._old = old

    def _register(self) -> Register | None:
        if self.slot is None or self.bar < 0:
            return None
        registers = self.slot.maps.get(self.bar)
        return None if registers is None else registers.at(self.offset)

    @property
    def is_whole(self) -> bool:
        """Whether it is an access to a register as a whole, or from its start on."""
        return self.register is not None and self.register.offset == self.offset

    @property
    def value(self) -> int:
        """See the class."""
        if self.read and self.before and (stored := self.stored) is not None:
            return stored
        return self.access.value

    @property
    def stored(self) -> int | None:
        """What the device stores at the place, looked at without touching; None where it cannot be looked at."""
        if self.slot is None or self.bar < 0 or self.size not in (1, 2, 4, 8):
            return None
        with contextlib.suppress(HdvError, OSError, ValueError, RuntimeError):
            return self.slot.peek(self.bar, self.offset, self.size)
        return None

    @property
    def old(self) -> int:
        """See the class."""
        if self.before and (stored := self.stored) is not None:
            return stored
        if self._old is not None:
            return self._old
        return self.register.reset if self.register is not None else 0

    def field(self, name: str) -> int:
        """A field of the value.

        Raises
        ------
        UsageError
            The access is to no register that has it.
        """
        from hdvlab.errors import UsageError

        register = self.register
        if register is None or name not in register.fields:
            raise UsageError(f"the access is to {self.place}, which has no field {name}")
        return register.fields[name].extract(self.value << 8 * (self.offset - register.offset))

    def peeked(self, name: str) -> Reading:
        """A register of the same device by its name, looked at without touching.

        Raises
        ------
        UsageError
            There is none of that name.
        HdvError
            The device cannot be looked at.
        """
        from hdvlab.errors import UsageError

        for bar, registers in ({} if self.slot is None else self.slot.maps).items():
            if name in registers:
                assert self.slot is not None
                register = registers[name]
                return Reading(self.slot.peek(bar, register.offset, register.size), register)
        raise UsageError(f"{self.device or 'whoever made the access'} has no register {name}")

    @property
    def place(self) -> str:
        """Where it is, for people: ``blink.CTRL``, ``blink.bar0+0x10``, ``guest memory 0x1000``."""
        before = f"{self.device}." if self.device else ""
        kind = self.access.kind
        if self.register is not None:
            inside = self.offset - self.register.offset
            return f"{before}{self.register.name}{f'+{inside}' if inside else ''}"
        if self.bar >= 0:
            return f"{before}bar{self.bar}+{self.offset:#x}"
        if kind in (Kind.config_read, Kind.config_write):
            return f"{before}config+{self.offset:#x}"
        if kind in (Kind.dma_read, Kind.dma_write):
            return f"{before.rstrip('.') + ': ' if before else ''}guest memory {self.offset:#x}"
        return self.device

    def describe(self, value: int) -> str:
        """The fields of a value at this place; "" where there are none, or the access is only to a part."""
        register = self.register
        if register is None or not register.fields or not self.is_whole or self.size < register.size:
            return ""
        return register.describe(value & ((1 << register.width) - 1))

    @property
    def action(self) -> str:
        """What happens, in few words: ``blink.CTRL write 0x3``."""
        kind = self.access.kind
        verb = "read" if self.read else "write" if self.write else kind.name.replace("_", " ")
        if kind is Kind.interrupt:
            return f"{self.device} interrupt, data {self.access.value:#x}" if self.size else f"{self.device} INTx"
        if kind is Kind.doorbell:
            verb = "doorbell"
        if kind in (Kind.dma_read, Kind.dma_write):
            return f"{self.device} DMA {verb} {self.offset:#x}, {self.size:,} bytes"
        if not (self.read or self.write):
            return f"{self.device} {verb}".strip()
        shown = f" {self.access.value:#x}" if self.write or self.after else ""
        return f"{self.place} {verb}{shown}"
