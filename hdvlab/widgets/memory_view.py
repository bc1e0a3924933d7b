"""What the memory panel shows: a window of guest RAM, which bytes changed, and what is no RAM. It only looks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from hdvlab.analysis.dma_regions import DmaRegions
from hdvlab.analysis.selection import Array, device_name
from hdvlab.analysis.touching import rows_of_memory
from hdvlab.errors import HdvError, UsageError
from hdvlab.registers import RegisterMap
from hdvlab.widgets.changes import ByteChanges
from hdvlab.widgets.overlay import Overlay, Part, overlays
from hdvlab.widgets.target import OfLab, Targets

LINE = 16
#: Bytes that a window may have.
LARGEST = 4096
#: Of a byte's flags: no RAM is there.
ABSENT = 0x80
_TOP = 1 << 64


class Seen(NamedTuple):
    """One look: where, what was there in stretches, or why there is nothing."""

    address: int
    pieces: list[tuple[int, bytes | str]]
    why: str


class MemoryView(OfLab):
    """A window of guest RAM.

    Parameters
    ----------
    lab : Targets
        Whose.
    size : int
        Bytes of the window, whole lines of 16.
    given : sequence of Overlay, RegisterMap or list of (int, int, str)
        Overlays beside the shipped ones.
    clock : callable
        Seconds, for how long a change is marked.
    """

    def __init__(
        self,
        lab: Targets,
        size: int = 512,
        given: Sequence[Overlay | RegisterMap | Iterable[Part]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(lab)
        self.size = max(LINE, min(LARGEST, size - size % LINE))
        self.address = 0
        self.overlays = overlays(given)
        self.why = ""
        """Why there is nothing to show; empty where there is."""
        self.gaps: list[tuple[int, int, str]] = []
        """First byte, bytes, and why they cannot be looked at."""
        self.changes = ByteChanges(clock)
        self._regions = DmaRegions()
        self._shown: object = None

    # ---- where -------------------------------------------------------------------------------------------------

    def go(self, address: int) -> None:
        """Show the line that holds ``address``; a window reaches no further than the last page there can be."""
        self.address = max(0, min(address - address % LINE, _TOP - self.size))

    def find(self, text: str) -> int:
        """An address that a person typed: a number (hexadecimal), or the name of a region that DMA touched.

        Raises
        ------
        UsageError
            It is neither.
        """
        word = text.strip().replace("_", "") if re.fullmatch(r"\s*(0x)?[0-9a-fA-F_]+\s*", text) else text.strip()
        names = {name: first for name, first, _, _ in self.regions()}
        if word in names:
            return names[word]
        try:
            address = int(word, 16)
        except ValueError:
            known = ", ".join(names) or "none yet, for no device has used DMA"
            raise UsageError(f"{text!r:.40} is no address; write hexadecimal digits, or a region: {known}") from None
        if address >= _TOP:
            raise UsageError(f"{text!r:.40} has more than 64 bits; the last address is 0xffffffffffffffff")
        return address

    def regions(self) -> list[tuple[str, int, int, int]]:
        """Name, first and last byte, and rows of each stretch that a device's DMA touched: ``nvme.dma0``."""
        trace = self._lab.trace
        self._regions.look(trace.view())
        found, counts = [], dict[str, int]()
        for region in self._regions.regions:
            name = device_name(trace.tables, region.device) or f"device{region.device}"
            number = counts[name] = counts.get(name, -1) + 1
            found.append((f"{name}.dma{number}", region.first, region.last, region.rows))
        return found

    # ---- looking -----------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Look once; whether there is anything else to show than before."""
        return self.take(self.fetch())

    def fetch(self) -> Seen:
        """Look, on any thread; it may wait for a device host."""
        address = self.address
        try:
            return Seen(address, self._lab.ram_peek(address, self.size), "")
        except HdvError as error:
            return Seen(address, [], error.message)

    def take(self, seen: Seen) -> bool:
        """Keep what was seen; whether there is anything else to show than before."""
        if seen.address != self.address:
            return False  # it was moved meanwhile: the next look is what is wanted
        self.why = seen.why
        data, gaps = _joined(seen, self.size)
        now = (self.address, self.why, gaps)
        is_other, self._shown, self.gaps = now != self._shown, now, gaps
        return self.changes.take(data, is_other)

    def flags(self) -> bytes:
        """A byte for each byte of the window: see :mod:`hdvlab.widgets.changes`, and :data:`ABSENT`."""
        flags = bytearray(self.changes.flags())
        for start, length, _ in self.gaps:
            at = start - self.address
            flags[at : at + length] = bytes([ABSENT]) * length
        return bytes(flags)

    def layout(self) -> dict[str, Any]:
        """For the browser; the bytes and their flags go beside it. Addresses are text: JSON has no 64-bit numbers."""
        return {
            "address": f"{self.address:x}", "size": self.size, "why": self.why,
            "gaps": [[start - self.address, length, why] for start, length, why in self.gaps],
        }  # fmt: skip

    def rows_of(self, first: int, last: int) -> Array:
        """Numbers of the DMA rows that touched bytes ``first`` to ``last`` (inclusive)."""
        return rows_of_memory(self._lab.trace.view(), first, last)

    def text(self, seen: Seen, overlay: str = "", at: int = 0) -> str:
        """The panel for a terminal: lines of hexadecimal, then the entries of an overlay that begins at ``at``."""
        if seen.why:
            return seen.why
        data, gaps = _joined(seen, self.size)
        absent = bytearray(len(data))
        for start, length, _ in gaps:
            absent[start - seen.address : start - seen.address + length] = bytes([1]) * length
        lines = []
        for line in range(0, len(data), LINE):
            if all(absent[line : line + LINE]):
                continue
            pairs = list(zip(data[line : line + LINE], absent[line : line + LINE], strict=True))
            digits = " ".join("--" if gone else f"{byte:02x}" for byte, gone in pairs)
            letters = "".join(" " if gone else chr(byte) if 32 <= byte < 127 else "." for byte, gone in pairs)
            lines.append(f"{seen.address + line:016x}  {digits}  {letters}".rstrip())
        lines += [f"{start:016x} to {start + length - 1:#x}: {why}" for start, length, why in gaps]
        chosen, inside = self.overlays.get(overlay), data[max(0, at - seen.address) :]
        number = 0
        while chosen is not None and at >= seen.address and (entry := chosen.entry(number, inside)) is not None:
            told = "  ".join(f"{name}={value:#x}" for name, value in entry.items())
            lines.append(f"{chosen.name}[{number}]  {told}")
            number += 1
        return "\n".join(lines)


def _joined(seen: Seen, size: int) -> tuple[bytes, list[tuple[int, int, str]]]:
    """The bytes, zero where no RAM is; and the stretches where none is: first byte, bytes, why (the first page's)."""
    data, gaps, end = b"", list[tuple[int, int, str]](), seen.address + size
    for number, (start, found) in enumerate(seen.pieces):
        length = (seen.pieces[number + 1][0] if number + 1 < len(seen.pieces) else end) - start
        if isinstance(found, bytes):
            data += found
            continue
        data += bytes(length)
        if gaps and gaps[-1][0] + gaps[-1][1] == start:
            gaps[-1] = (gaps[-1][0], gaps[-1][1] + length, gaps[-1][2])
        else:
            gaps.append((start, length, found))
    return data, gaps
