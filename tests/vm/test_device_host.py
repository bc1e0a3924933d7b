"""A VM whose devices are in a device host: it outlives notebooks, hung handlers and, for its lease, its host."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdvlab import Bar, Device, Register
from hdvlab.host import RemoteLab, attach, start
from hdvlab.host.record import records, started_of
from hdvlab.trace.open import open_trace

pytestmark = pytest.mark.vm

PATIENCE = 120.0


class Probe(Device):
    vendor_id, device_id = 0x1234, 0x0BAD

    class bar0(Bar, size=4096):
        VALUE = Register(0x00, reset=0x55)
        HANG = Register(0x04)
        COUNT = Register(0x08, access="ro")

    @bar0.HANG.on_read
    def hang(self) -> int:
        while True:
            self.bar0.COUNT = 1

    @bar0.VALUE.on_write
    def value(self, value: int) -> None:
        self.bar0.COUNT += 1


class Reloaded(Probe):
    @Probe.bar0.VALUE.on_write
    def value(self, value: int) -> None:
        self.bar0.COUNT += 0x100


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.02)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteLab]:
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lab = start(f"vm-{os.getpid()}", machine="vm", lease=2)
    try:
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


def devmem(lab: RemoteLab, offset: int, value: int | None = None) -> str:
    """A 32-bit access from user space of the guest."""
    lab.sh("echo 1 > /sys/bus/pci/devices/0000:00:01.0/enable")
    address = lab["probe"].place(0)
    assert address is not None
    word = "" if value is None else f" {value:#x}"
    return lab.sh(f"busybox devmem {address + offset:#x} 32{word}").text.strip()


@pytest.mark.fault(52)
def test_a_hung_handler_is_answered_for_told_of_and_ended_and_the_vm_lives_on(
    remote: RemoteLab, capfd: pytest.CaptureFixture[str]
) -> None:
    assert int(devmem(remote, 0), 16) == 0x55
    assert int(devmem(remote, 4), 16) == 0xFFFFFFFF
    wait_until(lambda: len(remote.faults) >= 2, "the report, and the handler's end")
    hung, ended = remote.faults[:2]
    assert hung.operation == "hung handler"
    assert "in hang" in hung.text
    assert "HandlerStopped" in ended.text
    wait_until(lambda: "does not answer" not in remote.served(remote["probe"]), "it answers again")
    assert int(devmem(remote, 0), 16) == 0x55
    assert "the guest is answered all ones" in capfd.readouterr().err


def test_a_reload_keeps_the_device_that_the_guest_uses(remote: RemoteLab) -> None:
    devmem(remote, 0, 0x77)
    remote.connection.call("plug", device=_described(Reloaded), name="probe")
    devmem(remote, 0, 0x78)
    assert int(devmem(remote, 0), 16) == 0x78
    wait_until(lambda: int(devmem(remote, 8), 16) == 0x101, "both writes are served")


def _described(cls: type[Device]) -> dict[str, object]:
    return {"kind": "module", "name": f"{cls.__module__}:{cls.__qualname__}", "path": str(Path(__file__).parents[2])}


@pytest.mark.fault(47)
def test_who_attaches_anew_finds_the_vm_as_it_was(remote: RemoteLab) -> None:
    remote.sh("echo kept > /tmp/file")
    remote.close()
    began = time.monotonic()
    with attach(remote.name) as again:
        assert time.monotonic() - began < 1.0
        assert again.vm.get("/tmp/file") == b"kept\n"
        assert again.vm.state == "running"
        again.shut_down()


@pytest.mark.fault(46)
def test_a_killed_host_leaves_a_whole_trace_and_its_vm_ends_after_the_lease(remote: RemoteLab) -> None:
    devmem(remote, 0)
    rows, vm = len(remote.trace), remote.vm.pid
    began = started_of(vm)
    os.kill(remote.host.pid, signal.SIGKILL)
    wait_until(lambda: not remote.attached, "the connection's end")
    wait_until(lambda: started_of(vm) != began, "the VM's end")
    assert len(open_trace(remote.host.trace)) >= rows
