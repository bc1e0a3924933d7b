"""Configuration space as a tree: each register with the bytes it stands in, what they say, and what a write does.

Ref: PCI Local Bus 3.0, sections 6.1, 6.2, 6.7 and 6.8; PCI Express Base 5.0, section 7.6.3 (extended capabilities).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hdvlab.pci import spec
from hdvlab.pci.bar import BarDescription
from hdvlab.pci.capability import CapabilityEntry, ChainFault, MsiCapability
from hdvlab.pci.capability.listing import capability_lines
from hdvlab.pci.class_code import prog_if_name
from hdvlab.pci.config_header import ConfigHeader

_EXTENDED_START: Final = 0x100
_EXTENDED_NAMES: Final = {
    0x01: "Advanced Error Reporting", 0x02: "Virtual Channel", 0x03: "Device Serial Number", 0x04: "Power Budgeting",
    0x0B: "Vendor Specific", 0x0D: "Access Control Services", 0x0E: "Alternative Routing-ID",
    0x0F: "Address Translation Services",
    0x10: "Single Root I/O Virtualization", 0x13: "Page Request", 0x15: "Resizable BAR", 0x17: "TPH Requester",
    0x18: "Latency Tolerance Reporting", 0x19: "Secondary PCI Express", 0x1B: "Process Address Space ID",
    0x1E: "L1 PM Substates",
}  # fmt: skip


@dataclass(frozen=True)
class ConfigItem:
    """A run of bytes that means something.

    Attributes
    ----------
    label, text : str
        Its name, and what its bytes say.
    start, size : int
        Bytes from the start of configuration space.
    access : str
        What the standard lets a guest do: ``"ro"``, ``"rw"``, ``"w1c"``; "" for a group.
    items : tuple of ConfigItem
        What it is made of.
    """

    label: str
    text: str
    start: int
    size: int
    access: str = ""
    items: tuple[ConfigItem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return {
            "label": self.label, "text": self.text, "start": self.start, "size": self.size, "access": self.access,
            "items": [item.to_dict() for item in self.items],
        }  # fmt: skip


def has_extended(header: ConfigHeader) -> bool:
    """Whether there is more than 256 bytes: only with a PCI Express capability."""
    return len(header.config) > spec.CONFIG_SIZE and any(
        entry.capability_id == spec.CapabilityId.PCI_EXPRESS for entry in header.capabilities
    )


def config_tree(config: bytes, bars: Iterable[BarDescription] = ()) -> list[ConfigItem]:
    """Take configuration space apart.

    Parameters
    ----------
    config : bytes
        64, 256 or 4096 bytes.
    bars : iterable of BarDescription
        Gives BARs their sizes, which configuration space alone does not tell.

    Returns
    -------
    list of ConfigItem
        Header, BARs, one for each capability, and for each extended capability where there are any.
    """
    header = ConfigHeader.decode(config)
    found = [_header(header)]
    if header.layout == spec.HEADER_TYPE_NORMAL:
        found.append(_bars(header, {bar.index: bar for bar in bars}))
    found += [_capability(header, entry) for entry in header.capabilities]
    if has_extended(header):
        found += list(_extended(header.config))
    return found


def _number(config: bytes, start: int, size: int) -> int:
    return int.from_bytes(config[start : start + size], "little")


def _plain(config: bytes, label: str, start: int, size: int, access: str = "ro", told: str = "") -> ConfigItem:
    value = f"{_number(config, start, size):#0{2 * size + 2}x}"
    return ConfigItem(label, f"{value}  {told}".rstrip(), start, size, access)


def _flags(config: bytes, label: str, start: int, names: Iterable[tuple[str, int]], access: str) -> ConfigItem:
    value = _number(config, start, 2)
    on = [name.lower().replace("_", " ") for name, bit in names if value & bit]
    return ConfigItem(label, f"{value:#06x}  {', '.join(on) or 'nothing set'}", start, 2, access)


def _header(header: ConfigHeader) -> ConfigItem:
    config = header.config
    kind = {0: "endpoint", 1: "bridge", 2: "CardBus"}.get(header.layout, "unknown layout")
    several = ", multi-function" if header.multi_function else ""
    pin = f"INT{'?ABCD'[header.interrupt_pin]}#" if 0 < header.interrupt_pin <= 4 else ""
    prog_if = prog_if_name(header.base_class, header.sub_class, header.prog_if) or ""
    status = ((name or "", int(bit)) for bit in spec.Status if (name := bit.name) and name != "DEVSEL_TIMING")
    items = [
        _plain(config, "Vendor ID", spec.VENDOR_ID, 2),
        _plain(config, "Device ID", spec.DEVICE_ID, 2),
        _flags(config, "Command", spec.COMMAND, ((bit.name or "", int(bit)) for bit in spec.Command), "rw"),
        _flags(config, "Status", spec.STATUS, status, "w1c"),
        _plain(config, "Revision ID", spec.REVISION_ID, 1),
        _plain(config, "Class code", spec.PROG_IF, 3, told=f"{header.class_name}{f', {prog_if}' if prog_if else ''}"),
        _plain(config, "Cache line size", spec.CACHE_LINE_SIZE, 1, "rw", f"{4 * header.cache_line_size} bytes"),
        _plain(config, "Latency timer", spec.LATENCY_TIMER, 1, "rw"),
        _plain(config, "Header type", spec.HEADER_TYPE, 1, told=f"{kind}{several}"),
        _plain(config, "BIST", spec.BIST, 1, told="capable" if header.bist & spec.BIST_CAPABLE else ""),
    ]
    if header.layout == spec.HEADER_TYPE_NORMAL:
        enabled = "enabled" if header.expansion_rom & spec.EXPANSION_ROM_ENABLE else ""
        items += [
            _plain(config, "CardBus CIS pointer", spec.CARDBUS_CIS_POINTER, 4),
            _plain(config, "Subsystem vendor ID", spec.SUB_VENDOR_ID, 2),
            _plain(config, "Subsystem ID", spec.SUB_SYSTEM_ID, 2),
            _plain(config, "Expansion ROM", spec.EXPANSION_ROM, 4, "rw", enabled),
            _plain(config, "Capabilities pointer", spec.CAPABILITIES_POINTER, 1),
        ]
    items += [
        _plain(config, "Interrupt line", spec.INTERRUPT_LINE, 1, "rw"),
        _plain(config, "Interrupt pin", spec.INTERRUPT_PIN, 1, told=pin),
    ]
    if header.layout == spec.HEADER_TYPE_NORMAL:
        items += [_plain(config, "Min Gnt", spec.MIN_GNT, 1), _plain(config, "Max Lat", spec.MAX_LAT, 1)]
    told = f"{header.vendor_id:04x}:{header.device_id:04x}  {header.class_name}"
    return ConfigItem("Header", told, 0, spec.HEADER_SIZE, "", tuple(items))


def _bars(header: ConfigHeader, known: dict[int, BarDescription]) -> ConfigItem:
    items, index, decodes = [], 0, bool(header.command & spec.Command.MEMORY_SPACE)
    while index < len(header.bars):
        low, bar, start = header.bars[index], known.get(index), spec.BAR0 + 4 * index
        wide = bar.bits == 64 if bar is not None else low & 7 == spec.BAR_MEMORY_TYPE_64
        wide = wide and index + 1 < len(header.bars)
        if bar is None and not low:
            items.append(ConfigItem(f"BAR{index}", "not implemented", start, 4, "ro"))
        else:
            items.append(_bar(header, index, bar, wide, decodes))
        index += 2 if wide else 1
    return ConfigItem("BARs", f"{len(known)} implemented", spec.BAR0, 4 * len(header.bars), "", tuple(items))


def _bar(header: ConfigHeader, index: int, bar: BarDescription | None, wide: bool, decodes: bool) -> ConfigItem:
    low, start = header.bars[index], spec.BAR0 + 4 * index
    is_io = bool(low & spec.BAR_IO_SPACE)
    address = low & ~(spec.BAR_IO_TYPE_BITS if is_io else spec.BAR_MEMORY_TYPE_BITS)
    if wide:
        address |= header.bars[index + 1] << 32
    prefetchable = bar.prefetchable if bar is not None else not is_io and low & spec.BAR_MEMORY_PREFETCHABLE
    words = [f"{address:#x}" if address else "not placed", "I/O" if is_io else "64-bit" if wide else "32-bit"]
    words += [f"{bar.size:#x} bytes"] if bar is not None else []
    words += ["prefetchable"] if prefetchable else []
    words += ["decoding is off"] if not decodes and not is_io else []
    halves: tuple[ConfigItem, ...] = ()
    if wide:
        halves = (
            _plain(header.config, f"BAR{index} low", start, 4, "rw"),
            _plain(header.config, f"BAR{index} high", start + 4, 4, "rw"),
        )
    return ConfigItem(f"BAR{index}", ", ".join(words), start, 8 if wide else 4, "" if wide else "rw", halves)


def _capability(header: ConfigHeader, entry: CapabilityEntry) -> ConfigItem:
    config, start = header.config, entry.offset
    first, *details = capability_lines(config, entry, 2)
    told = first.partition("] ")[2] or first
    if isinstance(entry.capability, ChainFault):
        return ConfigItem("Capability", told, start, max(0, min(4, len(config) - start)))
    items = [
        _plain(config, "Capability ID", start, 1),
        _plain(config, "Next pointer", start + 1, 1),
        *_registers_of(config, entry),
    ]
    size = max(item.start + item.size for item in items) - start
    if entry.capability is not None:
        size = max(size, entry.capability.size)
    items += [ConfigItem("", detail, start, size) for detail in details]
    return ConfigItem(f"[{start:02x}]", told, start, min(size, len(config) - start), "", tuple(items))


def _registers_of(config: bytes, entry: CapabilityEntry) -> Iterator[ConfigItem]:
    start, kind = entry.offset, entry.capability_id
    if isinstance(entry.capability, MsiCapability):
        yield _plain(config, "Message control", start + spec.MSI_CONTROL, 2, "rw")
        yield _plain(config, "Message address", start + spec.MSI_ADDRESS, 4, "rw")
        wide = entry.capability.bits64
        if wide:
            yield _plain(config, "Message upper address", start + spec.MSI_UPPER_ADDRESS, 4, "rw")
        yield _plain(config, "Message data", start + (spec.MSI_DATA_64 if wide else spec.MSI_DATA_32), 2, "rw")
        if entry.capability.per_vector_masking:
            mask = start + (spec.MSI_MASK_64 if wide else spec.MSI_MASK_32)
            yield _plain(config, "Mask bits", mask, 4, "rw")
            yield _plain(config, "Pending bits", mask + 4, 4)
    elif kind == spec.CapabilityId.MSI_X and entry.capability is not None:
        yield _plain(config, "Message control", start + spec.MSIX_CONTROL, 2, "rw")
        yield _plain(config, "Table offset, BAR", start + spec.MSIX_TABLE, 4)
        yield _plain(config, "PBA offset, BAR", start + spec.MSIX_PBA, 4)
    elif kind == spec.CapabilityId.POWER_MANAGEMENT and entry.capability is not None:
        yield _plain(config, "Capabilities", start + spec.PM_CAPABILITIES, 2)
        yield _plain(config, "Control and status", start + spec.PM_CONTROL_STATUS, 2, "rw")
    elif kind == spec.CapabilityId.VENDOR_SPECIFIC and entry.capability is not None:
        yield _plain(config, "Length", start + spec.VENDOR_LENGTH, 1)
    elif start + 4 <= len(config):
        yield _plain(config, "Register 2", start + spec.CAPABILITY_CONTROL, 2)


def _extended(config: bytes) -> Iterator[ConfigItem]:
    """The list behind 0x100: 16 bits of ID, 4 of version, 12 of the next one's offset."""
    offset, seen = _EXTENDED_START, set[int]()
    while _EXTENDED_START <= offset <= len(config) - 4 and offset not in seen:
        seen.add(offset)
        head = _number(config, offset, 4)
        if head in (0, 0xFFFF_FFFF):
            return
        number, version = head & 0xFFFF, head >> 16 & 0xF
        name = _EXTENDED_NAMES.get(number, f"Extended capability {number:#06x}")
        items = (_plain(config, "ID, version, next", offset, 4),)
        yield ConfigItem(f"[{offset:03x}]", f"{name} (v{version})", offset, 4, "", items)
        offset = head >> 20 & 0xFFC
