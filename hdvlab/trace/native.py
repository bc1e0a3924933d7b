"""A trace of the C library: its handle, its columns as arrays, and its statuses as errors.

The only module of this package that calls the library.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult, StateError, TraceError, TraceFormatError
from hdvlab.trace.schema import COLUMNS

Array = np.ndarray[Any, Any]

#: Names of the clocks, in the order of ``HDVLAB_CLOCK_*``.
CLOCKS = ("auto", "tsc", "monotonic", "manual")

_ADVICE = {
    HResult.ERROR_TOO_MANY_OPEN_FILES: "too many open files: close labs and traces, or raise the limit (ulimit -n)",
    HResult.ERROR_DISK_FULL: "there is no space for it: the disk, the quota or the file size limit is reached",
    HResult.ERROR_NOT_ENOUGH_QUOTA: "max_rows is reached; record with a larger max_rows",
    HResult.E_ACCESSDENIED: "this user may not do that here; choose another path",
    HResult.ERROR_NOT_FOUND: "there is no such path, or one of its files is missing",
    HResult.ERROR_ALREADY_EXISTS: "it holds a trace already; choose another path or remove that one",
    HResult.E_OUTOFMEMORY: "there is not enough address space, or too many handles are open; lower max_rows",
    HResult.E_FAIL: "the operating system refused; the path must name a directory on a local disk",
}


def advice(hresult: int) -> str:
    """What a failed HRESULT means for a trace, and what to do about it."""
    symbol = HResult.symbol_of(hresult)
    return next((f"{text} ({symbol})" for code, text in _ADVICE.items() if code == hresult & 0xFFFFFFFF), symbol)


def check_trace(hresult: int, operation: str) -> None:
    """Raise the error of this package that fits a failed HRESULT."""
    if hresult >= 0:
        return
    code = hresult & 0xFFFFFFFF
    if code == HResult.E_HANDLE:
        raise StateError("the trace is closed", HResult.ERROR_INVALID_STATE, operation)
    cls = TraceFormatError if code == HResult.E_INVALIDARG else TraceError
    raise cls(advice(code), code, operation)


@dataclass(frozen=True)
class TraceState:
    """The counters of a trace's header at one moment; ``HDVLAB_TRACE_STATE`` says what each is."""

    reserved: int
    capacity: int
    lost: int
    backward: int
    payload_reserved: int
    payload_bytes: int
    payload_max: int
    max_rows: int
    chunk_rows: int
    wall_ns: int
    stopped: int
    clock: int
    closed: int
    live: int
    suspended: int

    @property
    def rows_begun(self) -> int:
        """Rows that the recorder had space for, the one that counts lost rows among them."""
        return min(self.reserved, self.capacity + 1)


