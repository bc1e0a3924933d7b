"""A driver for edu, as a guest program: ``lab.run(driver)``."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hdvlab.devices.edu.registers import BUFFER_ADDRESS, IRQ_DMA, IRQ_FACTORIAL
from hdvlab.errors import DeviceError, GuestTimeoutError
from hdvlab.guest import Function, Guest


@dataclass(frozen=True)
class EduResult:
    """What the driver found."""

    version: tuple[int, int]
    factorial: int
    echoed: bytes
    """What came back from the device's buffer."""


class EduDriver:
    """Everything edu can do, one method each.

    Raises :class:`~hdvlab.errors.DeviceError` where the device does not behave.
    """

    def __init__(self, guest: Guest, function: Function | None = None) -> None:
        self.guest = guest
        self.function = function or guest.find(0x1234, 0x11E8)
        self.bar0 = self.function.bar0
        self.guest.request_interrupts(self.function)

    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        value = self.bar0.IDENTIFICATION.read()
        if value & 0xFF != 0xED:
            raise DeviceError(f"identification is {value:#x}; this is no edu device")
        return value >> 24, value >> 16 & 0xFF

    def check_liveness(self, value: int = 0x12345678) -> None:
        """Write a value, expect its bitwise NOT."""
        self.bar0.LIVENESS.write(value)
        answer = self.bar0.LIVENESS.read()
        if answer != ~value & 0xFFFFFFFF:
            raise DeviceError(f"liveness of {value:#x} is {answer:#x}")

    def _acknowledge(self, cause: int) -> None:
        self.guest.wait_interrupt(self.function)
        raised = self.bar0.IRQ_STATUS.read()
        self.bar0.IRQ_ACKNOWLEDGE.write(raised)
        if not raised & cause:
            raise DeviceError(f"interrupt with causes {raised:#x}, expected {cause:#x}")

    def factorial(self, n: int) -> int:
        """n! modulo 2^32, waiting for the interrupt."""
        self.bar0.STATUS.write(0x80)
        self.bar0.FACTORIAL.write(n)
        self._acknowledge(IRQ_FACTORIAL)
        return self.bar0.FACTORIAL.read()

    def factorial_polled(self, n: int, timeout: float = 5.0) -> int:
        """n! modulo 2^32, polling COMPUTING as a driver without interrupts would."""
        self.bar0.STATUS.write(0)
        self.bar0.FACTORIAL.write(n)
        deadline = time.monotonic() + timeout
        while self.bar0.STATUS.read() & 1:
            if time.monotonic() > deadline:
                raise GuestTimeoutError(f"factorial of {n} took more than {timeout:g} s")
        return self.bar0.FACTORIAL.read()

    def raise_interrupt(self, causes: int = 0x5) -> None:
        """Let the device raise an interrupt, and acknowledge it."""
        self.bar0.IRQ_RAISE.write(causes)
        self._acknowledge(causes)

    def dma(self, source: int, destination: int, count: int, from_device: bool) -> None:
        """One transfer, waiting for its interrupt. ``count`` in bytes."""
        self.bar0.DMA_SOURCE.write(source)
        self.bar0.DMA_DESTINATION.write(destination)
        self.bar0.DMA_COUNT.write(count)
        self.bar0.DMA_COMMAND.write(1 | from_device << 1 | 4)
        self._acknowledge(IRQ_DMA)

    def echo(self, data: bytes) -> bytes:
        """Send ``data`` through the device's buffer and back, at most 4096 bytes."""
        out, back = self.guest.dma_alloc(len(data)), self.guest.dma_alloc(len(data))
        out.write(data)
        self.dma(out.address, BUFFER_ADDRESS, len(data), from_device=False)
        self.dma(BUFFER_ADDRESS, back.address, len(data), from_device=True)
        return back.read()


def driver(guest: Guest, n: int = 10, data: bytes = bytes(range(256))) -> EduResult:
    """Go through all that edu can do: version, liveness, factorial, interrupt, DMA both ways."""
    edu = EduDriver(guest)
    version = edu.version()
    edu.check_liveness()
    result = edu.factorial(n)
    edu.raise_interrupt()
    echoed = edu.echo(data)
    if echoed != data:
        raise DeviceError("the bytes that came back by DMA are not those that were sent")
    return EduResult(version, result, echoed)
