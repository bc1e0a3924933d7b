"""What base address registers read back: from sizes to HDV's ``probedBars`` and back.

Ref: PCI Local Bus 3.0, section 6.2.5.1 (base address registers); HDV ``HDV_PCI_DEVICE_GET_DETAILS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import spec

_DWORD = 0xFFFF_FFFF


@dataclass(frozen=True)
class BarDescription:
    """One implemented BAR.

    Parameters
    ----------
    index : int
        0 to 5; for a 64-bit BAR that of its low half.
    size : int
        Bytes: a power of two, 16 or more (I/O: 4 or more).
    bits : {32, 64}
        Width of the address. A 64-bit BAR takes ``index`` and ``index + 1``.
    prefetchable : bool
        Reads have no side effects.
    address : int
        Where it was placed (guest-physical address or I/O port), 0 = not placed.
    io : bool
        I/O space instead of memory. Found in dumps of other devices only: HDV has no callback for port accesses.

    Raises
    ------
    RegisterError
        The numbers contradict each other or the standard.
    """

    index: int
    size: int
    bits: int = 32
    prefetchable: bool = False
    address: int = 0
    io: bool = False

    def __post_init__(self) -> None:
        name = f"BAR{self.index}"
        if not 0 <= self.index < spec.BAR_COUNT:
            raise RegisterError(f"BAR index {self.index} is outside 0..{spec.BAR_COUNT - 1}; a function has six")
        if self.bits not in (32, 64):
            raise RegisterError(f"{name} has {self.bits} bits; a BAR has 32 or 64")
        if self.io and (self.bits == 64 or self.prefetchable):
            raise RegisterError(f"{name} is in I/O space, which has 32 bits and no prefetching; drop the other flags")
        if self.bits == 64 and self.index == spec.BAR_COUNT - 1:
            raise RegisterError(
                f"{name} has 64 bits and needs BAR6, but the last BAR is BAR5; move it to BAR4 or lower"
            )
        minimum = spec.BAR_IO_MINIMUM if self.io else spec.BAR_MEMORY_MINIMUM
        if self.size < minimum:
            raise RegisterError(f"{name} has {self.size} bytes, the smallest is {minimum}; make it larger")
        if self.size & (self.size - 1):
            above = 1 << self.size.bit_length()
            raise RegisterError(
                f"{name} has {self.size:#x} bytes, which is not a power of two; the next is {above:#x}, use that"
            )
        largest = 1 << (self.bits - 1)
        if self.size > largest:
            remedy = "say bits=64" if self.bits == 32 and not self.io else "make it smaller"
            raise RegisterError(f"{name} has {self.size:#x} bytes, {self.bits} bits allow {largest:#x}; {remedy}")

    @property
    def registers(self) -> int:
        """How many of the six dwords it takes: 2 with 64 bits, else 1."""
        return self.bits // 32

    @property
    def type_bits(self) -> int:
        """The read-only low bits of its (low) dword."""
        if self.io:
            return spec.BAR_IO_SPACE
        width = spec.BAR_MEMORY_TYPE_64 if self.bits == 64 else spec.BAR_MEMORY_TYPE_32
        return width | (spec.BAR_MEMORY_PREFETCHABLE if self.prefetchable else 0)

    @property
    def probed(self) -> tuple[int, ...]:
        """The one or two dwords it reads back after a write of all ones, low half first."""
        mask = (-self.size & ((1 << self.bits) - 1)) | self.type_bits
        return tuple(mask >> shift & _DWORD for shift in range(0, self.bits, 32))


def probed_bar(size: int, bits: int = 32, prefetchable: bool = False) -> tuple[int, ...]:
    """Dwords that one memory BAR reads back after a write of all ones.

    Parameters
    ----------
    size : int
        Bytes: a power of two, 16 or more.
    bits : {32, 64}
        Width of the address.
    prefetchable : bool
        Reads have no side effects.

    Returns
    -------
    tuple of int
        One 32-bit value, or two (low half first) with ``bits=64``; type bits included.

    Raises
    ------
    RegisterError
        Size or width that the standard does not have.
    """
    return BarDescription(0, size, bits, prefetchable).probed


def probed_bars(bars: Iterable[BarDescription]) -> tuple[int, ...]:
    """The six ``probedBars`` entries that HDV's ``GetDetails`` hands over.

    Parameters
    ----------
    bars : iterable of BarDescription
        Memory BARs, in any order.

    Returns
    -------
    tuple of int
        Six 32-bit values; 0 = not implemented.

    Raises
    ------
    RegisterError
        Two of them want the same dword, or one is in I/O space.
    """
    probed = [0] * spec.BAR_COUNT
    owner: dict[int, BarDescription] = {}
    for bar in bars:
        if bar.io:
            raise RegisterError(f"BAR{bar.index} is in I/O space, HDV has memory BARs only; make it a memory BAR")
        for place, value in enumerate(bar.probed, bar.index):
            if place in owner:
                other = owner[place]
                raise RegisterError(
                    f"BAR{other.index} ({other.bits} bits) and BAR{bar.index} ({bar.bits} bits) both take BAR{place}; "
                    f"a 64-bit BAR takes two, move one of them"
                )
            owner[place] = bar
            probed[place] = value
    return tuple(probed)


def decode_probed_bars(probed: Sequence[int], original: Sequence[int] = (0,) * spec.BAR_COUNT) -> list[BarDescription]:
    """Tell what BARs a function has from what they read back after a write of all ones.

    Parameters
    ----------
    probed : sequence of int
        The dwords after the write: six, or the two of a bridge.
    original : sequence of int
        The same dwords before it, for the addresses; as many as ``probed``.

    Returns
    -------
    list of BarDescription
        The implemented ones, in order of index.

    Raises
    ------
    AccessError
        Dwords that no BAR of the standard reads back: reserved type, address bits with a gap, a 64-bit BAR in the
        last place, different numbers of dwords.
    """
    count = len(probed)
    if count > spec.BAR_COUNT or len(original) < count:
        raise AccessError(
            f"{count} probed and {len(original)} original BAR dwords; give {spec.BAR_COUNT} of each (two for a bridge)"
        )
    for index, value in enumerate((*probed, *original)):
        if not 0 <= value <= _DWORD:
            raise AccessError(f"BAR dword {index % count} is {value:#x}, more than the 32 bits of one; give dwords")
    bars: list[BarDescription] = []
    index = 0
    while index < count:
        low = probed[index]
        if not low:
            index += 1
            continue
        bar = _decode_io(index, low, original[index]) if low & spec.BAR_IO_SPACE else None
        if bar is None:
            wide = low & spec.BAR_MEMORY_TYPE == spec.BAR_MEMORY_TYPE_64
            if wide and index + 1 >= count:
                raise AccessError(
                    f"BAR{index} reads back {low:#010x}, a 64-bit BAR, but BAR{count - 1} is the last; "
                    f"its upper half has no place, mend the device"
                )
            high = (probed[index + 1], original[index + 1]) if wide else None
            bar = _decode_memory(index, low, original[index], high)
        bars.append(bar)
        index += bar.registers
    return bars


def _decode_io(index: int, probed: int, original: int) -> BarDescription:
    if probed & spec.BAR_IO_RESERVED:
        hint = "no device answered" if probed == _DWORD else "bit 1 of an I/O BAR is reserved"
        raise AccessError(f"BAR{index} reads back {probed:#010x}, bits 1:0 are 3 and may be 1 at most; {hint}")
    mask = probed & ~spec.BAR_IO_TYPE_BITS
    if mask and not mask >> 16:  # the upper half may be hardwired to 0: ports have 16 bits on PCs
        mask |= 0xFFFF_0000
    return BarDescription(index, _size(index, mask, 32), address=original & ~spec.BAR_IO_TYPE_BITS, io=True)


def _decode_memory(index: int, probed: int, original: int, high: tuple[int, int] | None) -> BarDescription:
    memory_type = probed & spec.BAR_MEMORY_TYPE
    if memory_type not in (spec.BAR_MEMORY_TYPE_32, spec.BAR_MEMORY_TYPE_64):
        raise AccessError(
            f"BAR{index} reads back {probed:#010x}, its type (bits 2:1) is {memory_type >> 1}, which is reserved; "
            f"0 is 32 bits and 2 is 64 bits"
        )
    mask, address = probed & ~spec.BAR_MEMORY_TYPE_BITS, original & ~spec.BAR_MEMORY_TYPE_BITS
    bits = 32
    if high is not None:
        bits = 64
        mask |= high[0] << 32
        address |= high[1] << 32
    return BarDescription(
        index, _size(index, mask, bits), bits, bool(probed & spec.BAR_MEMORY_PREFETCHABLE), address=address
    )


def _size(index: int, mask: int, bits: int) -> int:
    """Size in bytes of a BAR whose writable address bits are ``mask``."""
    size = mask & -mask
    if not mask or mask != -size & ((1 << bits) - 1):
        raise AccessError(
            f"BAR{index} reads back address bits {mask:#x} where {bits} bits with a size of {size:#x} give "
            f"{-size & ((1 << bits) - 1):#x}; write all ones to each dword before reading"
        )
    return size
