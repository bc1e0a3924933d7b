"""The HDV vocabulary: enumerations, structures, device hosts, guest memory, doorbells, sections, callbacks.

The names of the API itself (``HdvReadGuestMemory``, ``HDV_PCI_DEVICE_INTERFACE``, ...) are :mod:`hdvlab.hdv.raw`.
"""

from hdvlab.hdv import raw
from hdvlab.hdv.broker import Broker, RemoteHost
from hdvlab.hdv.compute_system import ComputeSystem
from hdvlab.hdv.constants import (
    BarSelector,
    DeviceHostFlags,
    DeviceType,
    DoorbellFlags,
    InterfaceVersion,
    MmioMappingFlags,
)
from hdvlab.hdv.doorbell import Doorbell
from hdvlab.hdv.host import DeviceHost
from hdvlab.hdv.memory import Aperture, deliver_guest_interrupt, read_guest_memory, write_guest_memory
from hdvlab.hdv.proxy import ProxyDeviceHost
from hdvlab.hdv.raw import *  # noqa: F403
from hdvlab.hdv.section import Section
from hdvlab.hdv.structures import PnpId

__all__ = [
    "Aperture",
    "BarSelector",
    "Broker",
    "ComputeSystem",
    "DeviceHost",
    "DeviceHostFlags",
    "DeviceType",
    "Doorbell",
    "DoorbellFlags",
    "InterfaceVersion",
    "MmioMappingFlags",
    "PnpId",
    "ProxyDeviceHost",
    "RemoteHost",
    "Section",
    "deliver_guest_interrupt",
    "read_guest_memory",
    "write_guest_memory",
]
__all__ += raw.__all__
