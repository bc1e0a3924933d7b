"""A dump of configuration space, taken apart.

Ref: PCI Local Bus 3.0, sections 6.1 and 6.2 (header); PCI-to-PCI Bridge 1.2, section 3.2 (type 1 header).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from hdvlab.errors import AccessError
from hdvlab.pci import spec
from hdvlab.pci.capability import CapabilityEntry, walk
from hdvlab.pci.class_code import class_name

DUMP_SIZES: Final = (spec.HEADER_SIZE, spec.CONFIG_SIZE, spec.EXTENDED_CONFIG_SIZE)

_BAR_COUNTS: Final = {spec.HEADER_TYPE_NORMAL: spec.BAR_COUNT, spec.HEADER_TYPE_BRIDGE: spec.BRIDGE_BAR_COUNT}


@dataclass(frozen=True)
class ConfigHeader:
    """The registers of the header and the capabilities behind it.

    Attributes
    ----------
    vendor_id, device_id, revision_id, prog_if, sub_class, base_class : int
        16, 16, 8, 8, 8 and 8 bits.
    command : Command
        16 bits.
    status : Status
        16 bits.
    cache_line_size : int
        Dwords.
    latency_timer : int
        Bus clocks.
    header_type : int
        8 bits, the multi-function bit included; ``layout`` is without it.
    bist : int
        8 bits.
    bars : tuple of int
        32 bits each as they stand, type bits included: six, two for a bridge, none for another layout.
    sub_vendor_id, sub_system_id, expansion_rom : int
        16, 16 and 32 bits; 0 where the layout is not type 0.
    interrupt_line, interrupt_pin : int
        8 bits each; pin 1 is INTA#, 0 is none.
    min_gnt, max_lat : int
        Units of 250 ns; 0 where the layout is not type 0.
    capabilities : tuple of CapabilityEntry
        See :func:`hdvlab.pci.capability.walk`.
    config : bytes
        The dump itself.
    """

    vendor_id: int
    device_id: int
    command: spec.Command
    status: spec.Status
    revision_id: int
    prog_if: int
    sub_class: int
    base_class: int
    cache_line_size: int
    latency_timer: int
    header_type: int
    bist: int
    bars: tuple[int, ...]
    sub_vendor_id: int
    sub_system_id: int
    expansion_rom: int
    interrupt_line: int
    interrupt_pin: int
    min_gnt: int
    max_lat: int
    capabilities: tuple[CapabilityEntry, ...]
    config: bytes = field(repr=False)

    @classmethod
    def decode(cls, config: bytes) -> ConfigHeader:
        """Take a dump apart. Any bytes decode; nothing is assumed of the device.

        Parameters
        ----------
        config : bytes
            64, 256 or 4096 bytes from the start of configuration space.

        Raises
        ------
        AccessError
            Another number of bytes.
        """
        config = bytes(config)
        if len(config) not in DUMP_SIZES:
            raise AccessError(f"a dump of {len(config)} bytes; configuration space is read as 64, 256 or 4096 bytes")
        vendor_id, device_id, command, status, revision_id, prog_if, sub_class, base_class = struct.unpack_from(
            "<HHHHBBBB", config, spec.VENDOR_ID
        )
        cache_line_size, latency_timer, header_type, bist = struct.unpack_from("4B", config, spec.CACHE_LINE_SIZE)
        line, pin, min_gnt, max_lat = struct.unpack_from("4B", config, spec.INTERRUPT_LINE)
        layout = header_type & spec.HEADER_TYPE_LAYOUT
        normal = layout == spec.HEADER_TYPE_NORMAL
        sub_vendor_id, sub_system_id, expansion_rom = struct.unpack_from("<HHI", config, spec.SUB_VENDOR_ID)
        return cls(
            vendor_id=vendor_id,
            device_id=device_id,
            command=spec.Command(command),
            status=spec.Status(status),
            revision_id=revision_id,
            prog_if=prog_if,
            sub_class=sub_class,
            base_class=base_class,
            cache_line_size=cache_line_size,
            latency_timer=latency_timer,
            header_type=header_type,
            bist=bist,
            bars=struct.unpack_from(f"<{_BAR_COUNTS.get(layout, 0)}I", config, spec.BAR0),
            sub_vendor_id=sub_vendor_id if normal else 0,
            sub_system_id=sub_system_id if normal else 0,
            expansion_rom=expansion_rom if normal else 0,
            interrupt_line=line,
            interrupt_pin=pin,
            min_gnt=min_gnt if normal else 0,
            max_lat=max_lat if normal else 0,
            capabilities=tuple(walk(config)),
            config=config,
        )

    @property
    def present(self) -> bool:
        """A device answered: the vendor ID is not 0xFFFF."""
        return self.vendor_id != spec.VENDOR_ID_ABSENT

    @property
    def layout(self) -> int:
        """Header type without the multi-function bit: 0 = normal, 1 = bridge, 2 = CardBus."""
        return self.header_type & spec.HEADER_TYPE_LAYOUT

    @property
    def multi_function(self) -> bool:
        """The device may have more functions than this one."""
        return bool(self.header_type & spec.HEADER_TYPE_MULTI_FUNCTION)

    @property
    def class_name(self) -> str:
        """Name of the class as a listing has it."""
        return class_name(self.base_class, self.sub_class)
