"""The end of a connection: at every byte of every message, with memory, events, callbacks and doorbells in use."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, Threads, happens
from . import client as wire
from .client import QEMU, document, frame, memory
from .served import MessageDevice, Vm, descriptors, descriptors_become, event

LISTENING, CONNECTED = lib.HDVLAB_VFIO_USER_LISTENING, lib.HDVLAB_VFIO_USER_CONNECTED

MESSAGES: dict[str, tuple[bytes, int]] = {
    "VERSION": (frame(wire.VERSION, struct.pack("<HH", 0, 0) + document(QEMU)), 0),
    "DMA_MAP": (frame(wire.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096)), 1),
    "DMA_UNMAP": (frame(wire.DMA_UNMAP, struct.pack("<IIQQ", 24, 0, 0, 4096)), 0),
    "GET_INFO": (frame(wire.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)), 0),
    "GET_REGION_INFO": (frame(wire.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0)), 0),
    "SET_IRQS": (frame(wire.SET_IRQS, struct.pack("<IIIII", 20, 0x24, 2, 0, 2)), 2),
    "REGION_READ": (frame(wire.REGION_READ, struct.pack("<QII", 0, 0, 4)), 0),
    "REGION_WRITE": (frame(wire.REGION_WRITE, struct.pack("<QII", 0, 0, 8) + b"12345678"), 0),
    "RESET": (frame(wire.RESET), 0),
    "REGION_WRITE_MULTI": (frame(wire.REGION_WRITE_MULTI, struct.pack("<QQII8s", 1, 0, 0, 4, b"abcd")), 0),
}


@pytest.mark.fault(1)
@pytest.mark.fault(38)
@pytest.mark.parametrize("name", MESSAGES)
def test_a_vm_may_go_at_every_byte_of_a_message(vm: Vm, tmp_path: Path, name: str) -> None:
    message, fds = MESSAGES[name]
    vm.running(MessageDevice(), place=False)
    path = tmp_path / "device.sock"
    assert vm.listen(path) == S_OK
    given = [memory(4096) if name == "DMA_MAP" else event() for _ in range(fds)]
    before = descriptors()
    cuts = range(len(message) + 1) if len(message) < 80 else [*range(24), 100, len(message) - 1, len(message)]
    for cut in cuts:
        client = vm.dial(path)
        if name != "VERSION":
            client.version()
        if cut:
            client.raw(message[:cut], given)
        client.close()
        vm.clients.clear()
    # The last one has been seen to go when the next is served.
    client = vm.dial(path)
    client.version()
    assert client.is_alive()
    client.close()
    vm.clients.clear()
    vm.until(lambda state: state.state == LISTENING)
    state = vm.state()
    assert state.connections == len(cuts) + 1
    assert (state.dma_regions, state.dma_bytes, state.interrupt_mode, state.peer) == (0, 0, 0, 0)
    assert state.why == 0, "the VM closed it"
    descriptors_become(before)
    for fd in given:
        os.close(fd)


@pytest.mark.fault(38)
def test_the_device_keeps_its_state_and_its_callbacks(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    vm.running(device, place=False)
    path = tmp_path / "device.sock"
    assert vm.listen(path) == S_OK
    client = vm.dial(path)
    client.version()
    client.enable()
    client.store(0, 0x20, 0xCAFE)
    client.close()
    client = vm.dial(path)
    client.version()
    client.enable()
    assert client.load(0, 0x20) == 0xCAFE
    assert "teardown" not in device.names()


@pytest.mark.fault(38)
def test_a_vm_that_goes_during_a_callback_lets_it_finish(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def read(bar: int, offset: int, size: int) -> int:
        entered.set()
        happens(leave)
        return 1

    vm.running(device, place=False)
    path = tmp_path / "device.sock"
    assert vm.listen(path, budget_ms=0xFFFFFFFF) == S_OK
    client = vm.dial(path)
    client.version()
    client.enable()
    device.read = read
    client.send(wire.REGION_READ, struct.pack("<QII", 0, 0, 4))
    happens(entered)
    client.close()
    leave.set()
    client = vm.dial(path)
    client.version()
    assert client.is_alive()


@pytest.mark.fault(45)
def test_a_second_vm_waits_until_the_first_is_gone(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    vm.running(device, place=False)
    path = tmp_path / "device.sock"
    assert vm.listen(path) == S_OK
    first = vm.dial(path)
    first.version()
    second = vm.dial(path)
    with Threads() as threads:
        threads.start(second.version)
        assert first.is_alive()
        first.close()
    assert second.is_alive()


@pytest.mark.fault(49)
def test_a_socket_that_somebody_listens_on_is_not_taken_and_a_stale_one_is(
    vm: Vm, device: CallbackDevice, tmp_path: Path
) -> None:
    import socket

    other = CallbackDevice()
    vm.running(device, other, place=False)
    path = tmp_path / "device.sock"
    assert vm.listen(path, 0) == S_OK
    assert vm.listen(path, 1) == HResult.ERROR_ALREADY_EXISTS
    assert vm.listen(tmp_path / "again", 0) == HResult.ERROR_ALREADY_EXISTS
    assert os.stat(path).st_mode & 0o777 == 0o600
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(stale))
    assert vm.listen(stale, 1) == S_OK
    client = vm.dial(stale)
    client.version()
    assert client.is_alive()


@pytest.mark.fault(49)
def test_a_file_that_is_no_socket_is_not_replaced(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    vm.running(device, place=False)
    path = tmp_path / "precious"
    path.write_text("mine")
    assert vm.listen(path) != S_OK
    assert path.read_text() == "mine"


@pytest.mark.fault(50)
def test_a_path_that_is_too_long_for_a_socket_is_told_as_such(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    vm.running(device, place=False)
    before = descriptors()
    assert vm.listen(tmp_path / ("x" * 108)) == HResult.E_INVALIDARG
    assert vm.listen(tmp_path / "nowhere" / "s") != S_OK
    descriptors_become(before)
    assert vm.listen(tmp_path / "s") == S_OK


def test_a_slot_without_a_device_is_not_served(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    assert vm.listen(tmp_path / "s") == HResult.ERROR_NOT_FOUND
    vm.running(device, place=False)
    assert vm.listen(tmp_path / "s", 3) == HResult.ERROR_NOT_FOUND
    assert vm.listen(tmp_path / "s", 32) != S_OK
    assert vm.end(0) == HResult.ERROR_NOT_FOUND


@pytest.mark.fault(46)
def test_the_end_of_serving_is_the_end_of_the_connection(vm: Vm, device: CallbackDevice, tmp_path: Path) -> None:
    vm.running(device, place=False)
    path = tmp_path / "s"
    assert vm.listen(path) == S_OK
    client = vm.dial(path)
    client.version()
    assert vm.end() == S_OK
    assert client.hung_up()
    assert not path.exists()
    assert vm.end() == HResult.ERROR_NOT_FOUND
    assert vm.listen(path) == S_OK


@pytest.mark.fault(38)
@pytest.mark.parametrize("how", ["stop", "remove_slot", "close_system"])
def test_the_end_of_the_machine_or_the_device_ends_the_connection(vm: Vm, device: CallbackDevice, how: str) -> None:
    client = vm.serve(device)
    client.dma_map(0, 4096)
    assert {"stop": vm.stop, "remove_slot": lambda: vm.remove_slot(0), "close_system": vm.close_system}[how]() == S_OK
    if how == "remove_slot":
        client.enable()
        assert client.load(0, 0) == 0xFFFFFFFF
    else:
        assert client.hung_up()
