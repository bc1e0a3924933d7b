"""A process with a Python device: ``python -m tests.hdv.remote_process SOCKET``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hdvlab import Bar, Device, Register
from hdvlab.device import serve


class Engine(Device):
    """Adds one to each byte of a buffer in guest RAM, and raises an interrupt."""

    vendor_id, device_id = 0x1234, 0x00E6

    class bar0(Bar, size=4096):
        ADDRESS = Register(0x00, 64)
        LENGTH = Register(0x08)
        GO = Register(0x0C)
        DONE = Register(0x10, access="ro")
        FAULT = Register(0x14)
        EXIT = Register(0x18)
        HANG = Register(0x1C)

    @bar0.GO.on_write
    def go(self, value: int) -> None:
        data = self.dma_read(self.bar0.ADDRESS, self.bar0.LENGTH)
        self.dma_write(self.bar0.ADDRESS, bytes((byte + value) & 0xFF for byte in data))
        self.bar0.DONE += 1
        self.interrupt()

    @bar0.FAULT.on_write
    def fault(self, value: int) -> None:
        self.doorbell(0x20)

    @bar0.EXIT.on_write
    def exit(self, value: int) -> None:
        os._exit(value)

    @bar0.HANG.on_read
    def hang(self) -> int:
        time.sleep(3600)
        return 0


if __name__ == "__main__":
    from tests.hdv.remote_process import Engine as Named

    serve(Named, Path(sys.argv[1]), ready=lambda: print("ready", flush=True))
    print("over", flush=True)
