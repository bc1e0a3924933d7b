"""copy: DMA and rings. A driver is handed in, for a device that copies memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from hdvlab.checks import (
    DriverFunction,
    Sheet,
    after,
    always,
    before,
    count,
    never,
    no_access_outside,
    raises,
    returns,
    until,
)
from hdvlab.device import Device
from hdvlab.errors import DeviceError
from hdvlab.guest import Guest
from hdvlab.registers import Bar, Register

#: source, target, length, status; 24 bytes.
DESCRIPTOR = struct.Struct("<QQII")

OK, FAILED = 1, 2
_LONGEST = 1 << 16


class CopyRegisters(Bar, size=4096):
    """BAR 0."""

    BASE = Register(0x00, 64, doc="guest-physical address of the ring")
    SIZE = Register(0x08, doc="descriptors in the ring")
    CTRL = Register(0x0C, fields={"EN": 0}, doc="EN: the ring is set up")
    TAIL = Register(0x10, doc="first descriptor that is not the device's; writing it starts the work")
    HEAD = Register(0x14, access="ro", doc="first descriptor that is not done")
    STATUS = Register(0x18, access="w1c", fields={"DONE": 0}, doc="DONE: HEAD has reached TAIL")


class Copy(Device):
    """Copies guest memory, one descriptor after another, and raises an interrupt when it has caught up."""

    vendor_id, device_id = 0x1234, 0x0B03
    bar0: Any = CopyRegisters

    @CopyRegisters.TAIL.on_write
    def tail(self, value: int) -> None:
        if self.bar0.CTRL & 1:
            self.work(value)

    def work(self, tail: int) -> None:
        """Everything up to ``tail``."""
        size = self.bar0.SIZE
        while size and tail < size and tail != self.bar0.HEAD:
            self.one(self.bar0.BASE + self.bar0.HEAD * DESCRIPTOR.size)
            self.bar0.HEAD = (self.bar0.HEAD + 1) % size
        self.bar0.STATUS |= 1
        self.interrupt()

    def one(self, place: int) -> None:
        """One descriptor: copy, then its status."""
        source, target, length, _ = DESCRIPTOR.unpack(self.dma_read(place, DESCRIPTOR.size))
        status = FAILED
        if 0 < length <= _LONGEST:
            self.dma_write(target, self.dma_read(source, length))
            status = OK
        self.dma_write(place + 20, status.to_bytes(4, "little"))


class EarlyCopy(Copy):
    """A planted fault: an interrupt comes before the work is done, and another one after it."""

    @CopyRegisters.TAIL.on_write
    def tail(self, value: int) -> None:
        if self.bar0.CTRL & 1:
            self.interrupt()
            self.after(0.02, self.work, value)


class FailingCopy(Copy):
    """A planted fault: the second descriptor of the ring always fails."""

    def one(self, place: int) -> None:
        """One descriptor."""
        if place == self.bar0.BASE + DESCRIPTOR.size:
            self.dma_write(place + 20, FAILED.to_bytes(4, "little"))
        else:
            super().one(place)


sheet = Sheet(
    "copy",
    "A driver for a DMA ring",
    DriverFunction("copy_all", device=Copy),
    task="""
`copy_all(guest, blocks)` has the device copy each of the blocks (bytes) into a buffer of its own, and returns what
arrived, a list of bytes. The device is 1234:0b03; its BAR 0:

| offset | register | what it is |
|---|---|---|
| 0x00 | BASE | 64 bits: guest-physical address of the ring |
| 0x08 | SIZE | descriptors in the ring |
| 0x0c | CTRL | bit 0: EN; set it when BASE and SIZE are written |
| 0x10 | TAIL | number of the first descriptor that is not yet filled; writing it starts the device |
| 0x14 | HEAD | number of the first descriptor that the device has not done; read only |
| 0x18 | STATUS | bit 0: DONE, write 1 to clear |

A descriptor has 24 bytes: source (8), target (8), length (4), status (4). The device writes the status: 1 = copied,
2 = failed. HEAD and TAIL go around; a ring is empty where they are equal, so SIZE - 1 descriptors fit. When the device
has caught up it sets DONE and raises one interrupt.

Use a ring of 8. An interrupt is a hint: look at HEAD. Clear DONE after each interrupt. Where a descriptor failed, raise
`hdvlab.errors.DeviceError`.
""",
)

Driver = Callable[[Guest, Sequence[bytes]], Sequence[bytes]]

_THREE = [b"one", b"two and two", bytes(range(200))]
_MANY = [bytes([number]) * (number + 1) for number in range(20)]


@sheet.check(
    "three blocks arrive",
    returns(_THREE, text="returns the three blocks"),
    never("failed"),
    points=2,
    needs="dma_write and size > 4",
)
def three(guest: Guest, driver: Driver) -> list[bytes]:
    return list(driver(guest, _THREE))


@sheet.check(
    "the ring is set up before it is switched on",
    before("write BASE", "write CTRL.EN==1"),
    before("write SIZE==8", "write CTRL.EN==1"),
    before("write CTRL.EN==1", "write TAIL"),
    no_access_outside(),
    points=2,
    needs="write TAIL",
)
def in_order(guest: Guest, driver: Driver) -> list[bytes]:
    return list(driver(guest, _THREE))


@sheet.check(
    "twenty blocks go around a ring of eight",
    returns(_MANY, text="returns the twenty blocks"),
    always("value < 8", where="write TAIL", text="TAIL stays inside the ring"),
    count("write TAIL", most=19, text="several descriptors for one write of TAIL"),
    points=3,
    needs="dma_write and size > 4",
)
def many(guest: Guest, driver: Driver) -> list[bytes]:
    return list(driver(guest, _MANY))


@sheet.check(
    "DONE is cleared after each interrupt",
    after("interrupt", "write STATUS.DONE==1"),
    never("write HEAD"),
    needs="interrupt",
)
def cleared(guest: Guest, driver: Driver) -> list[bytes]:
    return list(driver(guest, _THREE))


@sheet.check(
    "an interrupt that comes too early is no answer",
    returns(_THREE, text="returns the three blocks"),
    until("not write BASE", "read HEAD==3", since="write TAIL", text="the ring stays until HEAD has arrived"),
    points=2,
    needs="dma_write and size > 4",
    device=EarlyCopy,
)
def early(guest: Guest, driver: Driver) -> list[bytes]:
    return list(driver(guest, _THREE))


@sheet.check("a failed descriptor is an error", raises(DeviceError), points=2, needs="dma_read", device=FailingCopy)
def failing(guest: Guest, driver: Driver) -> list[bytes]:
    return list(driver(guest, _THREE))
