"""A driver for ring, as a guest program: ``lab.run(driver)``."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hdvlab.errors import DeviceError
from hdvlab.guest import Function, Guest

_DESCRIPTOR = struct.Struct("<QII")


class RingDriver:
    """Hands buffers to the device, many with one doorbell.

    Parameters
    ----------
    guest : Guest
        The machine.
    function : Function, optional
        The device; the first 1234:0002 when not given.
    count : int
        Descriptors in the ring; one fewer buffers can be under way.
    """

    def __init__(self, guest: Guest, function: Function | None = None, count: int = 16) -> None:
        self.guest = guest
        self.function = function or guest.find(0x1234, 0x0002)
        self.bar0, self.bar2 = self.function.bar0, self.function.bar2
        if self.bar0.MAGIC.read() != 0x474E4952:
            raise DeviceError("this is no ring")
        self.count = count
        self.guest.request_interrupts(self.function)
        self.ring = guest.dma_alloc(count * _DESCRIPTOR.size)
        self.bar0.BASE.write(self.ring.address)
        self.bar0.COUNT.write(count)
        self.bar0.CTRL.write(1)
        self.tail = 0

    def sums(self, buffers: Sequence[bytes]) -> list[int]:
        """The sums of the bytes of some buffers, modulo 2^32, from one ring of the bell."""
        if len(buffers) >= self.count:
            raise DeviceError(f"{len(buffers)} buffers; the ring has room for {self.count - 1}")
        first = self.tail
        for data in buffers:
            buffer = self.guest.dma_alloc(max(len(data), 1))
            buffer.write(data)
            self.ring.write(_DESCRIPTOR.pack(buffer.address, len(data), 0), self.tail * _DESCRIPTOR.size)
            self.tail = (self.tail + 1) % self.count
        self.bar2.TAIL.write(self.tail)
        self.bar0.BELL.write(1)
        while self.bar2.HEAD.read() != self.tail:
            self.guest.wait_interrupt(self.function)
        done = self.ring.read()
        places = [(first + number) % self.count for number in range(len(buffers))]
        return [int(_DESCRIPTOR.unpack_from(done, place * _DESCRIPTOR.size)[2]) for place in places]


def driver(guest: Guest, buffers: Sequence[bytes] = (b"hello", bytes(range(256)), b"ring")) -> list[int]:
    """Set the ring up and have the device add up three buffers."""
    ring = RingDriver(guest)
    sums = ring.sums(buffers)
    if sums != [sum(data) for data in buffers]:
        raise DeviceError(f"the device added up to {sums}")
    return sums
