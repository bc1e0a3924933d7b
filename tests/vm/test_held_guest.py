"""A guest held in the middle of an access: everybody is told, nobody hangs, and it goes on as if nothing had been."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import StateError
from hdvlab.systems.qemu.command_line import VmOptions
from hdvlab.systems.qemu.guest_c import compile_guest_program, run_guest_program

from ..labs import _quick_collections as _quick_collections
from ..labs import no_handle_is_left as no_handle_is_left

pytestmark = pytest.mark.vm

#: Longer than the 5 s after which QEMU would give a device up, and than the guest's own RCU would stay silent (21 s).
HELD = 22.0
#: How long a slow write handler takes, seconds.
SLOW = 0.5
PATIENCE = 60.0


class Slow(Bar, size=4096):
    GATE = Register(0x00, access="ro", doc="a read waits until somebody opens the gate")
    SLOW = Register(0x04, doc="a write takes its time")
    QUICK = Register(0x08)


class Gate(Device):
    """A device at whose GATE a debugger stands."""

    vendor_id, device_id = 0x1234, 0x0051
    bar0: Any = Slow

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.written = 0

    @Slow.GATE.on_read
    def gate_read(self) -> int:
        self.reached.set()
        assert self.opened.wait(PATIENCE)
        return 0x600D

    @Slow.SLOW.on_write
    def slow_written(self, value: int) -> None:
        time.sleep(SLOW)
        self.written = value


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(machine="vm", budget=None) as made:
        made.plug(Gate, name="gate")
        yield made
        made["gate"].device.opened.set()


@pytest.mark.usefixtures("installation")
def test_a_held_guest_is_called_held_answers_at_once_why_and_goes_on_unharmed(lab: Lab) -> None:
    vm = lab.boot(VmOptions(cpus=2))
    gate = lab["gate"].device
    base = lab["gate"].place(0)
    lab.sh("echo 1 > /sys/bus/pci/devices/0000:00:01.0/enable")
    reading = vm.start_command(f"devmem {base:#x} 32")
    assert gate.reached.wait(PATIENCE)
    held_at = time.monotonic()
    while vm.state != "held":
        assert time.monotonic() < held_at + PATIENCE
        time.sleep(0.01)
    for ask in (lambda: vm.run("true"), vm.pause, lambda: lab.sh("true"), lambda: vm.get("/etc/passwd"),
                lambda: vm.put(b"x", "/tmp/x"), vm.reset):  # fmt: skip
        asked = time.monotonic()
        with pytest.raises(StateError, match=r"^the guest is held: row \d+ has not been answered for \d+\.\d s"):
            ask()
        assert time.monotonic() - asked < 2, "it hung instead of saying so"
    assert vm.state == "held" and vm.running
    threading.Event().wait(max(0.0, held_at + HELD - time.monotonic()))
    gate.opened.set()
    done = reading.wait(PATIENCE)
    assert (done.status, done.output.strip()) == (0, b"0x0000600D")
    assert vm.state == "running"
    log = lab.sh("dmesg; uptime")
    assert log.status == 0
    for trouble in ("rcu", "stall", "soft lockup", "hung task", "clocksource: Marking"):
        said = [line for line in log.text.splitlines() if trouble in line.lower() and "detected" in line.lower()]
        assert not said
    run = lab.sh("dd if=/dev/zero of=/tmp/zero bs=1M count=4 2>/dev/null && md5sum /tmp/zero")
    assert "b5cfa9d6c8febd618f91ac2843d50a1c" in run.text
