"""A device to plug in: a register with side effects either way."""

from __future__ import annotations

from hdvlab import Bar, Device, Field, Register


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x40

    class bar0(Bar):
        CTRL = Register(0x00, reset=0x10, fields={"EN": 0, "RATE": (4, 4), "DONE": Field(8, access="w1c")})
        POP = Register(0x04, access="rc", reset=0x99)
        COUNT = Register(0x08, access="ro")
        HANDLED = Register(0x0C)

    class bar2(Bar):
        CTRL = Register(0x00)

    def initialize(self) -> None:
        self.calls: list[str] = []

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += 1

    @bar0.HANDLED.on_read
    def handled(self) -> int:
        self.calls.append("read")
        return 0x42
