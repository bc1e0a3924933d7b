"""Configuration space as ``lspci`` prints it.

Ref: lspci(8), pciutils 3.9, for the form; PCI Local Bus 3.0, section 6.2, for the registers.

Vendor and device are numbers: hdvlab carries no list of names. The dump of ``hex_level`` 1, 3 and 4 is what
``lspci -F file`` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hdvlab.errors import AccessError
from hdvlab.pci import spec
from hdvlab.pci.bar import BarDescription
from hdvlab.pci.capability.listing import capability_lines, flag
from hdvlab.pci.class_code import prog_if_name
from hdvlab.pci.config_header import ConfigHeader
from hdvlab.pci.spec import Command, Status

_ADDRESS: Final = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE | re.ASCII)
_HEX_BYTES: Final = (0, spec.HEADER_SIZE, spec.HEADER_SIZE, spec.CONFIG_SIZE, spec.EXTENDED_CONFIG_SIZE)

_COMMAND_FLAGS: Final = (
    ("I/O", Command.IO_SPACE),
    ("Mem", Command.MEMORY_SPACE),
    ("BusMaster", Command.BUS_MASTER),
    ("SpecCycle", Command.SPECIAL_CYCLES),
    ("MemWINV", Command.MEMORY_WRITE_AND_INVALIDATE),
    ("VGASnoop", Command.VGA_PALETTE_SNOOP),
    ("ParErr", Command.PARITY_ERROR_RESPONSE),
    ("Stepping", Command.STEPPING),
    ("SERR", Command.SERR_ENABLE),
    ("FastB2B", Command.FAST_BACK_TO_BACK),
    ("DisINTx", Command.INTERRUPT_DISABLE),
)
_STATUS_FLAGS_BEFORE_DEVSEL: Final = (
    ("Cap", Status.CAPABILITIES_LIST),
    ("66MHz", Status.CAPABLE_66MHZ),
    ("UDF", Status.USER_DEFINABLE),
    ("FastB2B", Status.FAST_BACK_TO_BACK),
    ("ParErr", Status.MASTER_DATA_PARITY_ERROR),
)
_STATUS_FLAGS_AFTER_DEVSEL: Final = (
    (">TAbort", Status.SIGNALED_TARGET_ABORT),
    ("<TAbort", Status.RECEIVED_TARGET_ABORT),
    ("<MAbort", Status.RECEIVED_MASTER_ABORT),
    (">SERR", Status.SIGNALED_SYSTEM_ERROR),
    ("<PERR", Status.DETECTED_PARITY_ERROR),
    ("INTx", Status.INTERRUPT),
)
_DEVSEL: Final = ("fast", "medium", "slow", "??")
_MEMORY_TYPES: Final = ("32-bit", "low-1M", "64-bit", "type 3")


def lspci(
    config: bytes | ConfigHeader,
    address: str = "00:00.0",
    *,
    verbose: int = 0,
    hex_level: int = 0,
    bars: Iterable[BarDescription] = (),
) -> str:
    """List one function.

    Parameters
    ----------
    config : bytes or ConfigHeader
        Its configuration space: 64, 256 or 4096 bytes.
    address : str
        Where it sits: ``"00:01.0"`` or ``"0000:00:01.0"`` (hexadecimal domain, bus and device; function).
    verbose : int
        How many ``v``: 0 = one line, 1 = flags, regions and capabilities, 2 = every bit.
    hex_level : int
        How many ``x``: 1 = 64 bytes, 3 = 256, 4 = 4096, or as many as there are; 0 = no dump.
    bars : iterable of BarDescription
        Gives the regions their sizes, which configuration space alone does not tell; and type and address where
        the BAR itself reads 0.

    Returns
    -------
    str
        Lines, each with its end; listings of several functions can be joined with ``"\\n"``.

    Raises
    ------
    AccessError
        An address or a level that ``lspci`` does not have, or a dump of another length.
    """
    header = config if isinstance(config, ConfigHeader) else ConfigHeader.decode(config)
    if not _ADDRESS.fullmatch(address):
        raise AccessError(f"address {address!r}; write bus:device.function in hexadecimal, as in 00:01.0")
    if not 0 <= hex_level < len(_HEX_BYTES):
        raise AccessError(f"hex_level is {hex_level}, lspci has {len(_HEX_BYTES) - 1} at most; use 1, 3 or 4")
    lines = [_first_line(header, address, verbose)]
    if verbose:
        lines += ["\t" + line for line in _verbose_lines(header, verbose, {bar.index: bar for bar in bars})]
    text = "\n".join(lines) + "\n"
    return text + hexdump(header.config[: _HEX_BYTES[hex_level]])


def hexdump(config: bytes) -> str:
    """Bytes the way ``lspci -x`` dumps them: ``00: 34 12 e8 11 ...``, sixteen per line, each line with its end."""
    return "".join(
        f"{offset:02x}: {' '.join(f'{byte:02x}' for byte in config[offset : offset + 16])}\n"
        for offset in range(0, len(config), 16)
    )


def _first_line(header: ConfigHeader, address: str, verbose: int) -> str:
    line = f"{address} {header.class_name}: {header.vendor_id:04x}:{header.device_id:04x}"
    if header.revision_id:
        line += f" (rev {header.revision_id:02x})"
    name = prog_if_name(header.base_class, header.sub_class, header.prog_if)
    if verbose and (header.prog_if or name):
        line += f" (prog-if {header.prog_if:02x}{f' [{name}]' if name else ''})"
    return line


def _verbose_lines(header: ConfigHeader, verbose: int, bars: dict[int, BarDescription]) -> list[str]:
    lines: list[str] = []
    if header.sub_vendor_id not in (0, spec.VENDOR_ID_ABSENT):
        lines.append(f"Subsystem: {header.sub_vendor_id:04x}:{header.sub_system_id:04x}")
    if header.layout > spec.HEADER_TYPE_CARDBUS:
        return [*lines, f"!!! Unknown header type {header.layout:02x}"]
    bridge = (header.base_class, header.sub_class) == spec.CLASS_PCI_BRIDGE
    if bridge if header.layout == spec.HEADER_TYPE_NORMAL else header.base_class != spec.CLASS_PCI_BRIDGE[0]:
        code = f"{header.base_class:02x}{header.sub_class:02x}"
        lines.append(f"!!! Invalid class {code} for header type {header.layout:02x}")
    lines += _control_lines(header) if verbose > 1 else [_flags_line(header)]
    if header.bist & spec.BIST_CAPABLE:
        running = header.bist & spec.BIST_START
        lines.append("BIST is running" if running else f"BIST result: {header.bist & spec.BIST_COMPLETION_CODE:02x}")
    lines += _region_lines(header, verbose, bars)
    if header.expansion_rom:
        base = header.expansion_rom & spec.EXPANSION_ROM_ADDRESS
        state = "" if header.expansion_rom & spec.EXPANSION_ROM_ENABLE else " [disabled]"
        if not state and not header.command & Command.MEMORY_SPACE:
            state = " [disabled by cmd]"
        lines.append(f"Expansion ROM at {f'{base:08x}' if base else '<unassigned>'}{state}")
    for entry in header.capabilities:
        first, *details = capability_lines(header.config, entry, verbose)
        lines.append(f"Capabilities: {first}")
        lines += ["\t" + detail for detail in details]
    return lines


def _devsel(header: ConfigHeader) -> str:
    return _DEVSEL[(header.status & Status.DEVSEL_TIMING) >> 9]


def _flags_line(header: ConfigHeader) -> str:
    command, status = header.command, header.status
    words = [
        *(["bus master"] if command & Command.BUS_MASTER else []),
        *(["VGA palette snoop"] if command & Command.VGA_PALETTE_SNOOP else []),
        *(["stepping"] if command & Command.STEPPING else []),
        *(["fast Back2Back"] if command & Command.FAST_BACK_TO_BACK else []),
        *(["66MHz"] if status & Status.CAPABLE_66MHZ else []),
        *(["user-definable features"] if status & Status.USER_DEFINABLE else []),
        f"{_devsel(header)} devsel",
        *([f"latency {header.latency_timer}"] if command & Command.BUS_MASTER else []),
        *([f"IRQ {header.interrupt_line}"] if header.interrupt_line else []),
    ]
    return "Flags: " + ", ".join(words)


def _control_lines(header: ConfigHeader) -> list[str]:
    def flags(register: int, names: tuple[tuple[str, int], ...]) -> str:
        return " ".join(name + flag(register, bit) for name, bit in names)

    lines = [
        "Control: " + flags(header.command, _COMMAND_FLAGS),
        (
            f"Status: {flags(header.status, _STATUS_FLAGS_BEFORE_DEVSEL)} DEVSEL={_devsel(header)} "
            f"{flags(header.status, _STATUS_FLAGS_AFTER_DEVSEL)}"
        ),
    ]
    if header.command & Command.BUS_MASTER:
        bounds = [
            f"{value * 250}ns {name}" for value, name in ((header.min_gnt, "min"), (header.max_lat, "max")) if value
        ]
        line = f"Latency: {header.latency_timer}" + (f" ({', '.join(bounds)})" if bounds else "")
        if header.cache_line_size:
            line += f", Cache Line Size: {header.cache_line_size * 4} bytes"
        lines.append(line)
    if header.interrupt_pin or header.interrupt_line:
        pin = "?ABCD"[header.interrupt_pin] if header.interrupt_pin <= 4 else "?"
        lines.append(f"Interrupt: pin {pin} routed to IRQ {header.interrupt_line}")
    return lines


def _region_lines(header: ConfigHeader, verbose: int, bars: dict[int, BarDescription]) -> list[str]:
    lines: list[str] = []
    index = 0
    while index < len(header.bars):
        start, known = index, bars.get(index)
        low, *upper = header.bars[index:]
        if low == 0xFFFF_FFFF:
            low = 0
        if not low and known is not None:
            # A host that owns the BARs leaves them 0 in the device's own image.
            low, upper = known.type_bits | known.address & 0xFFFF_FFFF, [known.address >> 32]
        wide = not low & spec.BAR_IO_SPACE and low & spec.BAR_MEMORY_TYPE == spec.BAR_MEMORY_TYPE_64
        index += 2 if wide else 1
        if not low and known is None:
            continue
        if low & spec.BAR_IO_SPACE:
            port = low & ~spec.BAR_IO_TYPE_BITS
            text = f"I/O ports at {f'{port:04x}' if port else '<unassigned>'}"
            enabled = header.command & Command.IO_SPACE
        else:
            base = low & ~spec.BAR_MEMORY_TYPE_BITS | (upper[0] << 32 if wide and upper else 0)
            place = f"{base:08x}" if base else "<unassigned>"
            if wide and start + 1 == len(header.bars):
                place = "<broken-64-bit-slot>"
            memory_type = _MEMORY_TYPES[(low & spec.BAR_MEMORY_TYPE) >> 1]
            prefetchable = "" if low & spec.BAR_MEMORY_PREFETCHABLE else "non-"
            text = f"Memory at {place} ({memory_type}, {prefetchable}prefetchable)"
            enabled = header.command & Command.MEMORY_SPACE
        text += ("" if enabled else " [disabled]") + (f" [size={size_text(known.size)}]" if known else "")
        lines.append(f"Region {start}: {text}" if verbose > 1 else text)
    return lines


def size_text(size: int) -> str:
    """Bytes with the largest of K, M, G, T that divides them."""
    for suffix in ("", "K", "M", "G"):
        if size % 1024:
            return f"{size}{suffix}"
        size //= 1024
    return f"{size}T"
