"""A device host in a process of its own: ``python -m tests.core.proxy_process SOCKET INSTANCE [EVENT]``.

Without arguments it reads such lines from its input and forks a process for each: that is faster than to start one.

One device with one BAR of a page, a memory but for the places below. It lives until the machine goes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import uuid

from hdvlab._core import ffi

from .proxy_scaffold import FOR_EVER, ProxyHost
from .scaffold import S_OK, CallbackDevice

#: Reads that do not come back, or end the process; writes that lead to something.
SLEEP, SPIN, EXIT, ABORT, SYSTEM_EXIT, CLOSE_ALL, FORK, RINGS = range(0x800, 0x840, 8)
DMA, INTERRUPT, LATE_MS = 0x900, 0x908, 0x910


class Strange(CallbackDevice):
    def __init__(self) -> None:
        super().__init__()
        self.rings = 0
        self.read, self.write = self._strange_read, self._strange_write

    def _strange_read(self, bar: int, offset: int, size: int) -> int:
        if offset == SLEEP:
            ctypes.CDLL(None).sleep(3600)  # in C: no exception gets in
        while offset == SPIN:
            pass
        if offset == EXIT:
            os._exit(3)
        if offset == ABORT:
            os.abort()
        if offset == SYSTEM_EXIT:
            ctypes.CDLL(None).exit(4)
        if offset == CLOSE_ALL:
            os.closerange(3, 1 << 10)
        if offset == FORK and os.fork() == 0:
            time.sleep(3600)
        if offset == LATE_MS:
            time.sleep(self.memory.get((0, LATE_MS), 0) / 1000)
            return 0xBAD
        if offset == RINGS:
            return self.rings
        return self.memory.get((bar, offset), 0)

    def _strange_write(self, bar: int, offset: int, size: int, value: int) -> None:
        self.memory[bar, offset] = value
        if offset == DMA:  # a callback that asks the machine for something while the guest waits for it
            hresult, address = self.aperture(value, 64)
            assert hresult == S_OK
            ffi.memmove(address, bytes(ffi.buffer(address, 64))[::-1], 64)
        if offset == INTERRUPT:
            assert self.interrupt(data=value) == S_OK


def main(arguments: list[str]) -> None:
    host = ProxyHost.at(arguments[0])
    device = Strange()
    device.instance_id = uuid.UUID(arguments[1])
    host.create(device)
    if len(arguments) > 2:  # an eventfd that the machine's owner rings a doorbell with

        def count() -> None:
            while True:
                device.rings += os.eventfd_read(int(arguments[2]))

        threading.Thread(target=count, daemon=True).start()
    print("ready", flush=True)
    host.wait_machine(FOR_EVER)
    host.teardown()
    print(*device.names()[-2:], flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1:])
    else:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for line in sys.stdin:
            if os.fork() == 0:
                main(line.split())
                os._exit(0)
