"""``hdvlab bench``: what things cost on this machine, each beside its target. Benchmarks, never timed tests."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdvlab._core import ffi, lib
from hdvlab.device import Device
from hdvlab.errors import check
from hdvlab.lab import Lab
from hdvlab.registers import Bar, Register
from hdvlab.trace.recorder import Recorder

NS, US, MS, S = 1.0, 1e3, 1e6, 1e9


@dataclass(frozen=True)
class Figure:
    """One line of the table: nanoseconds measured (median and best of several) and the target."""

    what: str
    median: float
    best: float
    target: float | None
    unit: str
    scale: float

    def __str__(self) -> str:
        target = f"{self.target / self.scale:>8g} {self.unit}" if self.target is not None else " " * 11
        ratio = f"{self.median / self.target:6.2f}" if self.target is not None else " " * 6
        held = "" if self.target is None else "  held" if self.median <= self.target else "  over"
        value = f"{self.median / self.scale:>9.1f} {self.best / self.scale:>9.1f} {self.unit:<3}"
        return f"{self.what:<58} {value} {target} {ratio}{held}"


class BenchDevice(Device):
    """One register without behaviour, one with."""

    vendor_id, device_id = 0x1234, 0xBE4C

    class bar0(Bar, size=4096):
        PLAIN = Register(0x00, reset=0x12345678)
        HANDLED = Register(0x04, access="ro")

    @bar0.HANDLED.on_read
    def handled(self) -> int:
        return 1


def _repeat(once: Callable[[], float], times: int) -> tuple[float, float]:
    values = [once() for _ in range(times)]
    return statistics.median(values), min(values)


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
        median, best = _repeat(lambda: rested(False), 60)
        yield Figure(f"one recorded row, C, steady state ({clock})", median, best, 15 if is_tsc else 40, "ns", NS)
        median, best = _repeat(lambda: rested(True), 60)
        yield Figure("  the same, begun and completed", median, best, 30 if is_tsc else 70, "ns", NS)
        median, best = _repeat(lambda: _rows(recorder, True, 400_000), 5)
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
            *_repeat(lambda: from_c(0, 20_000), 40),
            100,
            "ns",
            NS,
        )
        yield Figure("  the same driven from Python: bar0.PLAIN.read()", *_repeat(from_python, 20), 1 * US, "us", US)
        yield Figure(
            "  a register with a Python handler, driven from C",
            *_repeat(lambda: from_c(4, 5_000), 20),
            2 * US,
            "us",
            US,
        )


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
        yield Figure("  the same again", *_repeat(frame, 15), 5 * MS, "ms", MS)


def bench_import() -> Iterator[Figure]:
    """``import hdvlab`` in a fresh interpreter, beyond what the interpreter itself takes."""

    def run(code: str) -> float:
        began = time.perf_counter_ns()
        subprocess.run([sys.executable, "-c", code], check=True)
        return float(time.perf_counter_ns() - began)

    def once() -> float:
        return max(run("import hdvlab; hdvlab.Device, hdvlab.Lab") - run("pass"), 0.0)

    run("import hdvlab; hdvlab.Lab")
    yield Figure("import hdvlab, Device and Lab", *_repeat(once, 7), 0.2 * S, "s", S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print the table."""
    parser = argparse.ArgumentParser(prog="hdvlab bench", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="rows of the DataFrame benchmark (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    free = Path(tempfile.gettempdir())
    print(f"recording into {free}; a ratio over 1 is slower than the target\n")
    print(f"{'':<58} {'median':>9} {'best':>9} {'':<3} {'target':>8}     ratio")
    for part in (bench_rows, bench_accesses, lambda: bench_frame(options.rows), bench_import):
        for figure in part():
            print(figure, flush=True)
    return 0
