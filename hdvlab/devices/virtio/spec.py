"""Numbers of virtio devices on PCI.

Ref: Virtual I/O Device (VIRTIO) 1.2, sections 2.1 (status), 2.7 (split virtqueues), 4.1 (PCI), 5.2 (block), 5.4
(entropy), 6 (reserved feature bits).
"""

from __future__ import annotations

import enum
from typing import Final

# ---- 4.1.2: discovery ------------------------------------------------------------------------------------------------

VENDOR_ID: Final = 0x1AF4
#: PCI device id of a device type, without the type.
DEVICE_ID_BASE: Final = 0x1040
#: Sub system ids of 0x40 or more keep drivers of transitional devices away (4.1.2.1).
SUB_SYSTEM_ID: Final = 0x1100
REVISION_ID: Final = 1


class DeviceType(enum.IntEnum):
    """Section 5."""

    BLOCK = 2
    ENTROPY = 4


# ---- 4.1.4: capabilities ---------------------------------------------------------------------------------------------


class CapabilityType(enum.IntEnum):
    """``cfg_type`` of a vendor-specific capability (4.1.4)."""

    COMMON_CFG = 1
    NOTIFY_CFG = 2
    ISR_CFG = 3
    DEVICE_CFG = 4
    PCI_CFG = 5


#: Bytes of a capability in front of what only some types have behind it (``struct virtio_pci_cap``).
CAPABILITY_SIZE: Final = 16
#: ISR status bits (4.1.4.5).
ISR_QUEUE: Final = 1
ISR_CONFIG: Final = 2
#: No MSI-X vector (4.1.5.1.2).
NO_VECTOR: Final = 0xFFFF


# ---- 2.1: device status ----------------------------------------------------------------------------------------------


class Status(enum.IntFlag):
    """``device_status``."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128


# ---- 6: feature bits -------------------------------------------------------------------------------------------------


class Feature(enum.IntFlag):
    """Feature bits of every device type."""

    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    VERSION_1 = 1 << 32


# ---- 2.7: split virtqueues -------------------------------------------------------------------------------------------

QUEUE_SIZE_MAXIMUM: Final = 32768
DESCRIPTOR_SIZE: Final = 16
DESCRIPTOR_ALIGNMENT: Final = 16
AVAIL_ALIGNMENT: Final = 2
USED_ALIGNMENT: Final = 4
#: Bytes of ``flags`` and ``idx`` in front of both rings.
RING_HEADER: Final = 4
AVAIL_ENTRY_SIZE: Final = 2
USED_ENTRY_SIZE: Final = 8
#: ``flags`` of the avail ring: the driver wants no interrupt.
AVAIL_NO_INTERRUPT: Final = 1
#: Bytes that one chain may describe (2.7.5).
CHAIN_MAXIMUM: Final = 1 << 32


class DescriptorFlags(enum.IntFlag):
    """``flags`` of a descriptor."""

    NEXT = 1
    WRITE = 2
    INDIRECT = 4


# ---- 5.2: block ------------------------------------------------------------------------------------------------------

SECTOR_SIZE: Final = 512
BLK_HEADER_SIZE: Final = 16
BLK_ID_SIZE: Final = 20
#: Bytes of ``struct virtio_blk_discard_write_zeroes``, and its flag bit.
BLK_SEGMENT_SIZE: Final = 16
BLK_UNMAP: Final = 1


class BlkFeature(enum.IntFlag):
    """5.2.3."""

    SEG_MAX = 1 << 2
    RO = 1 << 5
    BLK_SIZE = 1 << 6
    FLUSH = 1 << 9
    MQ = 1 << 12
    DISCARD = 1 << 13
    WRITE_ZEROES = 1 << 14


class BlkType(enum.IntEnum):
    """``type`` of a request (5.2.6)."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8
    DISCARD = 11
    WRITE_ZEROES = 13


class BlkStatus(enum.IntEnum):
    """``status`` of a request (5.2.6)."""

    OK = 0
    IOERR = 1
    UNSUPP = 2
