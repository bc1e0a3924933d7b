"""A device to stop at, and what drives it."""

from __future__ import annotations

from hdvlab import Bar, Device, Field, Register
from hdvlab.guest import Guest


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x40

    class bar0(Bar):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 7), "MODE": Field(8, meanings={0: "slow", 1: "fast"})})
        COUNT = Register(0x04, access="ro")
        DMA = Register(0x08, 64)
        ANSWER = Register(0x10)

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += 1

    @bar0.DMA.on_write
    def dma(self, address: int) -> None:
        self.dma_write(address, b"\x11\x22\x33\x44")

    @bar0.ANSWER.on_read
    def answer(self) -> int:
        return 0x42


class Bleep(Device):
    vendor_id, device_id = 0x1234, 0x41

    class bar0(Bar):
        CTRL = Register(0x00)
        PITCH = Register(0x04)


def write_three(guest: Guest) -> int:
    """Writes 0x10, 0x11 and 0x12 to CTRL; returns what it reads back."""
    ctrl = guest.functions["blink"].bar0.CTRL
    for value in range(0x10, 0x13):
        ctrl.write(value)
    return ctrl.read()


def read_answer(guest: Guest) -> int:
    return guest.functions["blink"].bar0.ANSWER.read()


def copy(guest: Guest) -> bytes:
    """Has the device write four bytes to guest memory; returns them."""
    buffer = guest.dma_alloc(4096)
    guest.functions["blink"].enable()
    guest.functions["blink"].bar0.DMA.write(buffer.address)
    return buffer.read(0, 4)
