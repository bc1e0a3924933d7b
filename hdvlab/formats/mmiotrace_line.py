"""One line of a Linux mmiotrace log.

Ref: Linux ``Documentation/trace/mmiotrace.rst`` (the fields) and ``kernel/trace/trace_mmiotrace.c`` (how they are
printed: times are ``%u.%06lu`` seconds, addresses, values and PCs ``0x%lx``, everything of PCIDEV bare hexadecimal).
The loss lines: ``MARK 0.000000 Lost N events.`` is of that file, ``CPU:N [LOST M EVENTS]`` of ``kernel/trace/trace.c``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hdvlab.formats.text_lines import MAX_LINE, too_long
from hdvlab.trace.schema import Kind

#: The only version there is.
VERSION: Final = "20070824"

#: Access widths in bytes.
WIDTHS: Final = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Row:
    """A line that becomes a row: an access, a mark, a fault or a loss.

    ``time_ns`` is on the log's own clock, None where the line has no time of its own; ``text`` is what no column holds.
    """

    kind: Kind
    time_ns: int | None
    size: int = 0
    physical: int | None = None
    value: int = 0
    pc: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class LossPlace:
    """Where the reader of the ring buffer met a gap: events lost there (0 = the kernel does not say), and the line."""

    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Map:
    """An ioremap; addresses and ``length`` in bytes, the time on the log's own clock."""

    time_ns: int
    id: int
    physical: int
    virtual: int
    length: int


