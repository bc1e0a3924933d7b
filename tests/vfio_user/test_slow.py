"""Devices that do not answer and VMs that do not listen: nobody else notices."""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, Recording, Threads, happens
from . import client as wire
from .client import Client, frame
from .served import NEVER, PAGE, Vm

BUDGET_MS = 50


class Hanging(CallbackDevice):
    """Its first read waits to be let go; it answers 0x1111 in the end."""

    def __init__(self) -> None:
        super().__init__((PAGE,))
        self.entered, self.leave = threading.Event(), threading.Event()
        self.read = self._hang

    def _hang(self, bar: int, offset: int, size: int) -> int:
        self.entered.set()
        happens(self.leave)
        return 0x1111


@pytest.mark.fault(53)
def test_a_device_that_hangs_is_answered_for_within_its_budget(vm: Vm, recording: Recording) -> None:
    device = Hanging()
    client = vm.serve(device, budget_ms=BUDGET_MS)
    client.enable()
    try:
        began = time.monotonic()
        assert client.load(0, 0) == 0xFFFFFFFF
        assert time.monotonic() - began >= BUDGET_MS / 1000
        state = vm.until(lambda state: state.hung)
        assert state.timeouts >= 1
        # The next ones are not waited for: the device still owes the first.
        for _ in range(3):
            assert client.load(0, 4) == 0xFFFFFFFF
        client.post(0, 8, 1)
        client.store(0, 8, 1)
        assert client.is_alive()
    finally:
        device.leave.set()
    vm.until(lambda state: not state.hung)
    assert client.load(0, 0) == 0x1111, "the late answer was thrown away, and the device is back"
    rows = recording.rows(lib.HDVLAB_MMIO_READ)
    assert rows[0]["status"] == HResult.ERROR_TIMEOUT
    assert rows[-1]["status"] == S_OK


@pytest.mark.fault(53)
def test_a_device_that_hangs_does_not_hold_up_another(vm: Vm) -> None:
    hanging, other = Hanging(), CallbackDevice()
    vm.running(hanging, other, place=False)
    first, second = vm.connect(0, budget_ms=5000), vm.connect(1)
    first.enable()
    second.enable()
    identity = first.send(wire.REGION_READ, struct.pack("<QII", 0, 0, 4))
    happens(hanging.entered)
    for value in range(100):
        second.store(0, 0, value)
        assert second.load(0, 0) == value
    hanging.leave.set()
    assert first.reply_to(identity, wire.REGION_READ).payload[16:] == b"\x11\x11\0\0"


@pytest.mark.fault(53)
def test_a_hung_device_can_be_unplugged_from_its_vm(vm: Vm) -> None:
    device = Hanging()
    client = vm.serve(device, budget_ms=BUDGET_MS)
    client.enable()
    assert client.load(0, 0) == 0xFFFFFFFF
    client.close()
    assert vm.end() == S_OK
    device.leave.set()


def stuff(client: Client) -> int:
    """Ask until nothing more goes in, and read nothing; how many bytes went."""
    client.socket.setblocking(False)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    crowd, sent = frame(wire.REGION_READ, struct.pack("<QII", 0, 7, 256)) * 64, 0
    deadline = time.monotonic() + wire.PATIENCE
    stalled = 0
    while stalled < 200 and time.monotonic() < deadline:
        try:
            sent += client.socket.send(crowd)
            stalled = 0
        except BlockingIOError:
            stalled += 1
            threading.Event().wait(0.001)
        except (BrokenPipeError, ConnectionResetError):
            break
        assert sent < 64 << 20, "replies pile up without bound"
    return sent


@pytest.mark.fault(11)
def test_a_vm_that_never_reads_is_cut_off_and_harms_no_other(vm: Vm) -> None:
    vm.running(CallbackDevice(), CallbackDevice(), place=False)
    deaf, other = vm.connect(0), vm.connect(1)
    other.enable()
    stuff(deaf)
    for value in range(50):
        other.store(0, 0, value)
    assert other.load(0, 0) == 49
    vm.until(lambda state: state.state != lib.HDVLAB_VFIO_USER_CONNECTED)
    assert other.is_alive()


@pytest.mark.fault(11)
@pytest.mark.parametrize("how", ["end", "stop", "close_system"])
def test_a_vm_that_never_reads_stops_no_end(vm: Vm, how: str) -> None:
    deaf = vm.serve(CallbackDevice())
    stuff(deaf)
    began = time.monotonic()
    assert getattr(vm, how)() == S_OK
    assert time.monotonic() - began < 3, "it waits for the VM"


