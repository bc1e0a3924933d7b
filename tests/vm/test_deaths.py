"""The device host is killed, QEMU is killed, the guest dies: what a person at a notebook sees, and does next."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdvlab.host.record import Record
from hdvlab.systems.qemu.agent import Agent
from hdvlab.trace.open import open_trace

from ..kernels import PATIENCE
from .user import User, host_of, nothing_stays

pytestmark = pytest.mark.vm

DEVICE = """
from hdvlab import Bar, Device, Register
class Probe(Device):
    vendor_id, device_id = 0x1234, 0x0BAD
    class bar0(Bar, size=4096):
        VALUE = Register(0x00, reset=0x55)
        HANG = Register(0x04)
        WRITES = Register(0x08, access="ro")
    @bar0.VALUE.on_write
    def value(self, value):
        self.bar0.WRITES += 1
"""
HANGS = (
    DEVICE
    + """
    @bar0.HANG.on_read
    def hang(self):
        {body}
"""
)
MENDED = (
    DEVICE
    + """
    @bar0.HANG.on_read
    def hang(self):
        return 0x600D
"""
)
ENABLE = "%hdv sh echo 1 > /sys/bus/pci/devices/0000:00:01.0/enable"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    for variable, folder in (("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "run")):
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / folder))
    with nothing_stays(), User() as user:
        user.said("%load_ext hdvlab\nimport hdvlab")
        yield user


def wait_until(condition: Callable[[], object], what: str) -> float:
    """Seconds until something was so."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + PATIENCE, f"it did not happen: {what}"
        time.sleep(0.005)
    return time.monotonic() - began


