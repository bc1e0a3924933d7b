"""A solution of the sheet timer."""

from __future__ import annotations

import threading

from hdvlab import Bar, Device, Register


class Timer(Device):
    vendor_id, device_id = 0x1234, 0x0B02

    class bar0(Bar, size=4096):
        DELAY = Register(0x00)
        CTRL = Register(0x04, fields={"EN": 0})
        STATUS = Register(0x08, access="w1c", fields={"EXPIRED": 0})

    running: threading.Timer | None = None

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        if self.running is not None:
            self.running.cancel()
            self.running = None
        if value & 1:
            self.running = self.after(self.bar0.DELAY / 1e6, self.expire)

    def expire(self) -> None:
        self.running = None
        self.bar0.STATUS |= 1
        self.bar0.CTRL &= ~1
        self.interrupt()
