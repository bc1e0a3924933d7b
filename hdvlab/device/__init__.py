"""What a device author uses: :class:`Device`, and the registers and capabilities it is described with."""

from hdvlab.device.compiled import CompiledDevice
from hdvlab.device.device import Device
from hdvlab.device.fault import Fault
from hdvlab.device.interrupt import InterruptState
from hdvlab.device.pluggable import CannotPeekError, Pluggable
from hdvlab.device.remote import RemoteDevice, serve

__all__ = [
    "CannotPeekError",
    "CompiledDevice",
    "Device",
    "Fault",
    "InterruptState",
    "Pluggable",
    "RemoteDevice",
    "serve",
]
