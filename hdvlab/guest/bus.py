"""What a machine offers to whoever runs in it: config space, memory, interrupts."""

from __future__ import annotations

from typing import Protocol

from hdvlab.trace.schema import Origin

#: Address that a PCI message goes to on x86 to reach CPU 0 (Intel SDM volume 3, section 11.11.1).
INTERRUPT_ADDRESS = 0xFEE00000
#: First and last-but-one interrupt vector that drivers get (0–31 are the CPU's).
FIRST_VECTOR, VECTOR_COUNT = 0x20, 256

PAGE_SIZE = 4096


class Bus(Protocol):
    """The guest's side of a machine.

    Every access names its ``origin`` and ``pc`` (number of a source line, 0 = unknown). Reads return the value, all
    ones when nothing served them, and the HRESULT (signed) that the row carries.
    """

    @property
    def ram_size(self) -> int:
        """Bytes of RAM."""

    def config_read(self, slot: int, offset: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """Read 1, 2 or 4 bytes of a slot's config space."""

    def config_write(self, slot: int, offset: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """Write 1, 2 or 4 bytes of a slot's config space."""

    def read(self, address: int, size: int, origin: Origin, pc: int) -> tuple[int, int]:
        """Read 1, 2, 4 or 8 bytes at a guest-physical address."""

    def write(self, address: int, size: int, value: int, origin: Origin, pc: int) -> int:
        """Write 1, 2, 4 or 8 bytes at a guest-physical address."""

    def ram_read(self, address: int, size: int) -> bytes:
        """Copy from RAM; not a device access, so no row."""

    def ram_write(self, address: int, data: bytes) -> None:
        """Copy to RAM; no row."""

    def wait_interrupt(self, vector: int, timeout: float) -> int:
        """Take one pending interrupt of a CPU vector, waiting up to ``timeout`` seconds; how many are left."""

    def cancel(self) -> None:
        """Make every waiter give up with :class:`~hdvlab.errors.GuestInterrupted`."""