@pytest.mark.fault(39)
def test_a_hung_device_keeps_no_socket_of_a_server_that_has_ended(vm: Vm, tmp_path: Path) -> None:
    device = Hanging()
    vm.running(device, place=False)
    path = tmp_path / "s"
    assert vm.listen(path, budget_ms=BUDGET_MS) == S_OK
    client = vm.dial(path)
    client.version()
    client.enable()
    assert client.load(0, 0) == 0xFFFFFFFF
    try:
        assert vm.end() == S_OK
        assert not path.exists()
        assert vm.listen(path, budget_ms=BUDGET_MS) == S_OK
        again = vm.dial(path)
        again.version()
        assert again.load(0, 0) == 0xFFFFFFFF
    finally:
        device.leave.set()
    vm.until(lambda state: not state.hung)


@pytest.mark.fault(39)
def test_a_long_access_of_a_slow_device_is_given_up_when_the_server_ends(vm: Vm, recording: Recording) -> None:
    begun, go = threading.Event(), threading.Event()

    def read(bar: int, offset: int, size: int) -> int:
        begun.set()
        if not go.wait(0.05):
            return 1
        raise AssertionError

    device = CallbackDevice((PAGE,))
    client = vm.serve(device, budget_ms=NEVER)
    client.enable()
    device.read = read
    client.send(wire.REGION_READ, struct.pack("<QII", 0, 0, 4096))  # 512 pieces of 50 ms
    happens(begun)
    began = time.monotonic()
    assert vm.end() == S_OK
    assert time.monotonic() - began < 10
    last = recording.rows(lib.HDVLAB_MMIO_READ)[-1]
    assert last["status"] == HResult.ERROR_TIMEOUT
    assert last["address"] + last["size"] == 4096, "one row for all that was not asked for"


@pytest.mark.fault(52)
def test_the_pieces_of_an_access_share_its_budget(vm: Vm, recording: Recording) -> None:
    slow = threading.Event()
    device = CallbackDevice((PAGE,))
    client = vm.serve(device, budget_ms=400)
    client.enable()
    device.read = lambda bar, offset, size: 0x11 if slow.wait(0.05) else 0x22
    data = client.read(0, 0, 4096)
    assert data[:8] == (0x22).to_bytes(8, "little")
    assert data[-8:] == b"\xff" * 8
    assert not vm.state().hung
    assert recording.rows(lib.HDVLAB_MMIO_READ)[-1]["status"] == HResult.ERROR_TIMEOUT


@pytest.mark.fault(11)
def test_a_vm_that_never_pauses_stops_no_end(vm: Vm) -> None:
    client = vm.serve(CallbackDevice())
    post = frame(wire.REGION_WRITE, struct.pack("<QII", 0, 0, 4) + b"abcd", flags=wire.NO_REPLY) * 64

    def flood() -> None:
        try:
            while True:
                client.socket.sendall(post)
        except OSError:
            pass

    with Threads() as threads:
        threads.start(flood)
        vm_messages(vm)
        assert vm.end() == S_OK


def vm_messages(vm: Vm) -> None:
    """Wait until the flood has arrived."""
    deadline = time.monotonic() + wire.PATIENCE
    while vm.state().messages < 1000:
        assert time.monotonic() < deadline


@pytest.mark.fault(39)
def test_a_callback_may_not_end_who_serves_it(vm: Vm) -> None:
    device = CallbackDevice((PAGE,))
    client = vm.serve(device)
    client.enable()
    device.read = lambda bar, offset, size: vm.end() & 0xFFFFFFFF
    assert client.load(0, 0) == HResult.ERROR_INVALID_STATE & 0xFFFFFFFF
    assert client.is_alive()


@pytest.mark.fault(53)
def test_a_callback_that_returns_as_its_budget_ends_is_answered_once(vm: Vm, recording: Recording) -> None:
    """Whoever is first gives the answer; the other finds the device, the row and the connection whole."""
    device = CallbackDevice((PAGE,))
    client = vm.serve(device, budget_ms=4)
    client.enable()
    never = threading.Event()
    rounds = 60

    def read(bar: int, offset: int, size: int) -> int:
        never.wait(0.0035 + 0.0001 * (offset // 4 % 20))
        return 7

    device.read = read
    for number in range(rounds):
        assert client.load(0, number * 4) in (7, 0xFFFFFFFF)
        vm.until(lambda state: not state.hung)
    device.read = lambda bar, offset, size: 9
    assert client.load(0, 0) == 9
    rows = recording.rows(lib.HDVLAB_MMIO_READ)
    assert len(rows) == rounds + 1
    assert {row["status"] for row in rows} <= {S_OK, HResult.ERROR_TIMEOUT}
    assert all((row["value"] == 7) == (row["status"] == S_OK) for row in rows[:-1])
