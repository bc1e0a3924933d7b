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

from ..labs import _quick_collections as _quick_collections
from ..labs import no_handle_is_left as no_handle_is_left

pytestmark = pytest.mark.vm

#: Longer than the 5 s after which QEMU would give a device up, and than the guest's own RCU would stay silent (21 s).
HELD = 22.0
PATIENCE = 60.0


class Gates(Bar, size=4096):
    GATE = Register(0x00, doc="reads and writes wait until somebody opens the gate")


class Gate(Device):
    """A device at whose GATE a debugger stands."""

    vendor_id, device_id = 0x1234, 0x0051
    bar0: Any = Gates

    def __init__(self) -> None:
        self.reached, self.opened = threading.Semaphore(0), threading.Semaphore(0)

    def wait(self) -> None:
        self.reached.release()
        assert self.opened.acquire(timeout=PATIENCE)

    @Gates.GATE.on_read
    def gate_read(self) -> int:
        self.wait()
        return 0x600D

    @Gates.GATE.on_write
    def gate_written(self, value: int) -> None:
        self.wait()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(machine="vm", budget=None) as made:
        made.plug(Gate, name="gate")
        try:
            yield made
        finally:
            made["gate"].device.opened.release(100)


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def address_of_gate(lab: Lab) -> str:
    assert lab.sh("echo 1 > /sys/bus/pci/devices/0000:00:01.0/enable").status == 0
    return f"{lab['gate'].place(0):#x}"


#: A write, and how long the guest's own clock says it took, in hundredths of a second.
TIMED_WRITE = """
read before rest < /proc/uptime
devmem {} 32 1
read after rest < /proc/uptime
echo $(( ${{after%.*}}${{after#*.}} - ${{before%.*}}${{before#*.}} ))
"""


@pytest.mark.usefixtures("installation")
def test_a_held_guest_is_called_held_answers_at_once_why_and_goes_on_unharmed(lab: Lab) -> None:
    vm = lab.boot(VmOptions(cpus=2, posted_writes=False))
    gate, address = lab["gate"].device, address_of_gate(lab)
    before = lab.sh("dmesg").text
    reading = vm.start_command(f"devmem {address} 32")
    assert gate.reached.acquire(timeout=PATIENCE)
    held_at = time.monotonic()
    until(lambda: vm.state == "held")
    for ask in (lambda: vm.run("true"), vm.pause, lambda: lab.sh("true"), lambda: vm.get("/etc/passwd"),
                lambda: vm.put(b"x", "/tmp/x"), vm.reset, vm.power_off):  # fmt: skip
        asked = time.monotonic()
        with pytest.raises(StateError, match=r"^the guest is held: row \d+ has not been answered for \d+\.\d s"):
            ask()
        assert time.monotonic() - asked < 2, "it waited for the guest"
    assert vm.state == "held"
    threading.Event().wait(max(0.0, held_at + HELD - time.monotonic()))  # the test's subject, not a wait for something
    gate.opened.release()
    until(lambda: vm.state == "running")
    done = reading.wait(PATIENCE)
    assert (done.status, done.output.strip()) == (0, b"0x0000600D")
    said = lab.sh("dmesg").text[len(before) :].lower()
    trouble = ("rcu", "stall", "lockup", "blocked for", "unstable", "bug:", "warning:")
    assert not [word for word in trouble if word in said], said

    # The same at a write, which the guest waits for because writes are not posted.
    writing = vm.start_command(TIMED_WRITE.format(address))
    until(lambda: vm.state == "held")
    threading.Event().wait(1.0)
    gate.opened.release()
    until(lambda: vm.state == "running")
    done = writing.wait(PATIENCE)
    assert done.status == 0
    assert int(done.output) >= 100


@pytest.mark.usefixtures("installation")
def test_a_guest_does_not_wait_for_a_posted_write_and_is_not_held_by_it(lab: Lab) -> None:
    vm = lab.boot()
    gate, address = lab["gate"].device, address_of_gate(lab)
    done = vm.run(TIMED_WRITE.format(address), timeout=PATIENCE)
    assert done.status == 0
    assert gate.reached.acquire(timeout=PATIENCE)
    until(lambda: vm.why_silent().startswith("a device is busy: row "))
    assert vm.state == "running"
    assert lab.sh("echo alive", timeout=PATIENCE).text == "alive\n"
    # What comes behind it on the same device does wait.
    reading = vm.start_command(f"devmem {address} 32")
    gate.opened.release(2)
    assert reading.wait(PATIENCE).output.strip() == b"0x0000600D"
    until(lambda: vm.why_silent() == "")