class NativeTrace:
    """A handle of the library, closed once, and the mappings behind it, kept for as long as an array uses them."""

    def __init__(self, handle: Any, path: Path) -> None:
        self.handle = handle
        self.path = path
        self.is_closed = False
        self._process = os.getpid()
        self._lock = threading.Lock()
        state = self.state()
        self._max_rows, self._payload_max = state.max_rows, state.payload_max

    @classmethod
    def create(cls, path: Path, max_rows: int, chunk_rows: int, clock: str) -> NativeTrace:
        """Make a recording in directory ``path``, which is made where it is not there."""
        out = ffi.new("void **")
        status = lib.hdvlab_trace_create(bytes(path), max_rows, chunk_rows, CLOCKS.index(clock), out)
        check_trace(status, f"record into {path}")
        return cls(out[0], path)

    @classmethod
    def attach(cls, path: Path) -> NativeTrace:
        """Map a recording read-only."""
        out = ffi.new("void **")
        check_trace(lib.hdvlab_trace_attach(bytes(path), out), f"open {path}")
        return cls(out[0], path)

    @classmethod
    def salvage(cls, path: Path, max_rows: int, chunk_rows: int) -> NativeTrace:
        """Map a recording whose header is damaged."""
        out = ffi.new("void **")
        check_trace(lib.hdvlab_trace_salvage(bytes(path), max_rows, chunk_rows, out), f"open {path}")
        return cls(out[0], path)

    def state(self) -> TraceState:
        """The header's counters now."""
        out = ffi.new("HDVLAB_TRACE_STATE *")
        check_trace(lib.hdvlab_trace_state(self.handle, out), f"state of {self.path}")
        return TraceState(**{name: int(getattr(out, name)) for name in TraceState.__dataclass_fields__})

    def committed(self, start: int) -> int:
        """Rows published without a gap, known to be so up to ``start``; all rows once the writer is gone."""
        out = ffi.new("uint64_t *")
        check_trace(lib.hdvlab_trace_committed(self.handle, start, out), f"rows of {self.path}")
        return int(out[0])

    def settled(self, start: int) -> int:
        """Rows from ``start`` on that are sealed, so that none of them is pending; ``start`` once it is closed."""
        out = ffi.new("uint64_t *", start)
        lib.hdvlab_trace_settled(self.handle, start, out)
        return int(out[0])

    def verify(self, chunk: int) -> tuple[int, int]:
        """The state of a chunk (0 unsealed, 1 whole, 2 damaged, 3 payload damaged, 4 cut) and its sealed rows."""
        out = ffi.new("uint32_t[2]")
        check_trace(lib.hdvlab_trace_verify(self.handle, chunk, out, out + 1), f"verify {self.path}")
        return int(out[0]), int(out[1])

    def columns(self) -> dict[str, Array]:
        """Every column, as long as its mapping: what is behind the last row may not be touched."""
        return {
            name: self._view(number, self._max_rows * np.dtype(dtype).itemsize).view(dtype)
            for number, (name, dtype) in enumerate(COLUMNS.items())
        }

    def payload(self) -> Array:
        """payload.bin, as long as its mapping."""
        return self._view(lib.HDVLAB_COLUMN_COUNT, self._payload_max)

    def _view(self, number: int, size: int) -> Array:
        out = ffi.new("void **")
        handle, unpin = self.handle, lib.hdvlab_trace_unpin
        check_trace(lib.hdvlab_trace_pin(handle, number, out), f"map {self.path}")
        pinned = ffi.gc(out[0], lambda _: unpin(handle))
        # Read-only also for the process that records: a frame is what happened.
        return np.frombuffer(memoryview(ffi.buffer(pinned, size)).toreadonly(), dtype=np.uint8)

    def mark(self, kind: int, text: bytes, device: int, cause: int, status: int) -> int:
        """Record a row with text; -1 when the recording has stopped (the row is counted as lost)."""
        out = ffi.new("int64_t *", -1)
        done = lib.hdvlab_trace_mark(self.handle, kind, device, cause, status, text, len(text), out)
        check_trace(done, f"mark in {self.path}")
        return int(out[0])

    def suspend(self, suspended: bool) -> None:
        """Record nothing for a while, or go on."""
        check_trace(lib.hdvlab_trace_suspend(self.handle, suspended), f"record into {self.path}")

    def set_time(self, t_ns: int) -> None:
        """Set the manual clock."""
        status = lib.hdvlab_trace_set_time(self.handle, t_ns)
        if status & 0xFFFFFFFF == HResult.ERROR_INVALID_STATE:
            raise StateError('only clock="manual" can be set', status, f"set time of {self.path}")
        check_trace(status, f"set time of {self.path}")

    def append(self, columns: dict[str, Array], payload: Array) -> None:
        """Copy rows, and the bytes of ``payload`` that they point at, behind those that there are."""
        held = [np.ascontiguousarray(columns[name], dtype) for name, dtype in COLUMNS.items()]
        pointers = ffi.new("void *[]", [ffi.cast("void *", array.ctypes.data) for array in held])
        bytes_of = ffi.cast("void *", payload.ctypes.data if len(payload) else 0)
        status = lib.hdvlab_trace_append(self.handle, len(held[0]), pointers, bytes_of, len(payload))
        check_trace(status, f"write {self.path}")

    def finish(self) -> None:
        """End the recording in good order; it can still be read."""
        check_trace(lib.hdvlab_trace_finish(self.handle), f"finish {self.path}")

    def close(self) -> None:
        """Give the handle back. Arrays made from it stay good.

        Does nothing in a child that was forked: the recording is its parent's.
        """
        with self._lock:
            if not self.is_closed and os.getpid() == self._process:
                self.is_closed = True
                lib.hdvlab_trace_close(self.handle)
