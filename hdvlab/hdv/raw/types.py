"""HDV's enumerations and structures under their C names.

Ref: HyperVDeviceVirtualization.h (Windows SDK).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from hdvlab.errors import AccessError
from hdvlab.hdv.constants import (
    BarSelector,
    DeviceHostFlags,
    DeviceType,
    DoorbellFlags,
    InterfaceVersion,
    MmioMappingFlags,
)

__all__ = [
    "HCS_SYSTEM",
    "HDV_DEVICE",
    "HDV_DEVICE_HOST_FLAGS",
    "HDV_DEVICE_TYPE",
    "HDV_DOORBELL_FLAGS",
    "HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE",
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_ANY",
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE",
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD",
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD",
    "HDV_DOORBELL_FLAG_TRIGGER_SIZE_WORD",
    "HDV_HOST",
    "HDV_MMIO_MAPPING_FLAGS",
    "HDV_PCI_BAR0",
    "HDV_PCI_BAR1",
    "HDV_PCI_BAR2",
    "HDV_PCI_BAR3",
    "HDV_PCI_BAR4",
    "HDV_PCI_BAR5",
    "HDV_PCI_BAR_COUNT",
    "HDV_PCI_BAR_SELECTOR",
    "HDV_PCI_INTERFACE_VERSION",
    "HDV_PCI_PNP_ID",
    "HdvDeviceHostFlagInitializeComSecurity",
    "HdvDeviceHostFlagNone",
    "HdvDeviceType",
    "HdvDeviceTypePCI",
    "HdvDeviceTypeUndefined",
    "HdvMmioMappingFlagExecutable",
    "HdvMmioMappingFlagNone",
    "HdvMmioMappingFlagWriteable",
    "HdvPciBarSelector",
    "HdvPciDeviceInterfaceVersion1",
    "HdvPciDeviceInterfaceVersionInvalid",
    "HdvPciInterfaceVersion",
    "HdvPciPnpId",
]

#: Handles are opaque: a cffi ``void *``.
HCS_SYSTEM: TypeAlias = Any
HDV_HOST: TypeAlias = Any
HDV_DEVICE: TypeAlias = Any

HDV_DEVICE_TYPE = DeviceType
HdvDeviceType = DeviceType
HdvDeviceTypeUndefined = DeviceType.UNDEFINED
HdvDeviceTypePCI = DeviceType.PCI

HDV_DEVICE_HOST_FLAGS = DeviceHostFlags
HdvDeviceHostFlagNone = DeviceHostFlags.NONE
HdvDeviceHostFlagInitializeComSecurity = DeviceHostFlags.INITIALIZE_COM_SECURITY

HDV_PCI_BAR_SELECTOR = BarSelector
HdvPciBarSelector = BarSelector
HDV_PCI_BAR0 = BarSelector.BAR0
HDV_PCI_BAR1 = BarSelector.BAR1
HDV_PCI_BAR2 = BarSelector.BAR2
HDV_PCI_BAR3 = BarSelector.BAR3
HDV_PCI_BAR4 = BarSelector.BAR4
HDV_PCI_BAR5 = BarSelector.BAR5
HDV_PCI_BAR_COUNT = 6

HDV_PCI_INTERFACE_VERSION = InterfaceVersion
HdvPciInterfaceVersion = InterfaceVersion
HdvPciDeviceInterfaceVersionInvalid = InterfaceVersion.INVALID
HdvPciDeviceInterfaceVersion1 = InterfaceVersion.VERSION_1

HDV_DOORBELL_FLAGS = DoorbellFlags
HDV_DOORBELL_FLAG_TRIGGER_SIZE_ANY = DoorbellFlags.TRIGGER_SIZE_ANY
HDV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE = DoorbellFlags.TRIGGER_SIZE_BYTE
HDV_DOORBELL_FLAG_TRIGGER_SIZE_WORD = DoorbellFlags.TRIGGER_SIZE_WORD
HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD = DoorbellFlags.TRIGGER_SIZE_DWORD
HDV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD = DoorbellFlags.TRIGGER_SIZE_QWORD
HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE = DoorbellFlags.TRIGGER_ANY_VALUE

HDV_MMIO_MAPPING_FLAGS = MmioMappingFlags
HdvMmioMappingFlagNone = MmioMappingFlags.NONE
HdvMmioMappingFlagWriteable = MmioMappingFlags.WRITEABLE
HdvMmioMappingFlagExecutable = MmioMappingFlags.EXECUTABLE


@dataclass
class HDV_PCI_PNP_ID:
    """``HDV_PCI_PNP_ID``: who a device is, as its config space says it. What GetDetails returns first.

    Attributes
    ----------
    VendorID, DeviceID : int
        16 bits each, config space 0x00 and 0x02.
    RevisionID, ProgIf, SubClass, BaseClass : int
        8 bits each, config space 0x08 to 0x0b.
    SubVendorID, SubSystemID : int
        16 bits each, config space 0x2c and 0x2e.

    Notes
    -----
    12 bytes in C. :class:`hdvlab.hdv.PnpId` is the same with Python's names; either will do wherever one is asked for.
    """

    VendorID: int = 0
    DeviceID: int = 0
    RevisionID: int = 0
    ProgIf: int = 0
    SubClass: int = 0
    BaseClass: int = 0
    SubVendorID: int = 0
    SubSystemID: int = 0

    def fill(self, target: Any) -> None:
        """Write the fields into a C ``HDV_PCI_PNP_ID``; AccessError for one that does not fit."""
        for field in fields(self):
            try:
                setattr(target, field.name, getattr(self, field.name))
            except OverflowError:
                raise AccessError(f"{field.name} is {getattr(self, field.name):#x}, which does not fit") from None


HdvPciPnpId = HDV_PCI_PNP_ID
