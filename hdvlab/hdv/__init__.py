"""The HDV vocabulary: enumerations, structures, device hosts, guest memory, doorbells, sections, callbacks."""

from hdvlab.hdv.compute_system import ComputeSystem
from hdvlab.hdv.constants import BarSelector, DeviceType, DoorbellFlags, InterfaceVersion, MmioMappingFlags
from hdvlab.hdv.doorbell import Doorbell
from hdvlab.hdv.host import DeviceHost
from hdvlab.hdv.memory import Aperture, deliver_guest_interrupt, read_guest_memory, write_guest_memory
from hdvlab.hdv.section import Section
from hdvlab.hdv.structures import PnpId

__all__ = [
    "Aperture",
    "BarSelector",
    "ComputeSystem",
    "DeviceHost",
    "DeviceType",
    "Doorbell",
    "DoorbellFlags",
    "InterfaceVersion",
    "MmioMappingFlags",
    "PnpId",
    "Section",
    "deliver_guest_interrupt",
    "read_guest_memory",
    "write_guest_memory",
]