def kill(pid: int) -> None:
    """SIGKILL, and its end."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert select.select([process], [], [], PATIENCE)[0]
    finally:
        os.close(process)


def bar(user: User) -> int:
    return int(user.text("hdvlab.current_lab()['probe'].place(0)"))


def vm_pid(user: User) -> int:
    return int(user.text("hdvlab.current_lab().vm.pid"))


def devmem(user: User, address: int) -> int:
    return int(re.findall(r"0x[0-9A-F]+", user.said(f"%hdv sh devmem {address:#x} 32"))[0], 16)


def test_a_host_that_is_killed_leaves_ones_a_whole_trace_and_words_that_help(user: User) -> None:
    user.said(DEVICE)
    user.said("%hdv boot --device Probe --name mine;")
    user.said(ENABLE)
    place = bar(user)
    assert devmem(user, place) == 0x55
    record, rows = host_of("mine"), int(user.text("len(hdvlab.current_lab().trace)"))
    kill(record.pid)
    ask_the_guest(record, place)
    for command in ("%hdv sh ls", "%hdv vm", "%hdv vm reset", "%hdv vm put /etc/passwd /tmp/x"):
        error = user.failed(command)
        assert "host mine is gone: it was killed or crashed, and the guest reads all ones" in error
        assert record.trace in error
        assert "%hdv boot --device NAME starts anew" in error
    assert "host mine is gone" in user.said("%hdv status")
    assert "dead: killed, or crashed; its VM runs on" in user.said("%hdv hosts")
    shown = user.said("%hdv attach mine")
    assert record.trace in shown
    assert len(open_trace(record.trace)) >= rows
    frame = open_trace(record.trace).frame()
    assert (frame.attrs["lost"], frame.attrs["holes"]) == (0, 0)
    assert "Linux is up" in user.said("%hdv boot --device Probe --name mine")
    assert not Path(record.vm).exists()  # the VM of before has been ended
    user.said(ENABLE)
    assert devmem(user, bar(user)) == 0x55


def ask_the_guest(record: Record, place: int) -> None:
    """Its devices are gone; it is alive, and reads ones."""
    with Agent(Path(record.vm) / "agent") as agent:
        agent.connect()
        assert agent.run(f"devmem {place:#x} 32").output.strip() == b"0xFFFFFFFF"
        assert agent.run(f"devmem {place:#x} 32 1; echo alive").output.strip() == b"alive"


def test_a_qemu_that_is_killed_is_told_of_and_the_next_boot_is_ready_at_once(user: User) -> None:
    user.said(DEVICE)
    user.said("%hdv boot --device Probe;")
    assert "the VM runs already; plug devices first" in user.failed("%hdv plug edu")
    assert "edu" not in user.said("%hdv status")
    kill(vm_pid(user))
    ready = wait_until(lambda: "waiting for a VM" in user.said("%hdv vm"), "the device can be connected to again")
    assert ready < 1.0
    assert "the VM is off; boot it" in user.failed("%hdv sh ls")
    assert "VM: off" in user.said("%hdv status")
    assert "the VM is off: killed (9)" in user.said("print(list(hdvlab.current_lab().trace.marks()['text']))")
    assert "Linux is up" in user.said("%hdv boot")


def test_a_guest_that_panics_or_halts_is_told_of_and_reset(user: User) -> None:
    user.said("%hdv boot --device edu;")
    for last, word in (("echo c > /proc/sysrq-trigger", "Kernel panic"), ("halt -f", "System halted")):
        error = user.failed(f"%hdv sh {last}")
        assert f"the guest has stopped: {word}" in error or f"reboot: {word}" in error
        assert "%hdv vm reset" in error
        assert "stopped" in user.said("%hdv vm")
        assert "up again" in user.said("%hdv vm reset")
    assert "hello" in user.said("%hdv sh echo hello")
    user.shown("%hdv sh poweroff -f")
    assert "Linux is up" in user.said("%hdv boot")  # at once, while the old one is still going
    user.said("%hdv vm pause")
    assert "the VM is paused; %hdv vm resume" in user.failed("%hdv sh ls")
    assert "the VM is paused; %hdv vm resume" in user.failed("%hdv vm off")


@pytest.mark.parametrize(
    ("body", "line", "word"),
    [
        ("while True: pass", "while True: pass", "HandlerStopped"),
        ("import time; time.sleep(9)", "time.sleep(9)", "cannot be interrupted"),
        ("import ctypes; ctypes.CDLL(None).sleep(9)", ".sleep(9)", "cannot be interrupted"),
    ],
)
def test_a_handler_that_hangs_is_answered_for_and_mended_by_its_cell(
    user: User, body: str, line: str, word: str
) -> None:
    user.said(HANGS.format(body=body))
    user.said("%hdv boot --device Probe;")
    user.said(ENABLE)
    place = bar(user)
    began = time.monotonic()
    assert devmem(user, place + 4) == 0xFFFFFFFF
    assert time.monotonic() - began < 5.0  # QEMU's own limit, were it not raised
    wait_until(lambda: word in faults(user), "it is told")
    assert line in faults(user)
    assert "alive" in user.said("%hdv sh echo alive")
    user.said(MENDED)
    wait_until(lambda: not user.shown("%hdv plug Probe")[1], "it can be reloaded")
    wait_until(lambda: devmem(user, place + 4) == 0x600D, "the mended handler answers")
    assert devmem(user, place) == 0x55
    assert "Linux is up again" in user.said("%hdv vm reset")


def test_one_that_never_returns_from_c_costs_its_device_only(user: User) -> None:
    user.said(HANGS.format(body="import ctypes; ctypes.CDLL(None).pause()"))
    user.said("%hdv boot --device Probe --device edu --name mine;")
    user.said(ENABLE)
    place, edu = bar(user), int(user.text("hdvlab.current_lab()['edu'].place(0)"))
    assert devmem(user, place + 4) == 0xFFFFFFFF
    wait_until(lambda: "cannot be interrupted" in faults(user), "it is told")
    assert ".pause()" in faults(user)
    user.said("%hdv sh echo 1 > /sys/bus/pci/devices/0000:00:02.0/enable")
    assert devmem(user, edu) == 0x010000ED
    user.said(MENDED)
    error = user.failed("%hdv plug Probe")
    assert "probe goes on as it was: one of its handlers does not return" in error
    assert "%hdv host NAME --stop" in error
    assert "has ended" in user.said("%hdv host mine --stop")
    assert "Linux is up" in user.said("%hdv boot --device Probe --device edu --name mine")
    user.said(ENABLE)
    assert devmem(user, bar(user) + 4) == 0x600D


def faults(user: User) -> str:
    return user.said("for one in hdvlab.current_lab().faults: print(one.text)")
