"""Pokes from the register panel, and what can be taken back of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdvlab.errors import HdvError, HResult
from hdvlab.registers import Field, Register
from hdvlab.trace.schema import Kind, Origin
from hdvlab.trace.trace import Trace
from hdvlab.widgets.target import OfLab, Targets

#: Pokes that are remembered.
_KEPT = 100

_WHY: dict[int, str] = {
    HResult.E_ACCESSDENIED: "read-only: the write was dropped",
    HResult.ERROR_NOT_FOUND: "no register claims that offset",
    HResult.E_INVALIDARG: "the register does not take accesses of that size",
    HResult.ERROR_INVALID_STATE: "the device is not running",
    HResult.E_UNEXPECTED: "its handler failed; lab.faults has the traceback",
    HResult.E_HANDLE: "the device is not plugged in any more",
    HResult.ERROR_POSSIBLE_DEADLOCK: "the device is held inside its own callback; let it go on first",
}


def outcome(hresult: int) -> str:
    """An HRESULT for people: its name, and why where it is a failure."""
    symbol = HResult.symbol_of(hresult)
    if hresult >= 0:
        return symbol
    return f"{symbol}: {_WHY.get(hresult & 0xFFFFFFFF, 'the device refused it')}"


@dataclass(frozen=True)
class Poke:
    """One poke. ``old`` and ``new`` are the register's stored values before and after; None where nobody can look."""

    device: str
    index: int
    """The device's number in the trace when it was poked."""
    bar: int
    register: Register
    field: Field | None
    wanted: int
    old: int | None
    new: int | None
    hresult: int
    row: int
    """Of the trace; -1 where none was found."""
    is_undo: bool = False

    @property
    def name(self) -> str:
        """``blink.CTRL.EN``."""
        return f"{self.device}.{self.register.name}{f'.{self.field.name}' if self.field else ''}"

    def to_dict(self) -> dict[str, Any]:
        """For the browser."""
        return {
            "device": self.device, "bar": self.bar, "offset": self.register.offset, "name": self.name,
            "wanted": f"{self.wanted:x}", "old": None if self.old is None else f"{self.old:x}",
            "new": None if self.new is None else f"{self.new:x}", "ok": self.hresult >= 0,
            "outcome": outcome(self.hresult), "row": self.row, "undo": self.is_undo,
        }  # fmt: skip

    def __str__(self) -> str:
        went = f"{self.old:#x} → {self.new:#x}" if self.old is not None and self.new is not None else "not to be seen"
        return f"{self.name} = {self.wanted:#x}: {went} ({outcome(self.hresult)})"


class Pokes(OfLab):
    """Pokes that were made, the newest last. One thread at a time pokes; it may wait for the device."""

    def __init__(self, lab: Targets) -> None:
        super().__init__(lab)
        self._guard = threading.Lock()
        self.made: list[Poke] = []

    def poke(self, device: str, bar: int, register: Register, field: Field | None, value: int) -> Poke:
        """Poke a register or a field; a row with origin ``user``.

        Raises
        ------
        HdvError
            It could not be tried: the machine is off, the device is gone, the value does not fit.
        """
        with self._guard:
            return self._poke(device, bar, register, field, value, False)

    def _poke(
        self, device: str, bar: int, register: Register, field: Field | None, value: int, is_undo: bool
    ) -> Poke:  # fmt: skip
        one, trace = self._lab[device], self._lab.trace
        old = self._seen(device, bar, register)
        before = len(trace)
        hresult = one.poke_field(register, bar, field, value)
        new = self._seen(device, bar, register)
        row = _row_of(trace, before, one.index, bar, register.offset)
        made = Poke(device, one.index, bar, register, field, value, old, new, hresult, row, is_undo)
        self.made = [*self.made, made][-_KEPT:]
        return made

    def _seen(self, device: str, bar: int, register: Register) -> int | None:
        [answer] = self._lab.peek_many([(device, bar, register.offset, register.size)])
        return answer if isinstance(answer, int) else None

    @property
    def last(self) -> Poke | None:
        """The one that :meth:`undo` would take back: the newest that has not been."""
        undone = 0
        for poke in reversed(self.made):
            if poke.is_undo:
                undone += 1
            elif undone:
                undone -= 1
            else:
                return poke
        return None

    def why_no_undo(self, now: int | None = None) -> str:
        """Why the last poke cannot be taken back; empty where it can. ``now`` is the register's value, if known."""
        poke = self.last
        return "nothing was poked" if poke is None else self._why_no_undo(poke, now)

    def _why_no_undo(self, poke: Poke, now: int | None) -> str:
        if poke.hresult < 0:
            return f"{poke.name}: the poke had no effect"
        if poke.device not in self._lab or not self._lab.running:
            return f"{poke.device} is not running any more"
        if self._lab[poke.device].index != poke.index:
            return f"{poke.device} was plugged in or reloaded since"
        if poke.old is None or poke.new is None:
            return f"{poke.device} cannot be looked at, so what was there before is not known"
        if poke.old == poke.new:
            return f"{poke.name}: the poke changed nothing"
        lost = (poke.old ^ poke.new) & ~poke.register.masks.write
        if lost:
            names = [field.name for field in poke.register.fields.values() if field.mask & lost]
            return f"{', '.join(names) or f'bits {lost:#x}'} of {poke.register.name} cannot be written back"
        if (self._seen(poke.device, poke.bar, poke.register) if now is None else now) != poke.new:
            return f"{poke.register.name} has changed since"
        return ""

    def undo(self) -> Poke:
        """Poke back what was there before the last poke. Its write handler runs again; other effects stay.

        Raises
        ------
        HdvError
            It cannot be; the message says why.
        """
        with self._guard:
            poke, why = self.last, self.why_no_undo()
            if poke is None or why:
                raise HdvError(f"cannot be undone: {why}", HResult.ERROR_INVALID_STATE)
            assert poke.old is not None
            value = poke.old & poke.register.masks.write  # a 1 would clear or set what is not to change
            return self._poke(poke.device, poke.bar, poke.register, None, value, True)


def _row_of(trace: Trace, since: int, device: int, bar: int, offset: int) -> int:
    """The row of a person's write that came after ``since``; -1 where there is none."""
    view = trace.view()
    new = view.cut(min(since, len(view)), len(view))
    columns = new.columns
    mine = (columns["kind"] == Kind.mmio_write) & (columns["origin"] == Origin.user)
    mine &= (columns["device"] == device) & (columns["bar"] == bar) & (columns["address"] == offset)
    at = np.flatnonzero(mine)
    return int(new.numbers[at[0]]) if len(at) else -1
