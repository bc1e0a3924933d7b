"""Virtio over PCI: an entropy source, a disk, what all virtio devices share, and drivers for them.

``%hdv plug virtio.blk`` and ``%hdv plug virtio.rng``; another device is a subclass of :class:`VirtioDevice`.
"""

from hdvlab.devices.virtio.blk import Blk
from hdvlab.devices.virtio.driver import BlkDriver, RngDriver, VirtioDriver, driver
from hdvlab.devices.virtio.queue import Chain, QueueError, Virtqueue
from hdvlab.devices.virtio.registers import DEVICE_CONFIG, VirtioRegisters
from hdvlab.devices.virtio.rng import Rng
from hdvlab.devices.virtio.transport import VirtioDevice

#: What ``plug`` finds here, each as ``virtio.NAME``.
DEVICES = (Blk, Rng)

__all__ = [
    "DEVICES",
    "DEVICE_CONFIG",
    "Blk",
    "BlkDriver",
    "Chain",
    "QueueError",
    "Rng",
    "RngDriver",
    "VirtioDevice",
    "VirtioDriver",
    "VirtioRegisters",
    "Virtqueue",
    "driver",
]
