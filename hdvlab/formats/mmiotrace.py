"""Linux mmiotrace logs: what a driver did to the BARs it had mapped, as rows.

Ref: Linux ``Documentation/trace/mmiotrace.rst``. One record of :mod:`hdvlab.formats.mmiotrace_line` a line; which
BAR an address belongs to is looked up when all PCIDEV lines are known, wherever they stand.

What the rows do not hold is in ``trace.tables.facts``:

========== =====================================================================================================
format     ``"mmiotrace"``; ``version`` is the log's VERSION, None where it has no such line
t0_ns      time of the first record on the log's clock, in ns; ``t_ns`` counts from here, in steps of 1,000
marks      row of a mark to its text
faults     row of an UNKNOWN record to what the kernel said; ``value`` holds its three instruction bytes
losses     row of a ``CPU:N [LOST M EVENTS]`` line to its text
maps       one dict for each MAP (``event`` "map") and UNMAP: id, t_ns, line, and of a MAP physical, virtual, length
           (bytes), device, bar, offset (bytes from the BAR's base)
pcidevs    one dict for each PCIDEV: line, device, irq, io_bars, rom_address, rom_size (bytes)
lspci      the LSPCI lines; ``comments`` those that begin with "# "
========== =====================================================================================================

Not kept are the map id of each access, the PID (the kernel writes 0), and which blanks separate fields.
"""

from __future__ import annotations

from collections import Counter
from os import PathLike
from typing import Any, Final

import numpy as np

from hdvlab.errors import TraceFormatError
from hdvlab.formats.bar_lookup import BarLookup, Window
from hdvlab.formats.mmiotrace_block import scan
from hdvlab.formats.mmiotrace_line import (
    VERSION,
    Aside,
    LossPlace,
    Map,
    PciDevice,
    Row,
    Unmap,
    complete_without_newline,
    is_mmiotrace,
    parse_line,
)
from hdvlab.formats.pci_names import pci_name
from hdvlab.formats.signature import not_readable
from hdvlab.formats.text_lines import Block, CutLine, TextLines, bad_line, opened
from hdvlab.trace.schema import NO_BAR, NO_DEVICE, Kind
from hdvlab.trace.tables import BadLine, BarInfo, DeviceInfo, Tables
from hdvlab.trace.trace import Trace

_NO_TIME: Final = -1
_DTYPES: Final = {"time_ns": "<i8", "kind": "|u1", "size": "<u4", "physical": "<u8", "value": "<u8", "pc": "<u8"}
_CUT: Final = "the file ends in the middle of the line"


def read_mmiotrace(path: str | PathLike[str]) -> Trace:
    """Read a Linux mmiotrace log, plain or gzip.

    Parameters
    ----------
    path : str or path
        What ``cat /sys/kernel/tracing/trace_pipe`` wrote, whatever it is called.

    Returns
    -------
    Trace
        One row a record: ``mmio_read``, ``mmio_write``, ``mark``, ``fault`` (UNKNOWN), ``lost`` (``value`` = number of
        events). ``dur_ns`` is 0: the log does not tell. An access outside every known memory BAR has device 65535,
        BAR -1 and the physical address. Lines that cannot be read are in ``bad_lines``; they cost no other line.

    Raises
    ------
    TraceError
        The file cannot be opened (``hresult`` says why).
    TraceFormatError
        It is empty, or nothing in its first 64 KiB looks like a record.
    """
    with opened(path) as stream:
        lines = TextLines(stream)
        if not is_mmiotrace(lines.head):
            raise TraceFormatError(not_readable(lines, "an mmiotrace log"), operation=f"read_mmiotrace {path}")
        return parse_mmiotrace(lines)


def parse_mmiotrace(lines: TextLines) -> Trace:
    """Read the lines of an mmiotrace log; see :func:`read_mmiotrace`. Raises nothing, whatever they are."""
    reader = _Reader()
    for item in lines:
        if isinstance(item, Block):
            reader.add_block(item)
        elif isinstance(item, CutLine):
            reader.add_cut(item)
        else:
            reader.bad_lines.append(item)
    return reader.trace()


