"""Registers of QEMU's teaching device.

Ref: QEMU, docs/specs/edu.rst and hw/misc/edu.c (10.2).
"""

from __future__ import annotations

from hdvlab.registers import Bar, Field, Register

#: Identification register: major and minor version, then 0xed.
IDENTIFICATION = 0x010000ED
#: Where the device's own buffer lies in DMA source and destination addresses, and its size in bytes.
BUFFER_ADDRESS = 0x40000
BUFFER_SIZE = 4096
#: Causes of interrupts in IRQ_STATUS.
IRQ_FACTORIAL = 0x001
IRQ_DMA = 0x100
#: Guest addresses are ANDed with this: 28 bits.
DMA_MASK = 0x0FFFFFFF
#: Nanoseconds from the start of a DMA transfer to its end.
DMA_DELAY_NS = 100_000_000


class EduRegisters(Bar, size=1 << 20):
    """BAR0. Below 0x80 only 4-byte accesses; from 0x80 on 4 or 8 bytes, a narrow write replaces the whole value."""

    IDENTIFICATION = Register(
        0x00,
        access="ro",
        reset=IDENTIFICATION,
        access_sizes=[4],
        fields={"ED": (0, 8), "MINOR": (16, 8), "MAJOR": (24, 8)},
        doc="major and minor version",
    )
    LIVENESS = Register(0x04, access_sizes=[4], doc="reads back the bitwise NOT of what was written")
    FACTORIAL = Register(0x08, access_sizes=[4], doc="write n; when COMPUTING is 0 again, n! modulo 2^32")
    STATUS = Register(
        0x20,
        access_sizes=[4],
        fields={
            "COMPUTING": Field(0, access="ro", doc="a factorial is being computed"),
            "IRQ_ON_FACTORIAL": Field(7, doc="raise IRQ 0x1 when it is done"),
        },
    )
    IRQ_STATUS = Register(
        0x24,
        access="ro",
        access_sizes=[4],
        fields={"FACTORIAL": Field(0, access="ro"), "DMA": Field(8, access="ro")},
        doc="causes raised and not acknowledged",
    )
    IRQ_RAISE = Register(0x60, access="wo", access_sizes=[4], doc="raise the causes written")
    IRQ_ACKNOWLEDGE = Register(0x64, access="wo", access_sizes=[4], doc="acknowledge the causes written")
    DMA_SOURCE = Register(0x80, 64, access_sizes=[4, 8], narrow="low")
    DMA_DESTINATION = Register(0x88, 64, access_sizes=[4, 8], narrow="low")
    DMA_COUNT = Register(0x90, 64, access_sizes=[4, 8], narrow="low", doc="bytes")
    DMA_COMMAND = Register(
        0x98,
        64,
        access_sizes=[4, 8],
        narrow="low",
        fields={
            "RUN": Field(0, doc="start; 1 until the transfer is done"),
            "FROM_DEVICE": Field(1, meanings={0: "RAM to device", 1: "device to RAM"}),
            "IRQ": Field(2, doc="raise IRQ 0x100 when done"),
        },
    )
