"""The configuration space a device shows: contents after reset, and what a guest may write.

Ref: PCI Local Bus 3.0, sections 6.1 (layout), 6.2 (registers), 6.7 (capabilities list).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from hdvlab.errors import RegisterError
from hdvlab.pci import spec
from hdvlab.pci.capability import Capability

_ONCE: Final = (spec.CapabilityId.POWER_MANAGEMENT, spec.CapabilityId.MSI, spec.CapabilityId.MSI_X)


class PnpId(Protocol):
    """The numbers that name a device, as HDV's ``HDV_PCI_PNP_ID`` has them (widths in bits)."""

    @property
    def vendor_id(self) -> int:
        """16."""

    @property
    def device_id(self) -> int:
        """16."""

    @property
    def revision_id(self) -> int:
        """8."""

    @property
    def prog_if(self) -> int:
        """8."""

    @property
    def sub_class(self) -> int:
        """8."""

    @property
    def base_class(self) -> int:
        """8."""

    @property
    def sub_vendor_id(self) -> int:
        """16."""

    @property
    def sub_system_id(self) -> int:
        """16."""


@dataclass(frozen=True)
class ConfigImage:
    """Configuration space of a type 0 function, ready to be served without asking anyone.

    Attributes
    ----------
    image : bytes
        4096 bytes: contents after reset. Command register and BARs are 0: the host owns the BARs, and a device whose
        bus mastering is on before the guest turned it on is rejected by Hyper-V.
    write_mask : bytes
        4096 bytes, per bit 1 = a guest's write is stored. No bit of a BAR is set.
    w1c_mask : bytes
        4096 bytes, per bit 1 = a write of 1 clears the bit, a write of 0 leaves it. Shares no bit with
        ``write_mask``; what is in neither is read-only.
    capability_offsets : tuple of int
        Bytes from the start of configuration space, one per capability, in the order given.
    """

    image: bytes
    write_mask: bytes
    w1c_mask: bytes
    capability_offsets: tuple[int, ...] = ()

    @classmethod
    def build(
        cls,
        *,
        vendor_id: int,
        device_id: int,
        revision_id: int = 0,
        prog_if: int = 0,
        sub_class: int = 0,
        base_class: int = 0xFF,
        sub_vendor_id: int = 0,
        sub_system_id: int = 0,
        capabilities: Iterable[Capability] = (),
    ) -> ConfigImage:
        """Lay out a configuration space.

        Parameters
        ----------
        vendor_id, device_id, sub_vendor_id, sub_system_id : int
            16 bits each.
        revision_id, prog_if, sub_class, base_class : int
            8 bits each. The default class is "unassigned" (0xFF).
        capabilities : iterable of Capability
            In the order of the list; the first is at 0x40.

        Raises
        ------
        RegisterError
            A number wider than its register, the vendor ID 0xFFFF that means "no device", capabilities that do not
            fit into 256 bytes, or two of a kind that a function has once.
        """
        for name, value, bits in (
            ("vendor_id", vendor_id, 16),
            ("device_id", device_id, 16),
            ("revision_id", revision_id, 8),
            ("prog_if", prog_if, 8),
            ("sub_class", sub_class, 8),
            ("base_class", base_class, 8),
            ("sub_vendor_id", sub_vendor_id, 16),
            ("sub_system_id", sub_system_id, 16),
        ):
            if not 0 <= value < 1 << bits:
                raise RegisterError(
                    f"{name} is {value:#x}, its register has {bits} bits; use 0 to {(1 << bits) - 1:#x}"
                )
        if vendor_id == spec.VENDOR_ID_ABSENT:
            raise RegisterError(f"vendor_id is {vendor_id:#x}, which says that no device is there; use another")
        image = bytearray(spec.EXTENDED_CONFIG_SIZE)
        struct.pack_into("<HH", image, spec.VENDOR_ID, vendor_id, device_id)
        struct.pack_into("4B", image, spec.REVISION_ID, revision_id, prog_if, sub_class, base_class)
        struct.pack_into("<HH", image, spec.SUB_VENDOR_ID, sub_vendor_id, sub_system_id)
        write_mask = bytearray(spec.EXTENDED_CONFIG_SIZE)
        struct.pack_into("<H", write_mask, spec.COMMAND, spec.COMMAND_WRITABLE)
        write_mask[spec.CACHE_LINE_SIZE] = write_mask[spec.LATENCY_TIMER] = 0xFF
        write_mask[spec.INTERRUPT_LINE] = 0xFF
        w1c_mask = bytearray(spec.EXTENDED_CONFIG_SIZE)
        struct.pack_into("<H", w1c_mask, spec.STATUS, spec.STATUS_WRITE_ONE_TO_CLEAR)

        ordered = tuple(capabilities)
        offsets = _place(ordered)
        if ordered:
            struct.pack_into("<H", image, spec.STATUS, spec.Status.CAPABILITIES_LIST)
            image[spec.CAPABILITIES_POINTER] = offsets[0]
        for number, (capability, offset) in enumerate(zip(ordered, offsets, strict=True), 1):
            place = slice(offset, offset + capability.size)
            image[place] = capability.encode(offsets[number] if number < len(offsets) else 0)
            write_mask[place] = capability.write_mask()
            w1c_mask[place] = capability.w1c_mask()
        return cls(bytes(image), bytes(write_mask), bytes(w1c_mask), offsets)

    @classmethod
    def from_pnp_id(cls, pnp_id: PnpId, capabilities: Iterable[Capability] = ()) -> ConfigImage:
        """:meth:`build` from an object with the eight numbers as attributes."""
        return cls.build(
            vendor_id=pnp_id.vendor_id,
            device_id=pnp_id.device_id,
            revision_id=pnp_id.revision_id,
            prog_if=pnp_id.prog_if,
            sub_class=pnp_id.sub_class,
            base_class=pnp_id.base_class,
            sub_vendor_id=pnp_id.sub_vendor_id,
            sub_system_id=pnp_id.sub_system_id,
            capabilities=capabilities,
        )


def _place(capabilities: tuple[Capability, ...]) -> tuple[int, ...]:
    """Offset of each capability: one behind the other from 0x40, each at a dword."""
    offsets: list[int] = []
    seen: set[int] = set()
    offset = spec.CAPABILITIES_START
    for capability in capabilities:
        if capability.capability_id in _ONCE and capability.capability_id in seen:
            raise RegisterError(
                f"2 capabilities with ID {capability.capability_id:#04x}, a function has 1 of these at most; drop one"
            )
        seen.add(capability.capability_id)
        end = offset + capability.size
        if end > spec.CONFIG_SIZE:
            raise RegisterError(
                f"capabilities end at {end:#x}, the list has room up to {spec.CONFIG_SIZE:#x}; "
                f"drop or shorten capability {capability.capability_id:#04x} at {offset:#x}"
            )
        offsets.append(offset)
        offset = end + -end % spec.CAPABILITY_ALIGNMENT
    return tuple(offsets)
