"""What a device author uses: :class:`Device`, and the registers and capabilities it is described with."""

from hdvlab.device.device import Device
from hdvlab.device.fault import Fault
from hdvlab.device.remote import RemoteDevice, serve

__all__ = ["Device", "Fault", "RemoteDevice", "serve"]
