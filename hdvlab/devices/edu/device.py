"""QEMU's teaching device: a factorial in the background, interrupts to acknowledge, and a small DMA engine.

Ref: QEMU, docs/specs/edu.rst and hw/misc/edu.c (10.2). Two things differ. HDV has no INTx, so in the embedded machine
only IRQ_STATUS tells of an interrupt where MSI is off; in a VM there is the line. A DMA range outside the device's
buffer is refused and leaves a fault, where QEMU logs and goes on.
"""

from __future__ import annotations

from typing import Any

from hdvlab.device import Device
from hdvlab.devices.edu.registers import (
    BUFFER_ADDRESS,
    BUFFER_SIZE,
    DMA_DELAY_NS,
    DMA_MASK,
    IDENTIFICATION,
    IRQ_DMA,
    IRQ_FACTORIAL,
    EduRegisters,
)
from hdvlab.errors import AccessError, UsageError
from hdvlab.pci import MsiCapability

_WORD = 0xFFFFFFFF


def factorial(n: int) -> int:
    """n! modulo 2^32; from 34 on it is 0, because the product holds 32 factors of two."""
    result = 1
    for factor in range(2, min(n, 34) + 1):
        result = result * factor & _WORD
    return result


class Edu(Device):
    """QEMU's ``edu``.

    Configuration strings: ``dma_mask=0x0fffffff`` (what guest addresses are ANDed with) and ``dma_delay_ms=100``.
    """

    vendor_id, device_id, revision_id = 0x1234, 0x11E8, 0x10
    base_class, sub_class = 0x00, 0xFF
    interrupt_pin = 1
    capabilities = (MsiCapability(vectors=1),)
    bar0: Any = EduRegisters

    def initialize(self) -> None:
        self.buffer = bytearray(BUFFER_SIZE)
        self.dma_mask = DMA_MASK
        self.dma_delay = DMA_DELAY_NS / 1e9
        assert self.bar0.IDENTIFICATION == IDENTIFICATION

    def configure(self, configuration: dict[str, str]) -> None:
        for key, text in configuration.items():
            try:
                if key == "dma_mask":
                    self.dma_mask = int(text, 0)
                elif key == "dma_delay_ms":
                    self.dma_delay = float(text) / 1e3
                else:
                    raise UsageError(f"edu has no setting {key}; it has dma_mask and dma_delay_ms")
            except ValueError as error:
                raise error if isinstance(error, UsageError) else UsageError(f"{key}={text} is no number") from None

    # ---- liveness ----------------------------------------------------------------------------------------------

    @EduRegisters.LIVENESS.on_write
    def liveness_written(self, value: int) -> None:
        self.bar0.LIVENESS = ~value & _WORD

    # ---- factorial ---------------------------------------------------------------------------------------------

    @EduRegisters.FACTORIAL.on_write
    def factorial_written(self, value: int, old: int) -> None:
        if self.bar0.STATUS.COMPUTING:
            self.bar0.FACTORIAL = old
            return
        self.bar0.STATUS.COMPUTING = 1
        self.spawn(self._compute, value)

    def _compute(self, n: int) -> None:
        result = factorial(n)
        with self.lock:
            self.bar0.FACTORIAL = result
            self.bar0.STATUS.COMPUTING = 0
            if self.bar0.STATUS.IRQ_ON_FACTORIAL:
                self._raise(IRQ_FACTORIAL)

    # ---- interrupts --------------------------------------------------------------------------------------------

    def _raise(self, causes: int) -> None:
        self.bar0.IRQ_STATUS |= causes
        if self.bar0.IRQ_STATUS and (self.interrupt_enabled(0) or not self.set_interrupt_line(True)):
            self.interrupt(0)

    @EduRegisters.IRQ_RAISE.on_write
    def irq_raised(self, causes: int) -> None:
        self._raise(causes)

    @EduRegisters.IRQ_ACKNOWLEDGE.on_write
    def irq_acknowledged(self, causes: int) -> None:
        self.bar0.IRQ_STATUS &= ~causes & _WORD
        if not self.bar0.IRQ_STATUS:
            self.set_interrupt_line(False)

    # ---- DMA ---------------------------------------------------------------------------------------------------

    @EduRegisters.DMA_SOURCE.on_write
    def source_written(self, value: int, old: int) -> None:
        self.bar0.DMA_SOURCE = old if self.bar0.DMA_COMMAND.RUN else value

    @EduRegisters.DMA_DESTINATION.on_write
    def destination_written(self, value: int, old: int) -> None:
        self.bar0.DMA_DESTINATION = old if self.bar0.DMA_COMMAND.RUN else value

    @EduRegisters.DMA_COUNT.on_write
    def count_written(self, value: int, old: int) -> None:
        self.bar0.DMA_COUNT = old if self.bar0.DMA_COMMAND.RUN else value

    @EduRegisters.DMA_COMMAND.on_write
    def command_written(self, value: int, old: int) -> None:
        if old & 1 or not value & 1:
            self.bar0.DMA_COMMAND = old
            return
        self.after(self.dma_delay, self._transfer)

    def _transfer(self) -> None:
        command = self.bar0.DMA_COMMAND
        source, destination, count = self.bar0.DMA_SOURCE, self.bar0.DMA_DESTINATION, self.bar0.DMA_COUNT
        try:
            if command.FROM_DEVICE:
                place = self._place(source, count)
                self.dma_write(destination & self.dma_mask, self.buffer[place : place + count])
            else:
                place = self._place(destination, count)
                self.buffer[place : place + count] = self.dma_read(source & self.dma_mask, count)
        finally:
            # The engine always comes to rest, or the driver would wait for ever.
            self.bar0.DMA_COMMAND.RUN = 0
            if command.IRQ:
                self._raise(IRQ_DMA)

    def _place(self, address: int, count: int) -> int:
        """Offset in the buffer of a device-side range."""
        offset = address - BUFFER_ADDRESS
        if offset < 0 or offset + count > BUFFER_SIZE:
            raise AccessError(
                f"DMA of {count:#x} bytes at device address {address:#x} is outside the buffer "
                f"{BUFFER_ADDRESS:#x} to {BUFFER_ADDRESS + BUFFER_SIZE - 1:#x}"
            )
        return offset
