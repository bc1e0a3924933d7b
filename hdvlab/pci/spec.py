"""Ref: PCI Local Bus 3.0, PCI Express Base 5.0, PCI Bus Power Management Interface 1.2.

Offsets are bytes from the start of configuration space (or of the capability), widths are in the comments, all
registers are little-endian. No value of any vendor stands here.
"""

from __future__ import annotations

import enum
from typing import Final

# Sizes of configuration space, in bytes (PCI 6.1; PCIe 7.2).
HEADER_SIZE: Final = 64
CONFIG_SIZE: Final = 256
EXTENDED_CONFIG_SIZE: Final = 4096

# Type 0 header (PCI 6.1, figure 6-1).
VENDOR_ID: Final = 0x00  # 16
DEVICE_ID: Final = 0x02  # 16
COMMAND: Final = 0x04  # 16
STATUS: Final = 0x06  # 16
REVISION_ID: Final = 0x08  # 8
PROG_IF: Final = 0x09  # 8
SUB_CLASS: Final = 0x0A  # 8
BASE_CLASS: Final = 0x0B  # 8
CACHE_LINE_SIZE: Final = 0x0C  # 8, in dwords
LATENCY_TIMER: Final = 0x0D  # 8, in bus clocks
HEADER_TYPE: Final = 0x0E  # 8
BIST: Final = 0x0F  # 8
BAR0: Final = 0x10  # 6 x 32
CARDBUS_CIS_POINTER: Final = 0x28  # 32
SUB_VENDOR_ID: Final = 0x2C  # 16
SUB_SYSTEM_ID: Final = 0x2E  # 16
EXPANSION_ROM: Final = 0x30  # 32
CAPABILITIES_POINTER: Final = 0x34  # 8
INTERRUPT_LINE: Final = 0x3C  # 8
INTERRUPT_PIN: Final = 0x3D  # 8
MIN_GNT: Final = 0x3E  # 8, in 250 ns
MAX_LAT: Final = 0x3F  # 8, in 250 ns

VENDOR_ID_ABSENT: Final = 0xFFFF  # what a read gives where no device answers (PCI 6.1)

# Header Type register (PCI 6.2.1).
HEADER_TYPE_NORMAL: Final = 0x00
HEADER_TYPE_BRIDGE: Final = 0x01
HEADER_TYPE_CARDBUS: Final = 0x02
HEADER_TYPE_LAYOUT: Final = 0x7F
HEADER_TYPE_MULTI_FUNCTION: Final = 0x80
CLASS_PCI_BRIDGE: Final = (0x06, 0x04)  # base class, sub class; the one whose header is of type 1
CARDBUS_CAPABILITIES_POINTER: Final = 0x14  # 8; the layout of type 2 puts it elsewhere

BIST_CAPABLE: Final = 0x80
BIST_START: Final = 0x40
BIST_COMPLETION_CODE: Final = 0x0F


class Command(enum.IntFlag):
    """Bits of the Command register (PCI 6.2.2)."""

    IO_SPACE = 1 << 0
    MEMORY_SPACE = 1 << 1
    BUS_MASTER = 1 << 2
    SPECIAL_CYCLES = 1 << 3
    MEMORY_WRITE_AND_INVALIDATE = 1 << 4
    VGA_PALETTE_SNOOP = 1 << 5
    PARITY_ERROR_RESPONSE = 1 << 6
    STEPPING = 1 << 7  # reserved since 3.0, still named by older documents and by lspci
    SERR_ENABLE = 1 << 8
    FAST_BACK_TO_BACK = 1 << 9
    INTERRUPT_DISABLE = 1 << 10


class Status(enum.IntFlag):
    """Bits of the Status register (PCI 6.2.3). ``DEVSEL_TIMING`` is a field of two bits."""

    INTERRUPT = 1 << 3
    CAPABILITIES_LIST = 1 << 4
    CAPABLE_66MHZ = 1 << 5
    USER_DEFINABLE = 1 << 6  # reserved since 2.2, still named by lspci
    FAST_BACK_TO_BACK = 1 << 7
    MASTER_DATA_PARITY_ERROR = 1 << 8
    DEVSEL_MEDIUM = 1 << 9
    DEVSEL_SLOW = 1 << 10
    DEVSEL_TIMING = 3 << 9
    SIGNALED_TARGET_ABORT = 1 << 11
    RECEIVED_TARGET_ABORT = 1 << 12
    RECEIVED_MASTER_ABORT = 1 << 13
    SIGNALED_SYSTEM_ERROR = 1 << 14
    DETECTED_PARITY_ERROR = 1 << 15


