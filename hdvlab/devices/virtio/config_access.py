"""A window in config space onto a virtio device's BAR, for firmware that cannot map BARs.

Ref: Virtio 1.2, section 4.1.4.9 (PCI configuration access capability).
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from hdvlab._core import ffi, lib
from hdvlab.devices.virtio.capability import VirtioCapability
from hdvlab.devices.virtio.registers import NOTIFICATIONS, NOTIFY_OFF_MULTIPLIER
from hdvlab.devices.virtio.spec import CapabilityType
from hdvlab.errors import HdvError, check

if TYPE_CHECKING:
    from hdvlab.devices.virtio.transport import VirtioDevice

_BAR, _OFFSET, _DATA = 4, 8, 16


class ConfigAccess:
    """The window of one device.

    Config reads do not reach a device's code, so what the window shows is put there when it is moved, and after every
    write through it; ISR is not cleared by reading it there.
    """

    def __init__(self, device: VirtioDevice) -> None:
        self._device = device
        self._place = 0
        places = zip(device.capabilities, device.description.config.capability_offsets, strict=True)
        for capability, place in places:
            if isinstance(capability, VirtioCapability) and capability.cfg_type is CapabilityType.PCI_CFG:
                self._place = place

    def written(self, offset: int) -> None:
        """The guest wrote the config dword at ``offset``."""
        if not self._place or not self._place <= offset < self._place + _DATA + 4:
            return
        config = self._device.config[self._place :][: _DATA + 4]
        bar = config[_BAR]
        where, size = struct.unpack_from("<II", config, _OFFSET)
        if bar or size not in (1, 2, 4):
            return
        if offset == self._place + _DATA:
            self._write(where, size, int.from_bytes(config[_DATA : _DATA + size], "little"))
        self._show(where, size)

    def _show(self, where: int, size: int) -> None:
        try:
            value = self._device.peek(0, where, size)
        except HdvError:  # outside the BAR, or no register
            value = 0xFFFFFFFF
        config = ffi.new("uint8_t **")
        check(lib.hdvlab_register_file_config(self._device._file, config), "config")
        ffi.buffer(config[0] + self._place + _DATA, 4)[:] = (value & 0xFFFFFFFF).to_bytes(4, "little")

    def _write(self, where: int, size: int, value: int) -> None:
        """As a guest's write to BAR0 would do."""
        device = self._device
        number, rest = divmod(where - NOTIFICATIONS, NOTIFY_OFF_MULTIPLIER)
        if where >= NOTIFICATIONS:
            if not rest and number < len(device._bells):
                os.eventfd_write(device._bells[number].fileno(), 1)
            return
        register = type(device).bar0.map.at(where)
        if register is None or size not in register.access_sizes or not register.masks.write:
            return
        shift = 8 * (where - register.offset)
        part = ((1 << 8 * size) - 1) << shift
        index = next(number for number, (_, one) in enumerate(device.description.registers) if one is register)
        old = int(getattr(device.bar0, register.name))
        new = old & ~(part & register.masks.write) | value << shift & register.masks.write
        setattr(device.bar0, register.name, new)
        if index in device.description.writers:
            device.on_register_write(index, new, old)
