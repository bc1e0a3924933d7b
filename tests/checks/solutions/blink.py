"""A solution of the sheet blink."""

from hdvlab import Bar, Device, Register


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0B01

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")
        LIMIT = Register(0x08, reset=0xFF)
        STATUS = Register(0x0C, access="w1c", fields={"FULL": 0})

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        if value & 1 and self.bar0.COUNT < self.bar0.LIMIT:
            self.bar0.COUNT += 1
            if self.bar0.COUNT == self.bar0.LIMIT:
                self.bar0.STATUS |= 1
