"""A machine's gate, as tests use it: breakpoints by keyword, stops as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import DEADLINE, S_OK, code

TOP = (1 << 64) - 1


class Gate:
    """The gate of a system."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self._callbacks: list[Any] = []

    def try_add(self, *kinds: int, flags: int = 0, **fields: int) -> tuple[int, int]:
        """hdvlab_gate_add: the HRESULT and the id."""
        given = {"device": -1, "bar": -1, "first": 0, "last": TOP, "flags": flags} | fields
        given.setdefault("kinds", sum(1 << kind for kind in kinds))
        out = ffi.new("uint32_t *")
        return code(lib.hdvlab_gate_add(self.system, ffi.new("HDVLAB_BREAKPOINT *", given), out)), int(out[0])

    def add(self, *kinds: int, flags: int = 0, **fields: int) -> int:
        """The id of a new breakpoint."""
        hresult, number = self.try_add(*kinds, flags=flags, **fields)
        assert hresult == S_OK
        return number

    def set(self, number: int, flags: int) -> int:
        return code(lib.hdvlab_gate_set(self.system, number, flags))

    def remove(self, number: int) -> int:
        return code(lib.hdvlab_gate_remove(self.system, number))

    def hits(self, number: int) -> tuple[int, int]:
        hits, stops = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        assert code(lib.hdvlab_gate_hits(self.system, number, hits, stops)) == S_OK
        return int(hits[0]), int(stops[0])

    def step(self, count: int = 1) -> int:
        return code(lib.hdvlab_gate_step(self.system, count))

    def stops(self, room: int = 16) -> list[Any]:
        """What is held now, oldest first."""
        states, count = ffi.new("HDVLAB_STOP_STATE[]", max(room, 1)), ffi.new("uint32_t *")
        assert code(lib.hdvlab_gate_stops(self.system, states, room, count)) == S_OK
        return [ffi.new("HDVLAB_STOP_STATE *", states[i]) for i in range(min(room, int(count[0])))]

    def release(self, ticket: int, action: int = 0, value: int = 0) -> int:
        return code(lib.hdvlab_gate_release(self.system, ticket, action, value))

    def wait(self, changes: int, ms: int) -> tuple[int, int]:
        """hdvlab_gate_wait: the HRESULT and the counter."""
        cell = ffi.new("uint64_t *", changes)
        return code(lib.hdvlab_gate_wait(self.system, cell, ms)), int(cell[0])

    def held(self, count: int = 1) -> list[Any]:
        """Wait until that many are held."""
        end, changes = time.monotonic() + DEADLINE, 0
        while len(stops := self.stops()) != count:
            assert time.monotonic() < end, f"{len(stops)} held, not {count}"
            hresult, changes = self.wait(changes, 1000)
            assert hresult in (S_OK, HResult.ERROR_BUSY)
        return stops

    def one(self) -> Any:
        """Wait for the one stop."""
        return self.held(1)[0]

    def go(self, action: int = 0, value: int = 0) -> Any:
        """Wait for the one stop, and let it go so."""
        stop = self.one()
        assert self.release(stop.ticket, action, value) == S_OK
        return stop

    def limit(self, ms: int) -> int:
        return code(lib.hdvlab_gate_limit(self.system, ms))

    def overdue(self) -> int:
        count = ffi.new("uint64_t *")
        assert code(lib.hdvlab_gate_overdue(self.system, count)) == S_OK
        return int(count[0])

    def on_ask(self, ask: Callable[[int, Any], int] | None) -> int:
        return self._on("uint32_t(void *, uint32_t, const HDVLAB_STOP_STATE *)", lib.hdvlab_gate_on_ask, ask)

    def on_idle(self, idle: Callable[[int], int] | None) -> int:
        return self._on("uint32_t(void *, uint64_t)", lib.hdvlab_gate_on_idle, idle)

    def _on(self, ctype: str, function: Any, call: Callable[..., int] | None) -> int:
        if call is None:
            return code(function(self.system, ffi.NULL, ffi.NULL))
        chosen = call
        callback = ffi.callback(ctype, lambda _, *arguments: int(chosen(*arguments)))
        self._callbacks.append(callback)
        return code(function(self.system, callback, ffi.NULL))


def marks(rows: Sequence[dict[str, int]], recording: Any) -> list[tuple[int, str]]:
    """Cause and text of the mark rows."""
    return [
        (row["cause"], recording.payload(row["payload"], row["size"]).decode())
        for row in rows
        if row["kind"] == lib.HDVLAB_MARK
    ]
