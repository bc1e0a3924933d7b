"""A guest that writes a register in a loop, as fast as it can; in the kernel whose panels are measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hdvlab._core import ffi, lib
from hdvlab.device import Device
from hdvlab.errors import check
from hdvlab.lab import Lab
from hdvlab.registers import Bar, Register

#: Accesses between two looks at the clock: about a tenth of a second.
_AT_ONCE_C, _AT_ONCE_PYTHON = 1_000_000, 20_000


class BusyDevice(Device):
    """One register in C."""

    vendor_id, device_id = 0x1234, 0xBE50

    class bar0(Bar, size=4096):
        VALUE = Register(0x00)


class BusyGuest:
    """A lab, and a guest in it that writes for a while.

    Parameters
    ----------
    in_c : bool
        The guest's loop is C, as the device's register is: nothing but panels wants the interpreter. Else it is
        Python, which shares the interpreter with them.
    """

    def __init__(self, in_c: bool) -> None:
        self.lab = Lab()
        self._bar = self.lab.plug(BusyDevice, name="busy").bar0
        self._in_c = in_c
        self._done = threading.Event()
        self.accesses, self.ns, self.cpu_ns = 0, 0, 0
        """How many there were, how long they took together, and how much of that the guest's thread had a CPU."""
        self._began_ns = 0  # of the trace, since 1970

    def run(self, seconds: float) -> None:
        """Begin; returns at once."""
        before = time.time_ns()
        row = self.lab.mark("full speed")
        self._began_ns = before - int(self.lab.trace.columns()["t_ns"][row])
        threading.Thread(target=self._run, args=(seconds,), name="hdvlab-busy-guest", daemon=True).start()

    def _run(self, seconds: float) -> None:
        loop = self._write_c if self._in_c else self._write_python
        loop(1000)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.thread_time_ns()
            self.ns += loop(count := _AT_ONCE_C if self._in_c else _AT_ONCE_PYTHON)
            self.cpu_ns += time.thread_time_ns() - began
            self.accesses += count
        self._done.set()

    def _write_c(self, count: int) -> int:
        ns = ffi.new("uint64_t *")
        check(lib.hdvlab_bench_guest_writes(self.lab.machine.handle, self._bar.address, 4, count, ns), "bench")
        return int(ns[0])

    def _write_python(self, count: int) -> int:
        write, began = self._bar.VALUE.write, time.perf_counter_ns()
        for number in range(count):
            write(number)
        return time.perf_counter_ns() - began

    def wait(self, timeout: float) -> bool:
        """Wait for the end."""
        return self._done.wait(timeout)

    @property
    def rate(self) -> float:
        """Accesses in a second."""
        return self.accesses / max(self.ns, 1) * 1e9

    @property
    def lost(self) -> int:
        """Rows that the recording did not get."""
        return int(self.lab.trace.state.lost)

    def lags(self, seen: Sequence[Sequence[int]]) -> tuple[float, float, float]:
        """How old the newest row on screen was, in milliseconds.

        Parameters
        ----------
        seen : list of [int, int]
            When a panel showed another number of rows, in ms since 1970, and how many.

        Returns
        -------
        tuple of float
            As it was painted: in the middle and at most. Just before the next painting: at most how old the oldest row
            was that was not on screen.
        """
        t_ns: np.ndarray[Any, Any] = self.lab.trace.columns()["t_ns"]
        at, rows = np.array(seen, dtype=np.int64).reshape(-1, 2).T
        inside = (rows > 0) & (rows < len(t_ns))
        at, rows = at[inside] * 1_000_000 - self._began_ns, rows[inside]
        if len(rows) < 2:
            return (float("nan"),) * 3
        painted = (at - t_ns[rows - 1]) / 1e6
        waited = (at[1:] - t_ns[rows[:-1]]) / 1e6
        return float(np.median(painted)), float(painted.max()), float(waited.max())
