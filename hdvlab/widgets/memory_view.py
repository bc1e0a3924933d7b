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
        data, gaps, pieces, self.why = b"", [], seen.pieces, seen.why
        end = self.address + self.size
        for number, (start, found) in enumerate(pieces):
            length = (pieces[number + 1][0] if number + 1 < len(pieces) else end) - start
            if isinstance(found, str):
                gaps.append((start, length, found))
                data += bytes(length)
            else:
                data += found
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
            "gaps": [[start - self.address, length, why] for start, length, why in self._joined_gaps()],
        }  # fmt: skip

    def _joined_gaps(self) -> list[tuple[int, int, str]]:
        """Neighbouring pages that are no RAM, as one; the reason is the first one's."""
        joined: list[tuple[int, int, str]] = []
        for start, length, why in self.gaps:
            if joined and joined[-1][0] + joined[-1][1] == start:
                joined[-1] = (joined[-1][0], joined[-1][1] + length, joined[-1][2])
            else:
                joined.append((start, length, why))
        return joined

    def rows_of(self, first: int, last: int) -> Array:
        """Numbers of the DMA rows that touched bytes ``first`` to ``last`` (inclusive)."""
        return rows_of_memory(self._lab.trace.view(), first, last)

    def text(self, overlay: str = "") -> str:
        """The panel for a terminal."""
        if self.why:
            return self.why
        data, flags, lines = self.changes.data, self.flags(), []
        for at in range(0, len(data), LINE):
            row, told = data[at : at + LINE], flags[at : at + LINE]
            absent = [flag & ABSENT for flag in told]
            digits = " ".join("--" if gone else f"{byte:02x}" for byte, gone in zip(row, absent, strict=True))
            letters = "".join(
                " " if gone else chr(byte) if 32 <= byte < 127 else "." for byte, gone in zip(row, absent, strict=True)
            )
            lines.append(f"{self.address + at:016x}  {digits}  {letters}".rstrip())
        lines += [f"{start:#x}: {why}" for start, _, why in self._joined_gaps()]
        if chosen := self.overlays.get(overlay):
            number = 0
            while (entry := chosen.entry(number, data)) is not None:
                lines.append(
                    f"{chosen.name}[{number}]  " + "  ".join(f"{name}={value:#x}" for name, value in entry.items())
                )
                number += 1
        return "\n".join(lines)
