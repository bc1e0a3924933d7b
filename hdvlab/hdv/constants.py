"""HDV's enumerations; every member also has its C name.

Ref: HyperVDeviceVirtualization.h (Windows SDK).
"""

from __future__ import annotations

import enum


class DeviceType(enum.IntEnum):
    """``HDV_DEVICE_TYPE``."""

    UNDEFINED = 0
    PCI = 1
    HdvDeviceTypeUndefined = 0
    HdvDeviceTypePCI = 1


class DeviceHostFlags(enum.IntFlag):
    """``HDV_DEVICE_HOST_FLAGS``."""

    NONE = 0
    INITIALIZE_COM_SECURITY = 1
    HdvDeviceHostFlagNone = 0
    HdvDeviceHostFlagInitializeComSecurity = 1


class BarSelector(enum.IntEnum):
    """``HDV_PCI_BAR_SELECTOR``. A 64-bit BAR goes by the number of its lower half."""

    BAR0 = 0
    BAR1 = 1
    BAR2 = 2
    BAR3 = 3
    BAR4 = 4
    BAR5 = 5
    HDV_PCI_BAR0 = 0
    HDV_PCI_BAR1 = 1
    HDV_PCI_BAR2 = 2
    HDV_PCI_BAR3 = 3
    HDV_PCI_BAR4 = 4
    HDV_PCI_BAR5 = 5


class InterfaceVersion(enum.IntEnum):
    """``HDV_PCI_INTERFACE_VERSION``."""

    INVALID = 0
    VERSION_1 = 1
    HdvPciDeviceInterfaceVersionInvalid = 0
    HdvPciDeviceInterfaceVersion1 = 1


class DoorbellFlags(enum.IntFlag):
    """``HDV_DOORBELL_FLAGS``: a size code (a number, not a mask) and the any-value bit."""

    TRIGGER_SIZE_ANY = 0
    TRIGGER_SIZE_BYTE = 1
    TRIGGER_SIZE_WORD = 2
    TRIGGER_SIZE_DWORD = 3
    TRIGGER_SIZE_QWORD = 4
    TRIGGER_ANY_VALUE = 0x80000000
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_ANY = 0
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE = 1
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_WORD = 2
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD = 3
    HDV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD = 4
    HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE = 0x80000000

    @classmethod
    def for_trigger(cls, size: int | None, any_value: bool) -> DoorbellFlags:
        """Flags for writes of ``size`` bytes (None = any size), of any value or of one."""
        code = 0 if size is None else size.bit_length()
        return cls(code | (cls.TRIGGER_ANY_VALUE if any_value else 0))


class MmioMappingFlags(enum.IntFlag):
    """``HDV_MMIO_MAPPING_FLAGS``."""

    NONE = 0
    WRITEABLE = 1
    EXECUTABLE = 2
    HdvMmioMappingFlagNone = 0
    HdvMmioMappingFlagWriteable = 1
    HdvMmioMappingFlagExecutable = 2


#: Size of the pages that sections are given in, bytes.
PAGE_SIZE = 4096