class _Reader:
    """Rows and tables as they grow, block by block."""

    def __init__(self) -> None:
        self.bad_lines: list[BadLine] = []
        self._parts: dict[str, list[Any]] = {name: [np.empty(0, dtype)] for name, dtype in _DTYPES.items()}
        self._length = 0
        self._zero_ns: int | None = None
        self._texts: dict[Kind, dict[int, str]] = {Kind.mark: {}, Kind.fault: {}, Kind.lost: {}}
        self._places: dict[int, int] = {}
        self._maps: list[tuple[int, Map | Unmap]] = []
        self._pcidevs: list[tuple[int, PciDevice]] = []
        self._asides: dict[str, list[str]] = {"version": [], "lspci": [], "comment": []}

    def add_block(self, block: Block) -> None:
        accesses, edges, others = scan(block.data)
        rows: list[tuple[int, Row | LossPlace]] = []
        first_timed: list[tuple[int, int]] = []
        for line, start, end in zip(others.tolist(), edges[others].tolist(), edges[others + 1].tolist(), strict=True):
            record = self._record(block.data[start:end], block.number + line)
            if isinstance(record, Row | LossPlace):
                rows.append((line, record))
            if isinstance(record, Row | Map | Unmap) and record.time_ns and not first_timed:
                first_timed = [(line, record.time_ns)]
        if self._zero_ns is None:
            first = np.flatnonzero(accesses.time_ns > 0)[:1]
            first_timed += zip(accesses.line[first].tolist(), accesses.time_ns[first].tolist(), strict=True)
            self._zero_ns = min(first_timed)[1] if first_timed else None
        self._append({name: getattr(accesses, name) for name in _DTYPES}, accesses.line, rows)

    def add_cut(self, line: CutLine) -> None:
        """Take the last line if only its newline is missing."""
        try:
            whole = complete_without_newline(parse_line(line.data))
        except ValueError:
            whole = False
        if whole:
            self.add_block(Block(line.data + b"\n", line.number))
        elif line.data.strip():
            self.bad_lines.append(bad_line(line.number, line.data, _CUT))

    def _record(self, line: bytes, number: int) -> Row | LossPlace | Map | Unmap | None:
        """The event of a line; what is none goes to its table."""
        try:
            record = parse_line(line)
        except ValueError as error:
            self.bad_lines.append(bad_line(number, line, str(error)))
            return None
        if isinstance(record, Map | Unmap):
            self._maps.append((number, record))
        elif isinstance(record, PciDevice):
            self._pcidevs.append((number, record))
        elif isinstance(record, Aside):
            self._asides[record.what].append(record.text)
            if record.what == "version" and record.text != VERSION:
                reason = f"the version is not {VERSION}; the lines are read as if it were"
                self.bad_lines.append(bad_line(number, line, reason))
        return None if isinstance(record, PciDevice | Aside) else record

    def _append(self, columns: dict[str, Any], lines: Any, rows: list[tuple[int, Row | LossPlace]]) -> None:
        """Add the accesses of ``lines`` with the other rows between them."""
        before = np.searchsorted(lines, [line for line, _ in rows])
        values: list[tuple[int, int, int, int, int, int]] = []
        for number, (_, row) in zip((self._length + before + np.arange(len(rows))).tolist(), rows, strict=True):
            if isinstance(row, LossPlace):
                self._places[number] = row.count
                self._texts[Kind.lost][number] = row.text
                row = Row(Kind.lost, None)
            elif row.text or row.kind == Kind.mark:
                self._texts[row.kind][number] = row.text
            time_ns = _NO_TIME if row.time_ns is None else row.time_ns
            values.append((time_ns, row.kind, row.size, row.physical or 0, row.value, row.pc))
        for place, (name, dtype) in enumerate(_DTYPES.items()):
            column = columns[name]
            if rows:
                column = np.insert(column, before, np.array([value[place] for value in values], dtype))
            self._parts[name].append(column)
        self._length += len(column)

    def trace(self) -> Trace:
        """Everything read so far, with times from zero and addresses as BAR offsets."""
        whole = {name: np.concatenate(self._parts.pop(name)) for name in _DTYPES}
        zero_ns = self._zero_ns or 0
        devices, numbers, windows = _devices([device for _, device in self._pcidevs])
        lookup = BarLookup(windows)
        device, bar, address = lookup.find(whole.pop("physical"))
        elsewhere = (whole["kind"] == Kind.mark) | (whole["kind"] == Kind.lost)
        device[elsewhere], bar[elsewhere], address[elsewhere] = NO_DEVICE, NO_BAR, 0
        if not np.any(whole["value"][whole["kind"] == Kind.lost]):
            # MARK lines count the same losses again; where there is none, the places are all that is known.
            for row, count in self._places.items():
                whole["value"][row] = count
        t_ns = _filled(whole.pop("time_ns"), zero_ns)
        t_ns -= zero_ns
        version = self._asides["version"]
        facts = {
            "format": "mmiotrace",
            "version": version[0] if version else None,
            "t0_ns": zero_ns,
            "marks": self._texts[Kind.mark],
            "faults": self._texts[Kind.fault],
            "losses": self._texts[Kind.lost],
            "maps": [_map_fact(line, record, zero_ns, lookup) for line, record in self._maps],
            "pcidevs": [
                _pcidev_fact(line, record, number)
                for (line, record), number in zip(self._pcidevs, numbers, strict=True)
            ],
            "lspci": self._asides["lspci"],
            "comments": self._asides["comment"],
        }
        columns = {**whole, "t_ns": t_ns, "device": device, "bar": bar, "address": address}
        return Trace.from_columns(columns, Tables(devices, facts=facts), self.bad_lines)


