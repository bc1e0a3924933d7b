"""What needs a VM: a guest's accesses, an NVMe drive, and the boots that these take."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hdvlab.host
from hdvlab.bench.figure import Figure, S
from hdvlab.bench.guest_accesses import EchoServer, GuestBenchDevice, bench_guest_accesses
from hdvlab.bench.nvme import bench_nvme
from hdvlab.devices.nvme import Nvme
from hdvlab.lab import Lab
from hdvlab.systems.qemu.command_line import VmOptions

if TYPE_CHECKING:
    from hdvlab.host import RemoteLab


@dataclass
class Boot:
    """One boot, in nanoseconds."""

    whole: float
    """From nothing to a shell command's end: with a device host, if there is one."""
    vm: float
    """From QEMU's start to a guest that answers."""
    kernel: float
    """The kernel's own time until it starts ``/init``."""
    guest: float
    """From the kernel's begin to a guest that answers."""


@contextmanager
def _lab(hosted: bool) -> Iterator[Lab | RemoteLab]:
    if not hosted:
        with Lab(machine="vm") as here:
            yield here
        return
    lab = hdvlab.host.start(f"bench-{uuid.uuid4().hex[:8]}", machine="vm")
    try:
        yield lab
    finally:
        lab.shut_down()


def _booted(lab: Lab | RemoteLab, options: VmOptions, began: float) -> Boot:
    vm = lab.boot(options)
    answered, seconds = time.perf_counter(), vm.boot_seconds or 0.0
    said = vm.run("cut -d' ' -f1 /proc/uptime; dmesg | grep -m1 'Run /init'").output.decode(errors="replace")
    now = time.perf_counter()
    uptime, _, line = said.partition("\n")
    kernel = line.partition("[")[2].partition("]")[0]
    guest = float(uptime) - (now - answered)  # the guest's clock was read a command later
    return Boot((now - began) * S, seconds * S, float(kernel or "nan") * S, guest * S)


def _accesses(hosted: bool, posted: bool, boots: list[Boot]) -> Iterator[Figure | str]:
    where = "a device host" if hosted else "this process"
    with EchoServer() as echo:
        began = time.perf_counter()
        with _lab(hosted) as lab:
            one = lab.plug(GuestBenchDevice, name="bench")
            boots.append(_booted(lab, echo.options(posted), began))
            yield f"MMIO from a Linux guest (TCG), device in {where}; best: 10th percentile; target: a C server"
            yield from bench_guest_accesses(lab, f"0000:00:{one.slot:02x}.0", posted)
            lab.vm.kill()


def bench_vm() -> Iterator[Figure | str]:
    """Accesses with the device in a host and here, the drive, and the boots of all three."""
    boots: list[Boot] = []
    yield from _accesses(True, True, boots)
    yield from _accesses(False, False, boots)
    began = time.perf_counter()
    with _lab(True) as lab:
        lab.plug(Nvme, name="nvme")
        boots.append(_booted(lab, VmOptions(), began))
        yield "NVMe in Python, in a device host, read by Linux (TCG)"
        yield from bench_nvme(lab)
        lab.vm.kill()
    yield from _boots(boots)


def _boots(boots: Sequence[Boot]) -> Iterator[Figure | str]:
    def figure(what: str, values: list[float], target: float | None = None) -> Figure:
        return Figure(what, statistics.median(values), min(values), target, "s", S)

    yield figure("%hdv boot to a shell's first command in Linux, TCG", [one.whole for one in boots], 6 * S)
    yield figure("  QEMU and firmware", [one.vm - one.guest for one in boots])
    yield figure("  kernel, to the start of /init", [one.kernel for one in boots])
    yield figure("  /init: modules, agent", [one.guest - one.kernel for one in boots])
    yield figure("  devices, host, first command", [one.whole - one.vm for one in boots])
