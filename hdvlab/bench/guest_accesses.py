"""MMIO from a real guest, through QEMU, beside the least C server that QEMU takes: the price of a round trip."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from hdvlab.bench.figure import US, Figure
from hdvlab.device import Device
from hdvlab.device.compiler import CompileError, find_compiler
from hdvlab.errors import BackendError
from hdvlab.registers import Bar, Register
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.guest_c import compile_guest_program, run_guest_program
from hdvlab.systems.qemu.guest_c.transfer import Runner
from hdvlab.trace.mapped import MappedTrace

FOLDER = Path(__file__).resolve().parent
#: The yardstick's slot; the lab fills its own from 3 on.
ECHO_SLOT = 0x1E
ECHO_PLACE = f"0000:00:{ECHO_SLOT:02x}.0"
#: Turns, and accesses of each register in one.
ROUNDS, COUNT = 60, 200
#: Seconds for a program in the guest.
PATIENCE = 300.0


class GuestBenchDevice(Device):
    """A register without behaviour, and one with."""

    vendor_id, device_id = 0x1234, 0xBE4D
    base_class, sub_class = 0x00, 0xFF

    class bar0(Bar, size=4096):
        PLAIN = Register(0x00, reset=0x12345678)
        HANDLED = Register(0x04)

    def start(self) -> None:
        self.written = 0

    @bar0.HANDLED.on_read
    def read(self) -> int:
        return self.written

    @bar0.HANDLED.on_write
    def write(self, value: int) -> None:
        self.written = value


class EchoServer:
    """The yardstick: ``echo_server.c``, compiled and running, for one VM."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hdvlab-echo-")
        folder = Path(self._folder.name)
        compiler = find_compiler()
        program, source = folder / "echo_server", FOLDER / "echo_server.c"
        command = [compiler, "-std=gnu11", "-O2", str(source), "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise CompileError(f"{compiler} refused {source.name}:\n{done.stderr.strip()}")
        self.path = folder / "socket"
        self._process = subprocess.Popen(
            [str(program), str(self.path), "0x1234", "0xbe4e"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise BackendError(f"the echo server did not start: status {self._process.wait()}")

    def options(self, posted: bool) -> VmOptions:
        """A VM that has it beside the lab's devices."""
        device = {
            "driver": "vfio-user-pci",
            "bus": "pcie.0",
            "addr": f"{ECHO_SLOT:#x}",
            "rombar": 0,
            "x-no-posted-writes": not posted,
            "socket": {"type": "unix", "path": str(self.path)},
        }
        return VmOptions(posted_writes=posted, extra=("-device", json.dumps(device)))

    def __enter__(self) -> EchoServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()


class GuestLab(Protocol):
    """A lab whose VM runs, here or in a device host."""

    @property
    def vm(self) -> Runner: ...
    @property
    def trace(self) -> MappedTrace: ...


class GuestLoop:
    """A C program beside this module, for the guest."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._program = compile_guest_program((FOLDER / f"{name}.c").read_text(), name)

    def run(self, guest: Runner, words: Sequence[str]) -> str:
        """What it printed."""
        done = run_guest_program(guest, self._program, words, timeout=PATIENCE)
        said = done.output.decode(errors="replace").strip()
        if done.status:
            raise BackendError(f"{self._name} failed in the guest with status {done.status}: {said}")
        return said


@dataclass(frozen=True)
class Turns:
    """What turns gave for one register, a number each: nanoseconds."""

    medians: list[float]
    tenths: list[float]
    means: list[float]

    def sustained(self) -> Turns:
        """The same by the means."""
        return Turns(self.means, self.means, self.means)

    def ratio(self, other: Turns) -> float:
        """To another one of the same turns."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.medians, other.medians, strict=True))


def parse_turns(text: str, targets: int) -> list[Turns]:
    """What ``access_loop`` printed, for each register."""
    turns = [Turns([], [], []) for _ in range(targets)]
    for line in text.splitlines():
        _round, target, *values = line.split()
        if int(target) >= 0:
            one = turns[int(target)]
            for column, value in zip((one.medians, one.tenths, one.means), values, strict=True):
                column.append(float(value))
    return turns


def bench_guest_accesses(lab: GuestLab, place: str, posted: bool) -> Iterator[Figure]:
    """Reads, and writes of the kind that the VM was booted with, of a lab with a :class:`GuestBenchDevice`."""
    loop = GuestLoop("access_loop")
    bar = GuestBenchDevice.bar0
    targets = [f"{ECHO_PLACE}:0", f"{place}:{bar.PLAIN.offset}", f"{place}:{bar.HANDLED.offset}"]
    for word, kind in (("r", "read"), ("w", "posted write" if posted else "write")):
        said = loop.run(lab.vm, [word, str(ROUNDS), str(COUNT), *targets])
        # How long a posted write keeps the guest is QEMU's doing; how many it can send in the long run, the server's.
        turns = [one.sustained() if posted and word == "w" else one for one in parse_turns(said, len(targets))]
        names = ("a bare C echo server", "a register in C", "a register with a Python handler")
        for name, one in zip(names, turns, strict=True):
            what = f"  {kind} of {name}"
            median, best = statistics.median(one.medians), min(one.tenths)
            if one is turns[0]:
                yield Figure(what, median, best, None, "us", US)
            else:
                yield Figure(what, median, best, statistics.median(turns[0].medians), "us", US, one.ratio(turns[0]))
