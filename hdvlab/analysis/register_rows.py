"""Rows that touch a register, and rows that carry all bits of a register or field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hdvlab.analysis.selection import Array
from hdvlab.registers import Field, Register
from hdvlab.registers.spelling import spellings
from hdvlab.trace.tables import Tables


@dataclass(frozen=True)
class RegisterRows:
    """A register of a device that a trace knows, or a field of it, asked of columns.

    ``device`` is a number of the trace's table.
    """

    device: int
    bar: int
    register: Register
    field: Field | None = None

    def touching(self, columns: Mapping[str, Array]) -> Array:
        """Which rows, of whatever kind, have a byte of the register; where a field is meant, a bit of it."""
        address = columns["address"]
        found: Array = (address < self.register.end) & (address + columns["size"] > self.register.offset)
        found &= (columns["device"] == self.device) & (columns["bar"] == self.bar)
        if self.field is not None:
            at = np.flatnonzero(found)
            low, width, first = self._bits(columns, at)
            found[at] = (first < low + width) & (first + 8 * columns["size"][at].astype(np.int64) > low)
        return found

    def covering(self, columns: Mapping[str, Array], among: Array, compare: Callable[[Array], Array]) -> Array:
        """Which of the rows ``among`` carry all its bits, and a value of it that passes ``compare``.

        A row that carries only some of them says nothing of the value. Rows keep their first 8 bytes.
        """
        at = np.flatnonzero(among)
        low, width, first = self._bits(columns, at)
        shift = low - first
        whole = (shift >= 0) & (shift + width <= 8 * np.minimum(columns["size"][at].astype(np.int64), 8))
        at, shift = at[whole], shift[whole].astype(np.uint64)
        found = np.zeros(len(among), dtype=bool)
        found[at] = compare((columns["value"][at] >> shift) & np.uint64((1 << width) - 1))
        return found

    def _bits(self, columns: Mapping[str, Array], at: Array) -> tuple[int, int, Array]:
        """First bit and width of what is meant, counted from the BAR's start, and the first bit of each row there."""
        low, width = (0, self.register.width) if self.field is None else (self.field.lsb, self.field.width)
        return 8 * self.register.offset + low, width, columns["address"][at].astype(np.int64) * 8


def written_registers(tables: Tables) -> Iterator[tuple[str, RegisterRows]]:
    """Every way to write a register or field that a trace knows, and what it means."""
    for number, info in enumerate(tables.devices):
        maps = {index: bar.registers or () for index, bar in info.bars.items()}
        for written, bar, register, field in spellings(info.name, maps):
            yield written, RegisterRows(number, bar, register, field)
