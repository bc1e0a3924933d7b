"""Guest RAM for drivers: DMA buffers with physical addresses."""

from __future__ import annotations

import operator
import threading

from hdvlab.errors import AccessError, GuestMemoryError
from hdvlab.guest.bus import PAGE_SIZE, Bus


class DmaBuffer:
    """A run of guest RAM that a device may read and write.

    ``address`` is guest-physical. ``read`` and ``write`` are the driver's own loads and stores: no rows.
    """

    def __init__(self, bus: Bus, address: int, size: int) -> None:
        self._bus = bus
        self.address = address
        self.size = size

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise AccessError(f"{offset:#x}+{size:#x} is outside the buffer of {self.size:#x} bytes")

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """``size`` bytes from ``offset``; to the end when not given."""
        size = self.size - offset if size is None else size
        self._check(offset, size)
        return self._bus.ram_read(self.address + offset, size)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Store ``data`` at ``offset``."""
        self._check(offset, len(data))
        self._bus.ram_write(self.address + offset, bytes(data))

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"<DmaBuffer {self.address:#x}+{self.size:#x}>"


class RamAllocator:
    """Hands out page-aligned RAM from 1 MiB up, as a kernel keeps the first megabyte for firmware."""

    START = 1 << 20

    def __init__(self, ram_size: int) -> None:
        self._end = min(ram_size, 0xC0000000)
        self._taken: dict[int, tuple[int, object]] = {}
        """Address to length and owner: one entry, so that a program stopped at any moment leaves none without one."""
        self._guard = threading.Lock()

    def take(self, size: int, owner: object) -> int:
        """Guest-physical address of ``size`` free bytes, rounded up to pages; ``owner`` is who gives them back.

        Raises
        ------
        GuestMemoryError
            There is no such run.
        """
        if size <= 0:
            raise AccessError(f"a buffer has at least 1 byte, not {size}")
        length = -(-size // PAGE_SIZE) * PAGE_SIZE
        with self._guard:
            place = self.START
            for taken, (taken_size, _) in sorted(self._taken.items(), key=operator.itemgetter(0)):
                if place + length <= taken:
                    break
                place = taken + taken_size
            if place + length > self._end:
                raise GuestMemoryError(f"no {size:#x} bytes of guest RAM are free; give the lab more: Lab(ram=...)")
            self._taken[place] = (length, owner)
        return place

    def give_back(self, owner: object) -> None:
        """Free all that :meth:`take` gave to an owner."""
        with self._guard:
            self._taken = {place: entry for place, entry in self._taken.items() if entry[1] is not owner}
