"""The guest's side of a machine: PCI functions, registers, DMA buffers and interrupts as a driver sees them."""

from hdvlab.guest.bus import Bus
from hdvlab.guest.function import Function
from hdvlab.guest.guest import Guest, VectorAllocator
from hdvlab.guest.memory import DmaBuffer, RamAllocator
from hdvlab.guest.program import Program
from hdvlab.guest.register import GuestBar, GuestField, GuestRegister

__all__ = [
    "Bus",
    "DmaBuffer",
    "Function",
    "Guest",
    "GuestBar",
    "GuestField",
    "GuestRegister",
    "Program",
    "RamAllocator",
    "VectorAllocator",
]
