"""Vendor-specific capability.

Ref: PCI Local Bus 3.0, appendix H (capability ID 09h: a length byte, then what the vendor likes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import spec
from hdvlab.pci.capability.interface import capability_bytes, list_header

DATA_MAXIMUM: Final = spec.CONFIG_SIZE - spec.CAPABILITIES_START - spec.VENDOR_DATA


@dataclass(frozen=True)
class VendorCapability:
    """Vendor-specific capability, read-only.

    Parameters
    ----------
    data : bytes
        What stands behind the length byte, 0 to 189 bytes.

    Raises
    ------
    RegisterError
        More data than configuration space can hold.
    """

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) > DATA_MAXIMUM:
            raise RegisterError(
                f"vendor capability with {len(self.data)} bytes of data, {DATA_MAXIMUM} fit; put the rest into a BAR"
            )

    @property
    def capability_id(self) -> int:
        return spec.CapabilityId.VENDOR_SPECIFIC

    @property
    def size(self) -> int:
        """Bytes: the data and 3."""
        return spec.VENDOR_DATA + len(self.data)

    def encode(self, next_pointer: int) -> bytes:
        """Contents after reset."""
        return list_header(self.capability_id, next_pointer) + bytes((self.size,)) + self.data

    def write_mask(self) -> bytes:
        """No bit."""
        return bytes(self.size)

    def w1c_mask(self) -> bytes:
        """No bit."""
        return bytes(self.size)

    @classmethod
    def decode(cls, config: bytes, offset: int) -> VendorCapability:
        """Read the data out of configuration space.

        Raises
        ------
        AccessError
            No vendor-specific capability at ``offset``, cut off, or with a length that leaves out its own header.
        """
        head = capability_bytes(config, offset, spec.VENDOR_DATA, spec.CapabilityId.VENDOR_SPECIFIC)
        length = head[spec.VENDOR_LENGTH]
        if not spec.VENDOR_DATA <= length <= spec.VENDOR_DATA + DATA_MAXIMUM:
            raise AccessError(
                f"vendor capability at {offset:#x} has length {length}, which is outside "
                f"{spec.VENDOR_DATA}..{spec.VENDOR_DATA + DATA_MAXIMUM}; count its own three bytes, mend the device"
            )
        data = capability_bytes(config, offset, length, spec.CapabilityId.VENDOR_SPECIFIC)
        return cls(data[spec.VENDOR_DATA :])
