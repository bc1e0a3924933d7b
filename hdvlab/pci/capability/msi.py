"""Message signalled interrupts.

Ref: PCI Local Bus 3.0, section 6.8.1 (MSI capability structure).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import spec
from hdvlab.pci.capability.interface import capability_bytes, list_header


@dataclass(frozen=True)
class MsiCapability:
    """MSI capability.

    Parameters
    ----------
    vectors : int
        Interrupts asked for: 1, 2, 4, 8, 16 or 32. The guest may grant fewer.
    bits64 : bool
        The message address has 64 bits. Hosts place it above 4 GiB only if so.
    per_vector_masking : bool
        Mask and pending registers are there.

    Raises
    ------
    RegisterError
        Another number of vectors.
    """

    vectors: int = 1
    bits64: bool = True
    per_vector_masking: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.vectors <= spec.MSI_VECTORS_MAXIMUM or self.vectors & (self.vectors - 1):
            raise RegisterError(
                f"MSI with {self.vectors} vectors; it has 1, 2, 4, 8, 16 or {spec.MSI_VECTORS_MAXIMUM}, "
                f"round up or use MSI-X"
            )

    @property
    def capability_id(self) -> int:
        return spec.CapabilityId.MSI

    @property
    def size(self) -> int:
        """Bytes: 10, 14 with 64 bits; 20 or 24 with masking."""
        if self.per_vector_masking:
            return self._pending_offset + 4
        return self._data_offset + 2

    @property
    def _data_offset(self) -> int:
        return spec.MSI_DATA_64 if self.bits64 else spec.MSI_DATA_32

    @property
    def _mask_offset(self) -> int:
        return spec.MSI_MASK_64 if self.bits64 else spec.MSI_MASK_32

    @property
    def _pending_offset(self) -> int:
        return spec.MSI_PENDING_64 if self.bits64 else spec.MSI_PENDING_32

    def encode(self, next_pointer: int) -> bytes:
        """Contents after reset: disabled, one vector granted, no address."""
        control = (self.vectors.bit_length() - 1) << 1
        control |= spec.MSI_CONTROL_64BIT if self.bits64 else 0
        control |= spec.MSI_CONTROL_PER_VECTOR_MASKING if self.per_vector_masking else 0
        head = list_header(self.capability_id, next_pointer) + struct.pack("<H", control)
        return head.ljust(self.size, b"\0")

    def write_mask(self) -> bytes:
        """Enable, granted vectors, address, data, and as many mask bits as there are vectors."""
        mask = bytearray(self.size)
        control = spec.MSI_CONTROL_ENABLE | spec.MSI_CONTROL_MULTIPLE_MESSAGE_ENABLE
        struct.pack_into("<HI", mask, spec.MSI_CONTROL, control, spec.MSI_ADDRESS_BITS)
        if self.bits64:
            struct.pack_into("<I", mask, spec.MSI_UPPER_ADDRESS, 0xFFFF_FFFF)
        struct.pack_into("<H", mask, self._data_offset, 0xFFFF)
        if self.per_vector_masking:
            struct.pack_into("<I", mask, self._mask_offset, (1 << self.vectors) - 1)
        return bytes(mask)

    def w1c_mask(self) -> bytes:
        """No bit: the pending bits are read-only."""
        return bytes(self.size)

    @classmethod
    def decode(cls, config: bytes, offset: int) -> MsiCapability:
        """Read the description out of configuration space.

        Raises
        ------
        AccessError
            No MSI capability at ``offset``, cut off, or with a reserved number of vectors (6 and 7 in the field).
        """
        head = capability_bytes(config, offset, 4, spec.CapabilityId.MSI)
        (control,) = struct.unpack_from("<H", head, spec.MSI_CONTROL)
        capable = (control & spec.MSI_CONTROL_MULTIPLE_MESSAGE_CAPABLE) >> 1
        if 1 << capable > spec.MSI_VECTORS_MAXIMUM:
            raise AccessError(f"MSI at {offset:#x} asks for 2**{capable} vectors, the most is 2**5; mend the device")
        found = cls(
            1 << capable,
            bool(control & spec.MSI_CONTROL_64BIT),
            bool(control & spec.MSI_CONTROL_PER_VECTOR_MASKING),
        )
        capability_bytes(config, offset, found.size, spec.CapabilityId.MSI)
        return found


@dataclass(frozen=True)
class MsiState:
    """What the guest wrote into an MSI capability.

    Attributes
    ----------
    enabled : bool
        MSI is on.
    vectors : int
        Vectors granted, never more than were asked for.
    address : int
        Guest-physical address of the message, 64 bits.
    data : int
        16 bits, of vector 0.
    mask, pending : int
        One bit per vector; 0 without per-vector masking.
    """

    enabled: bool
    vectors: int
    address: int
    data: int
    mask: int = 0
    pending: int = 0

    @classmethod
    def read(cls, config: bytes, offset: int) -> MsiState:
        """Read the state out of configuration space; :meth:`MsiCapability.decode`'s errors apply."""
        shape = MsiCapability.decode(config, offset)
        data = capability_bytes(config, offset, shape.size, spec.CapabilityId.MSI)
        control, address = struct.unpack_from("<HI", data, spec.MSI_CONTROL)
        if shape.bits64:
            address |= struct.unpack_from("<I", data, spec.MSI_UPPER_ADDRESS)[0] << 32
        mask = pending = 0
        if shape.per_vector_masking:
            mask, pending = struct.unpack_from("<II", data, shape._mask_offset)
        granted = (control & spec.MSI_CONTROL_MULTIPLE_MESSAGE_ENABLE) >> 4
        return cls(
            enabled=bool(control & spec.MSI_CONTROL_ENABLE),
            vectors=min(1 << granted, shape.vectors),  # a guest may write a reserved or too large number
            address=address & ~0x3,
            data=struct.unpack_from("<H", data, shape._data_offset)[0],
            mask=mask,
            pending=pending,
        )

    def message(self, vector: int) -> tuple[int, int]:
        """Address (64 bits) and data (16 bits) to send for a vector (section 6.8.1.3).

        Raises
        ------
        AccessError
            The guest has granted fewer vectors.
        """
        if not 0 <= vector < self.vectors:
            raise AccessError(f"MSI vector {vector} of {self.vectors} granted; use 0..{self.vectors - 1}")
        return self.address, (self.data & ~(self.vectors - 1)) | vector

    def masked(self, vector: int) -> bool:
        """The vector's message must wait (and its pending bit be set)."""
        return bool(self.mask >> vector & 1)