def _filled(time_ns: Any, zero_ns: int) -> Any:
    """Times where a row without one has that of the row before it, the first rows ``zero_ns``."""
    if not np.any(time_ns == _NO_TIME):
        return time_ns
    last = np.maximum.accumulate(np.where(time_ns != _NO_TIME, np.arange(len(time_ns)), -1))
    return np.where(last >= 0, time_ns[last], zero_ns)


def _devices(found: list[PciDevice]) -> tuple[list[DeviceInfo], list[int], list[Window]]:
    """Devices with names that differ, the device number of each PCIDEV line, and the memory BARs.

    A line that repeats another (two captures in one file) is the same device.
    """
    different: dict[tuple[object, ...], PciDevice] = {}
    keys = [(one.bus, one.devfn, one.vendor_id, one.device_id, one.starts, one.sizes) for one in found]
    for key, one in zip(keys, found, strict=True):
        if key not in different or not different[key].driver:
            different[key] = one
    names = _distinct([(d.driver or pci_name(d.vendor_id, d.device_id), d.address) for d in different.values()])
    devices, windows = [], []
    for number, (name, one) in enumerate(zip(names, different.values(), strict=True)):
        bars = {}
        for bar, start, size in _bars(one):
            is_io = bool(start & 1)
            base = start & ~(0x3 if is_io else 0xF)
            bars[bar] = BarInfo(size, base or None)
            if base and not is_io:
                windows.append(Window(number, bar, base, size))
        devices.append(DeviceInfo(name, one.vendor_id, one.device_id, one.address, one.driver, bars))
    order = list(different)
    return devices, [order.index(key) for key in keys], windows


def _bars(device: PciDevice) -> list[tuple[int, int, int]]:
    """BAR, start with flag bits, and size of the BARs there are; the upper half of a 64-bit BAR has no size."""
    pairs = zip(device.starts[:6], device.sizes[:6], strict=True)
    return [(bar, start, size) for bar, (start, size) in enumerate(pairs) if size]


def _distinct(named: list[tuple[str, str]]) -> list[str]:
    """Names, those that several devices have with ``@`` and the bus address, and a count if that does not help."""
    several = Counter(name for name, _ in named)
    names = [f"{name}@{address}" if several[name] > 1 else name for name, address in named]
    seen: Counter[str] = Counter()
    for number, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[number] = f"{name}#{seen[name]}"
    return names


def _map_fact(line: int, record: Map | Unmap, zero_ns: int, lookup: BarLookup) -> dict[str, Any]:
    fact = {"event": "unmap", "id": record.id, "t_ns": record.time_ns - zero_ns, "line": line}
    if isinstance(record, Unmap):
        return fact
    device, bar, offset = lookup.find_one(record.physical)
    fact |= {"event": "map", "physical": record.physical, "virtual": record.virtual, "length": record.length}
    return fact | {"device": device, "bar": bar, "offset": offset}


def _pcidev_fact(line: int, record: PciDevice, device: int) -> dict[str, Any]:
    return {
        "line": line,
        "device": device,
        "irq": record.irq,
        "io_bars": [bar for bar, start, _ in _bars(record) if start & 1],
        "rom_address": record.starts[6] & ~0xF,
        "rom_size": record.sizes[6],
    }