COMMAND_WRITABLE: Final = (
    Command.IO_SPACE
    | Command.MEMORY_SPACE
    | Command.BUS_MASTER
    | Command.PARITY_ERROR_RESPONSE
    | Command.SERR_ENABLE
    | Command.INTERRUPT_DISABLE
)
"""What a PCI Express function lets software write; the others are hardwired to 0 there (PCIe 7.5.1.1.3)."""

STATUS_WRITE_ONE_TO_CLEAR: Final = (
    Status.MASTER_DATA_PARITY_ERROR
    | Status.SIGNALED_TARGET_ABORT
    | Status.RECEIVED_TARGET_ABORT
    | Status.RECEIVED_MASTER_ABORT
    | Status.SIGNALED_SYSTEM_ERROR
    | Status.DETECTED_PARITY_ERROR
)
"""Status bits that a write of 1 clears (PCI 6.2.3)."""

# Base address registers (PCI 6.2.5.1).
BAR_COUNT: Final = 6
BRIDGE_BAR_COUNT: Final = 2
BAR_IO_SPACE: Final = 0x1
BAR_IO_RESERVED: Final = 0x2
BAR_IO_TYPE_BITS: Final = 0x3
BAR_MEMORY_TYPE: Final = 0x6
BAR_MEMORY_TYPE_32: Final = 0x0
BAR_MEMORY_TYPE_BELOW_1M: Final = 0x2  # reserved since 2.2
BAR_MEMORY_TYPE_64: Final = 0x4
BAR_MEMORY_PREFETCHABLE: Final = 0x8
BAR_MEMORY_TYPE_BITS: Final = 0xF
BAR_MEMORY_MINIMUM: Final = 16  # bytes
BAR_IO_MINIMUM: Final = 4  # bytes

EXPANSION_ROM_ENABLE: Final = 0x1
EXPANSION_ROM_ADDRESS: Final = 0xFFFF_F800

# Capabilities list (PCI 6.7).
CAPABILITY_ID: Final = 0  # 8
CAPABILITY_NEXT: Final = 1  # 8
CAPABILITY_CONTROL: Final = 2  # 16 in most capabilities
CAPABILITIES_START: Final = 0x40
CAPABILITY_ALIGNMENT: Final = 4  # bytes
CAPABILITY_POINTER_BITS: Final = 0xFC  # bits 1:0 are reserved and masked off


class CapabilityId(enum.IntEnum):
    """Capability IDs (PCI appendix H; PCI Code and ID Assignment, chapter 2)."""

    NULL = 0x00
    POWER_MANAGEMENT = 0x01
    AGP = 0x02
    VPD = 0x03
    SLOT_IDENTIFICATION = 0x04
    MSI = 0x05
    COMPACT_PCI_HOT_SWAP = 0x06
    PCI_X = 0x07
    HYPER_TRANSPORT = 0x08
    VENDOR_SPECIFIC = 0x09
    DEBUG_PORT = 0x0A
    COMPACT_PCI_RESOURCE_CONTROL = 0x0B
    PCI_HOT_PLUG = 0x0C
    BRIDGE_SUBSYSTEM_ID = 0x0D
    AGP_8X = 0x0E
    SECURE_DEVICE = 0x0F
    PCI_EXPRESS = 0x10
    MSI_X = 0x11
    SATA = 0x12
    ADVANCED_FEATURES = 0x13
    ENHANCED_ALLOCATION = 0x14
    FLATTENING_PORTAL_BRIDGE = 0x15


