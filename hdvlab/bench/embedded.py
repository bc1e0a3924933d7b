"""What needs no VM: the tap, accesses in the embedded machine, frames, the import."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.bench.figure import MS, NS, US, Figure, S, repeat
from hdvlab.device import Device
from hdvlab.errors import check
from hdvlab.hdv.structures import guid
from hdvlab.lab import Lab
from hdvlab.registers import Bar, Register
from hdvlab.systems.embedded import EmbeddedMachine
from hdvlab.trace.recorder import Recorder


class BenchDevice(Device):
    """One register without behaviour, one with."""

    vendor_id, device_id = 0x1234, 0xBE4C

    class bar0(Bar, size=4096):
        PLAIN = Register(0x00, reset=0x12345678)
        HANDLED = Register(0x04, access="ro")

    @bar0.HANDLED.on_read
    def handled(self) -> int:
        return 1


def _rows(recorder: Recorder, complete: bool, count: int = 20_000) -> float:
    ns = ffi.new("uint64_t *")
    check(lib.hdvlab_bench_rows(recorder.handle, count, complete, ns), "bench_rows")
    return float(ns[0]) / count


def bench_rows() -> Iterator[Figure]:
    """The tap by itself: one row, in one go and begun-then-completed."""
    with Recorder.create() as recorder:
        is_tsc = recorder.state.clock == lib.HDVLAB_CLOCK_TSC
        clock = "TSC" if is_tsc else "clock_gettime"

        def rested(complete: bool) -> float:
            time.sleep(0.002)  # the helper thread reserves and touches pages ahead, as it does beside a guest
            return _rows(recorder, complete)

        rested(True)
        median, best = repeat(lambda: rested(False), 60)
        yield Figure(f"one recorded row, C, steady state ({clock})", median, best, 15 if is_tsc else 40, "ns", NS)
        median, best = repeat(lambda: rested(True), 60)
        yield Figure("  the same, begun and completed", median, best, 30 if is_tsc else 70, "ns", NS)
        median, best = repeat(lambda: _rows(recorder, True, 400_000), 5)
        yield Figure("  the same without a pause (new pages in the way)", median, best, None, "ns", NS)


def bench_accesses() -> Iterator[Figure]:
    """An MMIO read, from C and from Python, of a register with and without behaviour."""
    with Lab() as lab:
        bar = lab.plug(BenchDevice, name="bench").bar0
        ns = ffi.new("uint64_t *")

        def from_c(offset: int, count: int) -> float:
            time.sleep(0.002)
            check(lib.hdvlab_bench_guest_reads(lab.machine.handle, bar.address + offset, 4, count, ns), "bench")
            return float(ns[0]) / count

        def from_python(count: int = 20_000) -> float:
            time.sleep(0.002)
            read = bar.PLAIN.read
            began = time.perf_counter_ns()
            for _ in range(count):
                read()
            return (time.perf_counter_ns() - began) / count

        from_c(0, 1000), from_python(1000)
        yield Figure(
            "MMIO read of a register in C, recorded, driven from C",
            *repeat(lambda: from_c(0, 20_000), 40),
            100,
            "ns",
            NS,
        )
        yield Figure("  the same driven from Python: bar0.PLAIN.read()", *repeat(from_python, 20), 1 * US, "us", US)
        yield Figure(
            "  a register with a Python handler, driven from C",
            *repeat(lambda: from_c(4, 5_000), 20),
            2 * US,
            "us",
            US,
        )


class _Compiled:
    """A machine with the library's own device of C callbacks, its page of memory placed.

    With a ``recorder`` everything is recorded; without one there is no trace.
    """

    ADDRESS, DOORBELL = 0xE000_0000, 0xE000_0F00

    def __init__(self, recorder: Recorder | None) -> None:
        self._machine = EmbeddedMachine(1 << 20, None if recorder is None else recorder.handle)
        self.system = self._machine.handle
        out, names = ffi.new("void **"), (guid(uuid.uuid4()), guid(uuid.uuid4()))
        check(lib.HdvInitializeDeviceHost(self.system, out), "HdvInitializeDeviceHost")
        self._host = out[0]
        check(lib.hdvlab_bench_device(self._host, *names, out), "hdvlab_bench_device")
        self.device = out[0]
        check(lib.hdvlab_system_add_slot(self.system, 0, *names, 0, ffi.NULL), "hdvlab_system_add_slot")
        check(lib.hdvlab_system_start(self.system), "hdvlab_system_start")
        access = ffi.new("HDVLAB_ACCESS *")
        for register, value in ((0x10, self.ADDRESS), (0x04, 0x6)):  # BAR 0; memory decode, bus master
            check(lib.hdvlab_guest_config_write(self.system, access, 0, register, 4, value), "configure")
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.event = ffi.cast("void *", self._fd)

    def hang_doorbell(self) -> None:
        """Not before the plain writes are measured: with a doorbell, each of them is looked at."""
        offset, any_value = self.DOORBELL - self.ADDRESS, 0x8000_0000
        check(lib.HdvRegisterDoorbell(self.device, 0, offset, 0, any_value, self.event), "HdvRegisterDoorbell")

    def __enter__(self) -> _Compiled:
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.close()
        check(lib.HdvTeardownDeviceHost(self._host), "HdvTeardownDeviceHost")
        os.close(self._fd)


def bench_compiled() -> Iterator[Figure]:
    """A device of C callbacks, driven from C: MMIO, guest memory, and what wakes a thread."""
    ns = ffi.new("uint64_t[1000]")

    def loop(function: Callable[..., int], *arguments: Any, count: int) -> Callable[[], float]:
        def once() -> float:
            time.sleep(0.002)  # as above
            check(function(*arguments, count, ns), "bench")
            return float(ns[0]) / count

        once()
        return once

    def wakes(device: _Compiled, address: int, event: Any) -> tuple[float, float]:
        check(lib.hdvlab_bench_wakes(device.system, device.device, address, event, len(ns), ns), "hdvlab_bench_wakes")
        return statistics.median(ns), float(min(ns))

    with Recorder.create() as recorder, _Compiled(recorder) as c:
        # As a register in C: one indirect call more or less is no difference (DESIGN 8).
        read = loop(lib.hdvlab_bench_guest_reads, c.system, c.ADDRESS, 4, count=20_000)
        yield Figure("MMIO read of a C device, recorded, driven from C", *repeat(read, 40), 100, "ns", NS)
        write = loop(lib.hdvlab_bench_guest_writes, c.system, c.ADDRESS, 4, count=20_000)
        yield Figure("MMIO write of a C device, recorded, driven from C", *repeat(write, 40), 100, "ns", NS)
        # The copy (0.6 us measured for a random page), the same again into payload.bin, and its page, touched for the
        # first time: 2.7 to 3.4 us.
        copy = loop(lib.hdvlab_bench_copies, c.device, 0x1_0000, 4096, count=500)
        yield Figure("4 KiB by HdvReadGuestMemory, recorded with its bytes", *repeat(copy, 20), 5 * US, "us", US)
        # What an eventfd (43 us) and a futex (44 us) took at most between two cores; a row is nothing beside it.
        c.hang_doorbell()
        bell = wakes(c, c.DOORBELL, c.event)
        yield Figure("doorbell to the C thread that waits for its eventfd", *bell, 43 * US, "us", US)
        interrupt = wakes(c, 0, ffi.NULL)
        yield Figure("MSI to the C thread in hdvlab_guest_wait_interrupt", *interrupt, 44 * US, "us", US)
    with _Compiled(None) as c:
        copy = loop(lib.hdvlab_bench_copies, c.device, 0x1_0000, 4096, count=5_000)
        # The copy itself, and the way to it: the handle, the checks.
        yield Figure("4 KiB by HdvReadGuestMemory, no trace", *repeat(copy, 20), 700, "ns", NS)


def bench_frame(rows: int) -> Iterator[Figure]:
    """A frame over a long recording: no copies."""
    with Recorder.create() as recorder:
        recorder.frame()  # imports pandas, which is not the frame's cost
        _rows(recorder, True, rows)

        def frame() -> float:
            began = time.perf_counter_ns()
            recorder.frame()
            return float(time.perf_counter_ns() - began)

        first = frame()
        yield Figure(f"{rows / 1e6:g} M new rows to a DataFrame, 0 copies", first, first, 5 * MS, "ms", MS)
        yield Figure("  the same again", *repeat(frame, 15), 5 * MS, "ms", MS)


def bench_import() -> Iterator[Figure]:
    """``import hdvlab`` in a fresh interpreter, beyond what the interpreter itself takes."""

    def run(code: str) -> float:
        began = time.perf_counter_ns()
        subprocess.run([sys.executable, "-c", code], check=True)
        return float(time.perf_counter_ns() - began)

    def once() -> float:
        return max(run("import hdvlab; hdvlab.Device, hdvlab.Lab") - run("pass"), 0.0)

    run("import hdvlab; hdvlab.Lab")
    yield Figure("import hdvlab, Device and Lab", *repeat(once, 7), 0.2 * S, "s", S)
