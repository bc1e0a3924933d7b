"""A device to drive: plain registers, an interrupt on demand, a handler that can be made to hang."""

from __future__ import annotations

import threading

from hdvlab import Bar, Device, MsiCapability, Register


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x20
    capabilities = (MsiCapability(vectors=4),)

    class bar0(Bar):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04)
        RING = Register(0x08)
        HANG = Register(0x0C)
        WIDE = Register(0x10, 64)

    def initialize(self) -> None:
        self.hanging = threading.Event()

    @bar0.RING.on_write
    def ring(self, vector: int) -> None:
        self.interrupt(vector)

    @bar0.HANG.on_write
    def hang(self, value: int) -> None:
        self.hanging.set()
        while True:
            pass