# MSI capability (PCI 6.8.1).
MSI_CONTROL: Final = 0x02  # 16
MSI_ADDRESS: Final = 0x04  # 32, bits 1:0 are zero
MSI_UPPER_ADDRESS: Final = 0x08  # 32, only with MSI_CONTROL_64BIT
MSI_DATA_32: Final = 0x08  # 16
MSI_DATA_64: Final = 0x0C  # 16
MSI_MASK_32: Final = 0x0C  # 32
MSI_MASK_64: Final = 0x10  # 32
MSI_PENDING_32: Final = 0x10  # 32
MSI_PENDING_64: Final = 0x14  # 32
MSI_CONTROL_ENABLE: Final = 1 << 0
MSI_CONTROL_MULTIPLE_MESSAGE_CAPABLE: Final = 7 << 1  # log2 of the vectors asked for
MSI_CONTROL_MULTIPLE_MESSAGE_ENABLE: Final = 7 << 4  # log2 of the vectors granted
MSI_CONTROL_64BIT: Final = 1 << 7
MSI_CONTROL_PER_VECTOR_MASKING: Final = 1 << 8
MSI_ADDRESS_BITS: Final = 0xFFFF_FFFC
MSI_VECTORS_MAXIMUM: Final = 32

# MSI-X capability (PCI 6.8.2).
MSIX_CONTROL: Final = 0x02  # 16
MSIX_TABLE: Final = 0x04  # 32: offset in bits 31:3, BAR in bits 2:0
MSIX_PBA: Final = 0x08  # 32: offset in bits 31:3, BAR in bits 2:0
MSIX_SIZE: Final = 12
MSIX_CONTROL_TABLE_SIZE: Final = 0x7FF  # vectors - 1
MSIX_CONTROL_FUNCTION_MASK: Final = 1 << 14
MSIX_CONTROL_ENABLE: Final = 1 << 15
MSIX_BIR: Final = 0x7
MSIX_ALIGNMENT: Final = 8  # bytes
MSIX_VECTORS_MAXIMUM: Final = 2048
MSIX_ENTRY_SIZE: Final = 16
MSIX_ENTRY_ADDRESS: Final = 0x0  # 64, bits 1:0 are zero
MSIX_ENTRY_DATA: Final = 0x8  # 32
MSIX_ENTRY_VECTOR_CONTROL: Final = 0xC  # 32
MSIX_ENTRY_MASKED: Final = 1 << 0

# Vendor-specific capability (PCI appendix H).
VENDOR_LENGTH: Final = 0x02  # 8, of the whole capability, this header included
VENDOR_DATA: Final = 0x03

# Power management capability (PM 3.2).
PM_CAPABILITIES: Final = 0x02  # 16
PM_CONTROL_STATUS: Final = 0x04  # 16
PM_BRIDGE_EXTENSIONS: Final = 0x06  # 8
PM_SIZE: Final = 8
PM_VERSION: Final = 0x7
PM_PME_CLOCK: Final = 1 << 3
PM_DEVICE_SPECIFIC_INITIALIZATION: Final = 1 << 5
PM_AUX_CURRENT_SHIFT: Final = 6  # three bits
PM_AUX_CURRENT_MA: Final = (0, 55, 100, 160, 220, 270, 320, 375)
PM_D1: Final = 1 << 9
PM_D2: Final = 1 << 10
PM_PME_SUPPORT_SHIFT: Final = 11  # five bits: D0, D1, D2, D3hot, D3cold
PM_POWER_STATE: Final = 0x3
PM_NO_SOFT_RESET: Final = 1 << 3
PM_PME_ENABLE: Final = 1 << 8
PM_DATA_SELECT_SHIFT: Final = 9  # four bits
PM_DATA_SCALE_SHIFT: Final = 13  # two bits
PM_PME_STATUS: Final = 1 << 15

# PCI Express capability (PCIe 7.5.3.2), as far as a listing needs it.
PCIE_CAPABILITIES: Final = 0x02  # 16
PCIE_VERSION: Final = 0xF
PCIE_PORT_TYPE_SHIFT: Final = 4  # four bits
PCIE_SLOT_IMPLEMENTED: Final = 1 << 8
PCIE_INTERRUPT_MESSAGE_SHIFT: Final = 9  # five bits
