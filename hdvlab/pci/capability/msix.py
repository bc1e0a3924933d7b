"""Message signalled interrupts with a table in a BAR.

Ref: PCI Local Bus 3.0, section 6.8.2 (MSI-X capability and table structures).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import spec
from hdvlab.pci.capability.interface import capability_bytes, list_header


@dataclass(frozen=True)
class MsixCapability:
    """MSI-X capability.

    Parameters
    ----------
    vectors : int
        Interrupts, 1 to 2048.
    table_bar : int
        BAR with the table, 0 to 5.
    table_offset : int
        Bytes from that BAR's base, a multiple of 8.
    pba_bar : int, optional
        BAR with the pending bits; the table's where not given.
    pba_offset : int, optional
        Bytes from that BAR's base, a multiple of 8; right behind the table where not given.

    Raises
    ------
    RegisterError
        A number out of its range, or table and pending bits that overlap.
    """

    vectors: int
    table_bar: int = 0
    table_offset: int = 0
    pba_bar: int = -1
    pba_offset: int = -1

    def __post_init__(self) -> None:
        if not 1 <= self.vectors <= spec.MSIX_VECTORS_MAXIMUM:
            raise RegisterError(f"MSI-X with {self.vectors} vectors; it has 1 to {spec.MSIX_VECTORS_MAXIMUM}")
        if self.pba_bar == -1:
            object.__setattr__(self, "pba_bar", self.table_bar)
        if self.pba_offset == -1:
            if self.pba_bar != self.table_bar:
                raise RegisterError(
                    f"MSI-X pending bits are in BAR{self.pba_bar} and the table in BAR{self.table_bar}; give pba_offset"
                )
            object.__setattr__(self, "pba_offset", self.table_offset + self.table_size)
        for what, bar, offset in (
            ("table", self.table_bar, self.table_offset),
            ("pending bits", self.pba_bar, self.pba_offset),
        ):
            if not 0 <= bar < spec.BAR_COUNT:
                raise RegisterError(f"MSI-X {what} in BAR{bar}; a function has BAR0 to BAR{spec.BAR_COUNT - 1}")
            if offset % spec.MSIX_ALIGNMENT or not 0 <= offset < 1 << 32:
                raise RegisterError(
                    f"MSI-X {what} at {offset:#x}; it is at a multiple of {spec.MSIX_ALIGNMENT} below {1 << 32:#x}"
                )
        if (
            self.table_bar == self.pba_bar
            and self.table_offset < self.pba_offset + self.pba_size
            and self.pba_offset < self.table_offset + self.table_size
        ):
            raise RegisterError(
                f"MSI-X table takes {self.table_offset:#x}..{self.table_offset + self.table_size - 1:#x} of "
                f"BAR{self.table_bar} and the pending bits start at {self.pba_offset:#x}; move one of them"
            )

    @property
    def capability_id(self) -> int:
        return spec.CapabilityId.MSI_X

    @property
    def size(self) -> int:
        """Bytes: 12."""
        return spec.MSIX_SIZE

    @property
    def table_size(self) -> int:
        """Bytes of the table in its BAR."""
        return self.vectors * spec.MSIX_ENTRY_SIZE

    @property
    def pba_size(self) -> int:
        """Bytes of the pending bits in their BAR, in whole qwords (section 6.8.2.10)."""
        return (self.vectors + 63) // 64 * 8

    def check_within(self, bar_sizes: Mapping[int, int]) -> None:
        """Make sure that table and pending bits lie inside BARs that exist.

        Parameters
        ----------
        bar_sizes : mapping of int to int
            BAR index -> bytes.

        Raises
        ------
        RegisterError
            One of them does not.
        """
        for what, bar, end in (
            ("table", self.table_bar, self.table_offset + self.table_size),
            ("pending bits", self.pba_bar, self.pba_offset + self.pba_size),
        ):
            if end > bar_sizes.get(bar, 0):
                raise RegisterError(
                    f"MSI-X {what} end at {end:#x} of BAR{bar}, which has {bar_sizes.get(bar, 0):#x} bytes; "
                    f"make it larger or move them"
                )

    def encode(self, next_pointer: int) -> bytes:
        """Contents after reset: disabled, not masked."""
        return list_header(self.capability_id, next_pointer) + struct.pack(
            "<HII", self.vectors - 1, self.table_offset | self.table_bar, self.pba_offset | self.pba_bar
        )

    def write_mask(self) -> bytes:
        """Enable and function mask."""
        mask = bytearray(self.size)
        struct.pack_into("<H", mask, spec.MSIX_CONTROL, spec.MSIX_CONTROL_ENABLE | spec.MSIX_CONTROL_FUNCTION_MASK)
        return bytes(mask)

    def w1c_mask(self) -> bytes:
        """No bit."""
        return bytes(self.size)

    @classmethod
    def decode(cls, config: bytes, offset: int) -> MsixCapability:
        """Read the description out of configuration space.

        Raises
        ------
        AccessError
            No MSI-X capability at ``offset``, cut off, or with table and pending bits that overlap or lie in the
            reserved BAR6 or BAR7.
        """
        data = capability_bytes(config, offset, spec.MSIX_SIZE, spec.CapabilityId.MSI_X)
        control, table, pba = struct.unpack_from("<HII", data, spec.MSIX_CONTROL)
        try:
            return cls(
                (control & spec.MSIX_CONTROL_TABLE_SIZE) + 1,
                table & spec.MSIX_BIR,
                table & ~spec.MSIX_BIR,
                pba & spec.MSIX_BIR,
                pba & ~spec.MSIX_BIR,
            )
        except RegisterError as error:
            raise AccessError(f"capability at {offset:#x}: {error.message}") from error


@dataclass(frozen=True)
class MsixState:
    """What the guest wrote into an MSI-X capability: on at all, and all vectors masked at once."""

    enabled: bool
    function_masked: bool

    @classmethod
    def read(cls, config: bytes, offset: int) -> MsixState:
        """Read the state out of configuration space; AccessError where no MSI-X capability is at ``offset``."""
        data = capability_bytes(config, offset, spec.MSIX_SIZE, spec.CapabilityId.MSI_X)
        (control,) = struct.unpack_from("<H", data, spec.MSIX_CONTROL)
        return cls(bool(control & spec.MSIX_CONTROL_ENABLE), bool(control & spec.MSIX_CONTROL_FUNCTION_MASK))


@dataclass(frozen=True)
class MsixEntry:
    """One entry of the table (section 6.8.2.6 to 6.8.2.9).

    Attributes
    ----------
    address : int
        Guest-physical address of the message, 64 bits.
    data : int
        32 bits.
    masked : bool
        The message must wait; so after reset.
    """

    address: int = 0
    data: int = 0
    masked: bool = True

    def encode(self) -> bytes:
        """The 16 bytes of the entry."""
        return struct.pack("<QII", self.address, self.data, spec.MSIX_ENTRY_MASKED if self.masked else 0)

    @classmethod
    def decode(cls, table: bytes, vector: int) -> MsixEntry:
        """Read entry ``vector`` out of the table's bytes; AccessError where the table is shorter."""
        if not 0 <= vector < len(table) // spec.MSIX_ENTRY_SIZE:
            raise AccessError(f"MSI-X vector {vector} of a table of {len(table)} bytes; an entry has 16 bytes")
        address, data, control = struct.unpack_from("<QII", table, vector * spec.MSIX_ENTRY_SIZE)
        return cls(address & ~0x3, data, bool(control & spec.MSIX_ENTRY_MASKED))
