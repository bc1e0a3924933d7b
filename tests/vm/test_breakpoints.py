"""A real Linux that is stopped in its drivers, through a device host: the notebook lives, the answer changes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from hdvlab import Bar, Device, Register
from hdvlab.devices.nvme import Nvme
from hdvlab.errors import StateError
from hdvlab.host import RemoteLab, attach, start
from hdvlab.host.record import records
from hdvlab.stepping import Stop
from hdvlab.systems.qemu.setup import Installation

pytestmark = pytest.mark.vm

PATIENCE = 120.0
DRIVER = "/sys/bus/pci/drivers/nvme"


class Probe(Device):
    vendor_id, device_id = 0x1234, 0x0BAD

    class bar0(Bar, size=4096):
        VALUE = Register(0x00)
        ANSWER = Register(0x04)

    @bar0.ANSWER.on_read
    def answer(self) -> int:
        return 0x11


class Edited(Device):
    vendor_id, device_id = 0x1234, 0x0BAD

    class bar0(Bar, size=4096):
        VALUE = Register(0x00)
        ANSWER = Register(0x04)

    @bar0.ANSWER.on_read
    def answer(self) -> int:
        return 0x22


@pytest.fixture(scope="module")
def lab(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteLab]:
    with pytest.MonkeyPatch.context() as patch:
        state = tmp_path_factory.mktemp("state")
        state.chmod(0o700)
        patch.setenv("XDG_STATE_HOME", str(state))
        lab = start(f"break-{os.getpid()}", machine="vm", lease=60)
        lab.stepper.announces = False
        try:
            lab.plug(Nvme, name="nvme", configuration=["size=128M"])
            lab.plug(Probe)
            lab.boot()
            yield lab
        finally:
            with contextlib.suppress(Exception):
                lab.shut_down()
            lab.close()
            for record in records():
                if record.is_alive:
                    os.kill(record.pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def let_go(lab: RemoteLab) -> Iterator[None]:
    yield
    lab.breakpoints.clear()
    while lab.stops or lab.stepper.pending:
        with contextlib.suppress(StateError):  # its VM was killed
            lab.resume()


def devmem(lab: RemoteLab, offset: int, value: str = "") -> str:
    """The guest's command for a 32-bit access from user space."""
    address = lab["probe"].place(0)
    assert address is not None
    enable = f"echo 1 > /sys/bus/pci/devices/0000:{lab['probe'].address}/enable"
    return f"{enable} 2>/dev/null; busybox devmem {address + offset:#x} 32 {value}"


def test_linux_is_stopped_in_its_drivers_probe_and_told_another_value(lab: RemoteLab) -> None:
    address = f"0000:{lab['nvme'].address}"
    assert lab.sh(f"echo {address} > {DRIVER}/unbind && dmesg -c > /dev/null", timeout=PATIENCE).status == 0
    lab.break_at("nvme.bar0+0x4", access="r")  # the upper half of CAP
    run = lab.sh(f"echo {address} > {DRIVER}/bind", timeout=PATIENCE)
    assert run.status is None
    assert "held at breakpoint" in repr(run)
    assert "nvme.CAP" in repr(run)
    (stop,) = lab.stops
    assert (stop.device, stop.register, stop.kind, stop.posted) == ("nvme", "CAP", "mmio_read", False)

    # While it is held, cells run, and what would wait says so at once.
    assert lab["nvme"].peek(0, 8, 4) == stop_value(lab, "VS")
    for wanted in (lambda: lab.sh("true"), lab.vm.pause, lab.vm.reset, lab.vm.power_off, lambda: lab.vm.get("/init")):
        with pytest.raises(StateError, match="held at breakpoint .* nvme.CAP"):
            wanted()
    assert lab.vm.state == "held"
    with contextlib.closing(attach(lab.name)) as other:
        assert [one.short for one in other.stops] == [stop.short]

    # A controller whose smallest page (CAP.MPSMIN) is 128 MiB: the driver must say that it cannot use it.
    said, deadline = "", time.monotonic() + PATIENCE
    while "Minimum device page size 134217728 too large for host" not in said:
        assert time.monotonic() < deadline, said
        if lab.stops:
            lab.override(too_large_pages(lab.stops[0]))
        else:
            said = lab.sh("dmesg", timeout=PATIENCE).text
    assert run.status is not None
    lab.breakpoints.clear()

    lab.sh(f"echo {address} > {DRIVER}/unbind", timeout=PATIENCE)  # where it is bound and has failed
    run = lab.sh(f"echo {address} > {DRIVER}/bind", timeout=PATIENCE)
    assert run.status == 0  # with the device's own answer it comes up


def too_large_pages(stop: Stop) -> int:
    """What CAP stores, with MPSMIN 15; Linux reads it whole or by halves."""
    assert stop.stored is not None
    return stop.stored | 0xF << (48 - 8 * stop.address) & (1 << 8 * stop.size) - 1


def stop_value(lab: RemoteLab, register: str) -> int:
    values = lab["nvme"].registers().set_index("register")["value"]
    return int(values[register])


def test_an_access_of_linux_is_served_again_by_new_code(lab: RemoteLab) -> None:
    lab.break_at("probe.ANSWER", access="r", when="value == 0x11")  # of a read: when it is answered
    run = lab.sh(devmem(lab, 4), timeout=PATIENCE)
    (stop,) = lab.stops
    assert (stop.phase, stop.value) == ("after", 0x11)
    lab.plug(Edited, name="probe")
    assert lab.retry() is run
    assert run.text.strip() == "0x00000022"


def test_a_step_goes_to_the_next_access_of_the_guest(lab: RemoteLab) -> None:
    lab.break_at("probe.VALUE", access="r")
    run = lab.sh(f"{devmem(lab, 0)}; {devmem(lab, 4)}", timeout=PATIENCE)
    assert lab.stops[0].register == "VALUE"
    while not (isinstance(stop := lab.step(), Stop) and stop.register == "ANSWER"):
        assert isinstance(stop, Stop)  # config accesses of the sysfs file between the two
    assert lab.resume() is run


def test_a_posted_write_says_that_the_guest_has_gone_on(lab: RemoteLab) -> None:
    lab.break_at("probe.VALUE==0x77", access="w")
    lab.sh(devmem(lab, 0, "0x77"), timeout=PATIENCE)
    stop = lab.wait_stop(PATIENCE)
    assert stop is not None
    assert stop.posted
    assert "--no-posted-writes" in repr(stop)
    lab.override(0x78)
    assert lab["probe"].peek(0, 0, 4) == 0x78


def test_a_vm_that_is_held_can_be_killed(lab: RemoteLab) -> None:
    lab.break_at("probe.ANSWER", access="r")
    run = lab.sh(devmem(lab, 4), timeout=PATIENCE)
    assert run.status is None
    lab.vm.kill()
    assert not lab.vm_running
    with pytest.raises(StateError, match="the VM is gone"):
        lab.resume()  # what was pending says how it ended
    assert not lab.stops
