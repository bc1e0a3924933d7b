"""What a virtio device has in its BARs, the same for every type.

Ref: Virtio 1.2, sections 4.1.4.3 (common configuration), 4.1.4.4 (notification), 4.1.4.5 (ISR status).
"""

from __future__ import annotations

from typing import Any

from hdvlab.devices.virtio.capability import VirtioCapability
from hdvlab.devices.virtio.spec import NO_VECTOR, CapabilityType, Status
from hdvlab.pci import MsixCapability
from hdvlab.pci.capability import Capability
from hdvlab.registers import Bar, Register
from hdvlab.registers.bar import BarType

#: Bytes from BAR0's start.
COMMON_CONFIG, ISR_STATUS, DEVICE_CONFIG, NOTIFICATIONS = 0x0000, 0x1000, 0x2000, 0x3000
COMMON_CONFIG_SIZE = 0x38
#: Bytes between the notification addresses of two queues.
NOTIFY_OFF_MULTIPLIER = 4
_MOST_QUEUES = 0x1000 // NOTIFY_OFF_MULTIPLIER
_PENDING_BITS = 0x8000


class VirtioRegisters(Bar, size=0x4000):
    """BAR0. What only one device type has stands at DEVICE_CONFIG: ``class bar0(VirtioRegisters): ...``."""

    DEVICE_FEATURE_SELECT = Register(0x00, access_sizes=[4], doc="which 32 feature bits DEVICE_FEATURE shows")
    DEVICE_FEATURE = Register(0x04, access="ro", access_sizes=[4], doc="feature bits offered")
    DRIVER_FEATURE_SELECT = Register(0x08, access_sizes=[4])
    DRIVER_FEATURE = Register(0x0C, access_sizes=[4], doc="feature bits that the driver accepts")
    CONFIG_MSIX_VECTOR = Register(0x10, 16, reset=NO_VECTOR, access_sizes=[2], doc="for configuration changes")
    NUM_QUEUES = Register(0x12, 16, access="ro", access_sizes=[2])
    DEVICE_STATUS = Register(
        0x14, 8, access_sizes=[1], fields={str(bit.name): bit.bit_length() - 1 for bit in Status}, doc="0 resets"
    )
    CONFIG_GENERATION = Register(0x15, 8, access="ro", access_sizes=[1], doc="counts configuration changes")
    QUEUE_SELECT = Register(0x16, 16, access_sizes=[2], doc="which queue the registers from here on are of")
    QUEUE_SIZE = Register(0x18, 16, access_sizes=[2], doc="descriptors; 0: there is no such queue")
    QUEUE_MSIX_VECTOR = Register(0x1A, 16, reset=NO_VECTOR, access_sizes=[2])
    QUEUE_ENABLE = Register(0x1C, 16, access_sizes=[2])
    QUEUE_NOTIFY_OFF = Register(0x1E, 16, access="ro", access_sizes=[2], doc="its notification address, times 4")
    QUEUE_DESC = Register(0x20, 64, access_sizes=[4, 8], doc="guest-physical address of the descriptor table")
    QUEUE_DRIVER = Register(0x28, 64, access_sizes=[4, 8], doc="of the available ring")
    QUEUE_DEVICE = Register(0x30, 64, access_sizes=[4, 8], doc="of the used ring")
    ISR = Register(ISR_STATUS, 8, access="rc", fields={"QUEUE": 0, "CONFIG": 1}, doc="causes, where MSI-X is off")


class VirtioVectors(Bar, size=1 << 16):
    """BAR1: the MSI-X table and its pending bits, which hdvlab serves."""


def with_notifications(bar: type[Bar], queues: int) -> type[Bar]:
    """``bar`` with a register NOTIFY_n for each of its queues: one address each, for what is written is not seen."""
    missing = {
        f"NOTIFY_{n}": Register(NOTIFICATIONS + n * NOTIFY_OFF_MULTIPLIER, 16, access="wo", doc=f"queue {n} has work")
        for n in range(queues)
        if f"NOTIFY_{n}" not in bar.map
    }
    if not missing:
        return bar
    made: Any = BarType(bar.__name__, (bar,), {"__doc__": bar.__doc__, **missing})
    found: type[Bar] = made
    return found


def capabilities_of(bar: type[Bar], queues: int) -> tuple[Capability, ...]:
    """MSI-X with a vector per queue and one for configuration changes, and where the structures are."""
    own = [register.end for register in bar.map if DEVICE_CONFIG <= register.offset < NOTIFICATIONS]
    given: list[Capability] = [
        MsixCapability(queues + 1, table_bar=1, pba_offset=_PENDING_BITS),
        VirtioCapability(CapabilityType.COMMON_CFG, 0, COMMON_CONFIG, COMMON_CONFIG_SIZE),
        VirtioCapability(CapabilityType.ISR_CFG, 0, ISR_STATUS, 1),
        VirtioCapability(
            CapabilityType.NOTIFY_CFG, 0, NOTIFICATIONS, queues * NOTIFY_OFF_MULTIPLIER, NOTIFY_OFF_MULTIPLIER
        ),
        VirtioCapability(CapabilityType.PCI_CFG),
    ]
    if own:
        length = -(-(max(own) - DEVICE_CONFIG) // 4) * 4
        given.insert(3, VirtioCapability(CapabilityType.DEVICE_CFG, 0, DEVICE_CONFIG, length))
    return tuple(given)