@dataclass(frozen=True, slots=True)
class Unmap:
    """An iounmap of the mapping ``id``."""

    time_ns: int
    id: int


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A PCIDEV line: seven resources (six BARs, then the ROM) as starts with their flag bits, and sizes in bytes."""

    bus: int
    devfn: int
    vendor_id: int
    device_id: int
    irq: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    driver: str

    @property
    def address(self) -> str:
        """Bus address as ``lspci`` writes it: ``00:03.0``."""
        return f"{self.bus:02x}:{self.devfn >> 3:02x}.{self.devfn & 7}"


@dataclass(frozen=True, slots=True)
class Aside:
    """A line that belongs to the trace and describes no event: ``what`` is version, lspci or comment."""

    what: str
    text: str


Record = Row | LossPlace | Map | Unmap | PciDevice | Aside

_TIME = re.compile(rb"(\d{1,10})\.(\d{6})")
_ID = re.compile(rb"-?\d{1,10}")
_HEX = re.compile(rb"0[xX]([0-9a-fA-F]{1,16})")
_BARE = re.compile(rb"[0-9a-fA-F]{1,16}")
_INSTRUCTION = re.compile(rb"[0-9a-fA-F]{2},[0-9a-fA-F]{2},[0-9a-fA-F]{2}")
_MARK = re.compile(rb"MARK (\S+) ?(.*)", re.DOTALL)
_LOST = re.compile(rb"Lost (\d{1,20}) events\.")
_PLACE = re.compile(rb"CPU:\d+ \[LOST (?:(\d{1,20}) )?EVENTS\]")
_KEYWORD = re.compile(
    rb"VERSION |PCIDEV [0-9a-fA-F]{4} |(?:MAP|UNMAP|UNKNOWN|MARK|[RW] \d+) \d+\.\d|LSPCI |CPU:\d+ \[LOST"
)
_STARTS: Final = (
    b"VERSION 2",
    b"PCIDEV 0000 ",
    b"MAP 0.0",
    b"UNMAP 0.0",
    b"UNKNOWN 0.0",
    b"MARK 0.0",
    b"R 4 0.0",
    b"W 4 0.0",
)
_FIELDS: Final = {
    b"R": "width, time, map id, address, value, PC, PID",
    b"W": "width, time, map id, address, value, PC, PID",
    b"MAP": "time, map id, physical address, virtual address, length, PC, PID",
    b"UNMAP": "time, map id, PC, PID",
    b"UNKNOWN": "time, map id, address, instruction bytes, PC, PID",
}


def is_mmiotrace(head: bytes) -> bool:
    """Whether a line of the beginning of a text begins as a record does; the last one may be cut anywhere."""
    if any(_KEYWORD.match(line) for line in head.split(b"\n")):
        return True
    cut_early = head and b"\n" not in head
    return any(cut_early and _KEYWORD.match(head + start[at:]) for start in _STARTS for at in range(len(start)))


def parse_line(line: bytes) -> Record | None:
    """What one line says.

    Fields may be separated by more blanks than the kernel writes, and blanks or a carriage return may stand at the end.

    Parameters
    ----------
    line : bytes
        One line, with or without its newline.

    Returns
    -------
    Record or None
        None for a line of blanks only.

    Raises
    ------
    ValueError
        The line is malformed; the message says how.
    """
    if (length := len(line) - line.endswith(b"\n")) > MAX_LINE:
        raise ValueError(too_long(length))
    if line.startswith(b"MARK "):  # free text: only the line's end is not part of it
        return _mark(line.rstrip(b"\r\n"))
    line = line.rstrip()
    fields = line.split()
    if not fields:
        return None
    keyword, count = fields[0], len(fields) - 1
    if keyword in _FIELDS:
        names = _FIELDS[keyword]
        if count != names.count(",") + 1:
            raise ValueError(f"{_text(keyword)} has {count} fields instead of {names.count(',') + 1} ({names})")
        return _event(keyword, fields)
    if keyword == b"PCIDEV":
        return _pci_device(fields)
    if keyword == b"VERSION":
        return Aside("version", _text(line[7:].strip()))
    if keyword in (b"LSPCI", b"#"):
        return Aside("lspci" if keyword == b"LSPCI" else "comment", _text(line))
    if place := _PLACE.fullmatch(line):
        return LossPlace(_below_64(int(place[1] or 0), "the number of lost events"), _text(line))
    if b"\0" in line:
        raise ValueError("the line holds NUL bytes and no record: a part of the file was never written")
    if not line.isascii():
        raise ValueError("the line holds bytes that no record has")
    raise ValueError(f"no record begins with {_text(keyword[:20])!r}")


def complete_without_newline(record: Record | None) -> bool:
    """Whether a record that no newline follows is whole all the same.

    Text and the name of a driver may go on. What ends in the PID does not: the kernel writes 0 there, and it is not
    kept. Nor does what ends in a full stop or a bracket.
    """
    if isinstance(record, Row):
        return record.kind != Kind.mark
    if isinstance(record, Aside):
        return record.what == "version" and record.text == VERSION
    return isinstance(record, Map | Unmap | LossPlace)


def _event(keyword: bytes, fields: list[bytes]) -> Record:
    if keyword in (b"R", b"W"):
        _, width, time, map_id, address, value, pc, pid = fields
        if width not in (b"1", b"2", b"4", b"8"):
            raise ValueError(f"width {_text(width)!r} is not 1, 2, 4 or 8")
        when, _, _ = _time(time), _id(map_id, "map id"), _id(pid, "PID")
        kind = Kind.mmio_read if keyword == b"R" else Kind.mmio_write
        return Row(kind, when, int(width), _hex(address, "address"), _hex(value, "value"), _hex(pc, "PC"))
    if keyword == b"UNKNOWN":
        _, time, map_id, address, instruction, pc, pid = fields
        if not _INSTRUCTION.fullmatch(instruction):
            raise ValueError(f"instruction bytes {_text(instruction)!r} are not of the form xx,xx,xx")
        when, _, _ = _time(time), _id(map_id, "map id"), _id(pid, "PID")
        text = f"the kernel could not decode the instruction of this access: {_text(instruction)}"
        opcode = int(instruction.replace(b",", b""), 16)
        return Row(Kind.fault, when, 0, _hex(address, "address"), opcode, _hex(pc, "PC"), text)
    if keyword == b"MAP":
        _, time, map_id, physical, virtual, length, pc, pid = fields
        when, number, _, _ = _time(time), _id(map_id, "map id"), _hex(pc, "PC"), _id(pid, "PID")
        places = _hex(physical, "physical address"), _hex(virtual, "virtual address"), _hex(length, "length")
        return Map(when, number, *places)
    _, time, map_id, pc, pid = fields
    when, number, _, _ = _time(time), _id(map_id, "map id"), _hex(pc, "PC"), _id(pid, "PID")
    return Unmap(when, number)


def _mark(line: bytes) -> Row:
    match = _MARK.fullmatch(line)
    if match is None:
        raise ValueError("MARK has no time")
    time_ns = _time(match[1])
    lost = _LOST.fullmatch(match[2].rstrip())
    if time_ns == 0 and lost:
        return Row(Kind.lost, None, value=_below_64(int(lost[1]), "the number of lost events"))
    return Row(Kind.mark, time_ns, text=_text(match[2]))


def _pci_device(fields: list[bytes]) -> PciDevice:
    if len(fields) < 18:
        raise ValueError(
            f"PCIDEV has {len(fields) - 1} fields instead of 17 or more (address, ids, IRQ, 7 starts, 7 sizes, driver)"
        )
    _, place, ids, *numbers = fields[:18]
    if len(place) != 4 or len(ids) != 8 or not all(_BARE.fullmatch(field) for field in (place, ids, *numbers)):
        raise ValueError("PCIDEV has fields that are not hexadecimal numbers of 4, 8 and up to 16 digits")
    irq, *resources = (int(number, 16) for number in numbers)
    starts, sizes = tuple(resources[:7]), tuple(resources[7:])
    if any((start & ~0xF) + size > 1 << 64 for start, size in zip(starts, sizes, strict=True)):
        raise ValueError("PCIDEV has a resource that ends beyond the 64-bit address space")
    (bus, devfn), (vendor_id, device_id) = divmod(int(place, 16), 1 << 8), divmod(int(ids, 16), 1 << 16)
    driver = _text(b" ".join(fields[18:]))
    return PciDevice(bus, devfn, vendor_id, device_id, irq, starts, sizes, driver)


def _time(field: bytes) -> int:
    match = _TIME.fullmatch(field)
    if match is None or int(match[1]) > 0xFFFFFFFF:
        raise ValueError(f"time {_text(field)!r} is not seconds with six decimals")
    return (int(match[1]) * 1_000_000 + int(match[2])) * 1_000


def _id(field: bytes, name: str) -> int:
    if not _ID.fullmatch(field):
        raise ValueError(f"{name} {_text(field)!r} is not a decimal number")
    return int(field)


def _hex(field: bytes, name: str) -> int:
    match = _HEX.fullmatch(field)
    if match is None:
        raise ValueError(f"{name} {_text(field)!r} is not a 0x number of up to 16 digits")
    return int(match[1], 16)


def _below_64(number: int, name: str) -> int:
    if number >= 1 << 64:
        raise ValueError(f"{name} does not fit 64 bits")
    return number


def _text(field: bytes) -> str:
    return field.decode("utf-8", "backslashreplace")
