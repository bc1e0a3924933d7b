"""The vendor-specific capabilities that say where a virtio device's structures are.

Ref: Virtio 1.2, sections 4.1.4 (virtio_pci_cap), 4.1.4.4 (notify), 4.1.4.9 (PCI configuration access).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hdvlab.devices.virtio.spec import CAPABILITY_SIZE, CapabilityType
from hdvlab.pci import CapabilityId

_HEAD = struct.Struct("<BBB2xII")


@dataclass(frozen=True)
class VirtioCapability:
    """Where one structure lies.

    Parameters
    ----------
    cfg_type : CapabilityType
        Which structure.
    bar : int
        Its BAR.
    offset, length : int
        Bytes from the BAR's start, and bytes of it.
    notify_off_multiplier : int
        Bytes between the notification addresses of two queues; of NOTIFY_CFG only.
    """

    cfg_type: CapabilityType
    bar: int = 0
    offset: int = 0
    length: int = 0
    notify_off_multiplier: int = 0

    @property
    def capability_id(self) -> int:
        return CapabilityId.VENDOR_SPECIFIC

    @property
    def size(self) -> int:
        """Bytes: 16, and 4 more for the multiplier or the access window."""
        return CAPABILITY_SIZE + (4 if self.cfg_type in (CapabilityType.NOTIFY_CFG, CapabilityType.PCI_CFG) else 0)

    def encode(self, next_pointer: int) -> bytes:
        """Contents after reset."""
        head = bytes((self.capability_id, next_pointer, self.size))
        data = head + _HEAD.pack(self.cfg_type, self.bar, 0, self.offset, self.length)
        return data + self.notify_off_multiplier.to_bytes(4, "little") * (self.size > CAPABILITY_SIZE)

    def write_mask(self) -> bytes:
        """Of PCI_CFG: BAR, offset, length and the data; else no bit."""
        mask = bytearray(self.size)
        if self.cfg_type is CapabilityType.PCI_CFG:
            mask[4], mask[8:20] = 0xFF, bytes((0xFF,)) * 12
        return bytes(mask)

    def w1c_mask(self) -> bytes:
        """No bit."""
        return bytes(self.size)
