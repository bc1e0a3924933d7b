"""What firmware does before any driver runs: find functions, size their BARs, place them.

Ref: PCI Local Bus 3.0, section 6.2.5.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hdvlab.errors import StateError
from hdvlab.guest import Function
from hdvlab.pci import BarDescription, Command, decode_probed_bars

#: Windows for BARs, as on an x86 machine: 32-bit ones between RAM and the interrupt window, 64-bit ones high.
LOW_WINDOW = (0xE0000000, 0xFEC00000)
HIGH_WINDOW = (0x8000000000, 0x10000000000)


class SlotPlacement:
    """Addresses for the BARs of what is in one slot."""

    def __init__(self, placement: Placement, slot: int) -> None:
        self._placement = placement
        self._slot = slot

    def place(self, bar: BarDescription) -> int:
        """A free guest-physical base for a BAR; StateError where the window is full."""
        return self._placement.place(bar, self._slot)


@dataclass
class Placement:
    """Hands out addresses for BARs, aligned to their size; what a slot gives back is used again."""

    _taken: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Base to size and slot."""

    def of(self, slot: int) -> SlotPlacement:
        """The placing for one slot."""
        return SlotPlacement(self, slot)

    def place(self, bar: BarDescription, slot: int = 0) -> int:
        """A free guest-physical base for a BAR.

        Raises
        ------
        StateError
            The window is full.
        """
        low, high = HIGH_WINDOW if bar.bits == 64 else LOW_WINDOW
        step = max(bar.size, 4096)  # BARs on pages of their own, so that one can be mapped without the other
        base = -(-low // step) * step
        for taken, (size, _) in sorted(self._taken.items()):
            if taken < base + step and base < taken + size:
                base = -(-(taken + size) // step) * step
        if base + step > high:
            raise StateError(f"no room for a {bar.bits}-bit BAR of {bar.size:#x} bytes; unplug something")
        self._taken[base] = (step, slot)
        return base

    def release(self, base: int) -> None:
        """Give a base back."""
        self._taken.pop(base, None)

    def release_all(self, slot: int) -> None:
        """Give back what the slot has."""
        self._taken = {base: taken for base, taken in self._taken.items() if taken[1] != slot}


def size_bars(function: Function) -> list[BarDescription]:
    """The function's BARs: write all ones, read back, restore. Memory decode is off meanwhile."""
    function.command = function.command & ~Command.MEMORY_SPACE
    original = [function.config_read(0x10 + 4 * index) for index in range(6)]
    probed = []
    for index, value in enumerate(original):
        function.config_write(0x10 + 4 * index, 0xFFFFFFFF)
        probed.append(function.config_read(0x10 + 4 * index))
        function.config_write(0x10 + 4 * index, value)
    return decode_probed_bars(probed, original)


def configure(function: Function, placement: Placement | SlotPlacement) -> None:
    """Size, place and map a function's BARs, then switch memory decode and bus mastering on."""
    for bar in size_bars(function):
        base = placement.place(bar)
        function.config_write(0x10 + 4 * bar.index, base & 0xFFFFFFFF)
        if bar.bits == 64:
            function.config_write(0x14 + 4 * bar.index, base >> 32)
        function.map_bar(bar.index, base, bar.size)
    function.enable()


def is_present(function: Function) -> bool:
    """Whether the slot answers: a missing function reads all ones."""
    return function.config_read(0, 4) & 0xFFFF != 0xFFFF
