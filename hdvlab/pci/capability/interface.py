"""What every capability can do.

Ref: PCI Local Bus 3.0, section 6.7 (capabilities list).
"""

from __future__ import annotations

from typing import Protocol

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import spec


class Capability(Protocol):
    """A structure in the capabilities list, as a device describes it. Its state at run time is not part of it."""

    @property
    def capability_id(self) -> int:
        """8 bits, :class:`~hdvlab.pci.spec.CapabilityId`."""

    @property
    def size(self) -> int:
        """Bytes, the two of the list header included; the next capability starts at the dword behind it."""

    def encode(self, next_pointer: int) -> bytes:
        """Contents after reset, ``size`` bytes; ``next_pointer`` is the offset of the next capability, 0 = last."""

    def write_mask(self) -> bytes:
        """``size`` bytes, per bit 1 = a guest's write is stored. Shares no bit with :meth:`w1c_mask`."""

    def w1c_mask(self) -> bytes:
        """``size`` bytes, per bit 1 = a guest's write of 1 clears the bit and a write of 0 leaves it."""


def list_header(capability_id: int, next_pointer: int) -> bytes:
    """The two bytes that open a capability.

    Raises
    ------
    RegisterError
        ``next_pointer`` is neither 0 nor a dword-aligned offset in 0x40..0xFC.
    """
    if next_pointer and (
        not spec.CAPABILITIES_START <= next_pointer < spec.CONFIG_SIZE or next_pointer % spec.CAPABILITY_ALIGNMENT
    ):
        raise RegisterError(
            f"next capability at {next_pointer:#x}; it is at a multiple of {spec.CAPABILITY_ALIGNMENT} in "
            f"{spec.CAPABILITIES_START:#x}..{spec.CAPABILITY_POINTER_BITS:#x}, or 0 for none"
        )
    return bytes((capability_id, next_pointer))


def capability_bytes(config: bytes, offset: int, size: int, capability_id: int) -> bytes:
    """Cut ``size`` bytes of one capability out of configuration space.

    Raises
    ------
    AccessError
        They are not all there, or another capability is.
    """
    data = bytes(config[offset : offset + size]) if offset >= 0 else b""
    if len(data) < size:
        raise AccessError(
            f"capability {capability_id:#04x} at {offset:#x} has {size} bytes, configuration space ends at "
            f"{len(config):#x}; read more of it"
        )
    if data[spec.CAPABILITY_ID] != capability_id:
        raise AccessError(
            f"capability at {offset:#x} has ID {data[spec.CAPABILITY_ID]:#04x}, not {capability_id:#04x}; see walk()"
        )
    return data
