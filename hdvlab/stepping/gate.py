"""The library's gate of one machine, and what it calls. The only module of this package that calls the library."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult, StateError, UsageError, check
from hdvlab.stepping.hit import Access
from hdvlab.trace.schema import Kind

_ROOM = 64
_NOT_FOUND = HResult.ERROR_NOT_FOUND.signed
_BUSY = HResult.ERROR_BUSY.signed


class Asked(Protocol):
    """Who answers what the gate asks, on the thread of the access."""

    def is_wanted(self, native: int, access: Access) -> bool:
        """Whether a hit is one: it is held, or where it passes, counted."""

    def holds_own_thread(self, ticket: int) -> None:
        """The thread that runs cells is held: nobody could let it go."""


@dataclass(frozen=True)
class Rule:
    """One entry of the gate: ``HDVLAB_BREAKPOINT`` without what changes."""

    kinds: frozenset[Kind]
    flags: int
    device: int
    bar: int
    first: int
    last: int
    value: int
    mask: int


class Gate:
    """The gate of one power-on. ``ended`` is set when nothing is held any more, because the machine is off.

    It is kept by whoever keeps the machine, for C calls it; it does not keep the lab.
    """

    def __init__(self, system: Any, asked: Asked) -> None:
        self._system = system
        self._asked = weakref.ref(asked)
        self._handle = ffi.new_handle(self)
        self._changes = ffi.new("uint64_t *")
        self.ended = False
        check(lib.hdvlab_gate_on_ask(system, lib.hdvlab_py_gate_ask, self._handle), "set the gate up")
        check(lib.hdvlab_gate_on_idle(system, lib.hdvlab_py_gate_idle, self._handle), "set the gate up")

    # ---- called by C -------------------------------------------------------------------------------------------

    def on_ask(self, native: int, hit: Any) -> int:
        """See ``HDVLAB_GATE_ASK``."""
        asked = self._asked()
        return 0 if asked is None else int(asked.is_wanted(native, Access.of(hit)))

    def on_idle(self, ticket: int) -> None:
        """See ``HDVLAB_GATE_IDLE``. That Python runs here is what lets exceptions from outside come."""
        if threading.current_thread() is threading.main_thread() and (asked := self._asked()) is not None:
            asked.holds_own_thread(ticket)

    # ---- breakpoints -------------------------------------------------------------------------------------------

    def add(self, rule: Rule, ignore: int = 0) -> int:
        """Set one; its id."""
        out = ffi.new("uint32_t *")
        given = ffi.new("HDVLAB_BREAKPOINT *")
        given.kinds = _bits(rule.kinds)
        given.flags, given.device, given.bar = rule.flags, rule.device, rule.bar
        given.first, given.last, given.value, given.mask = rule.first, rule.last, rule.value, rule.mask
        given.ignore = ignore
        hresult = lib.hdvlab_gate_add(self._system, given, out)
        if hresult == HResult.ERROR_NOT_ENOUGH_QUOTA.signed:
            raise UsageError("there are 256 breakpoints already; %hdv unbreak takes some out")
        check(hresult, "set a breakpoint")
        return int(out[0])

    def set_flags(self, native: int, flags: int) -> None:
        """Other flags; nothing where it is gone."""
        lib.hdvlab_gate_set(self._system, native, flags)

    def remove(self, native: int) -> None:
        """Take it out; nothing where it is gone."""
        lib.hdvlab_gate_remove(self._system, native)

    def hits(self, native: int) -> tuple[int, int]:
        """How often it matched, and held; zeros where it is gone."""
        out = ffi.new("uint64_t[2]")
        lib.hdvlab_gate_hits(self._system, native, out, out + 1)
        return int(out[0]), int(out[1])

    def step(self, count: int) -> None:
        """Hold the count-th next access."""
        check(lib.hdvlab_gate_step(self._system, count), "step")

    # ---- what is held ------------------------------------------------------------------------------------------

    def stops(self) -> list[Access]:
        """Those held now, oldest first."""
        room, count = _ROOM, ffi.new("uint32_t *")
        while True:
            states = ffi.new("HDVLAB_STOP_STATE[]", room)
            if lib.hdvlab_gate_stops(self._system, states, room, count) < 0:
                return []  # the machine is gone
            if count[0] <= room:
                return [Access.of(states[number]) for number in range(count[0])]
            room = 2 * int(count[0])

    def release(self, ticket: int, action: int, value: int) -> None:
        """Let one go."""
        hresult = lib.hdvlab_gate_release(self._system, ticket, action, value)
        if hresult in (_NOT_FOUND, HResult.E_HANDLE.signed):
            raise StateError("it is not held any more", HResult.ERROR_NOT_FOUND)
        if hresult == HResult.E_INVALIDARG.signed:
            raise UsageError("that makes no sense for this access, which stays held; its stop says what can be done")
        check(hresult, "let an access go on")

    def wait(self, seconds: float) -> bool:
        """Wait until something is held or let go; False after so long. Sets ``ended``."""
        hresult = lib.hdvlab_gate_wait(self._system, self._changes, max(1, int(seconds * 1000)))
        if hresult == _BUSY:
            return False
        if hresult < 0:
            self.ended = True
        return True

    def set_limit(self, seconds: float | None) -> None:
        """The longest hold; None: for ever."""
        check(lib.hdvlab_gate_limit(self._system, _milliseconds(seconds)), "limit holds")

    def overdue(self) -> int:
        """How many holds the limit ended."""
        out = ffi.new("uint64_t *")
        lib.hdvlab_gate_overdue(self._system, out)
        return int(out[0])


def _milliseconds(seconds: float | None) -> int:
    if seconds is None:
        return 0xFFFF_FFFF
    if not 0 < seconds < 4e6:
        raise UsageError(f"a hold lasts more than 0 and less than 4,000,000 seconds, not {seconds!r}; None: for ever")
    return max(1, int(seconds * 1000))


def _bits(kinds: Iterable[Kind]) -> int:
    return sum(1 << kind for kind in kinds)
