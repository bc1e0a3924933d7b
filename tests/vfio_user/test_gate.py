"""A VM whose access is held at the gate: its patience does not run, and it can go at any time."""

from __future__ import annotations

import struct
import threading
import time

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.gate_scaffold import Gate
from ..core.scaffold import S_OK, CallbackDevice, Recording, Threads, happens
from . import client as wire
from .client import Client
from .served import PAGE, Vm

#: Short enough to be let pass, long enough for a machine that is busy with other things.
BUDGET_MS = 400
READ, WRITE = lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE
ANY_ORIGIN = 1 << lib.HDVLAB_GUEST | 1 << lib.HDVLAB_MACHINE | 1 << lib.HDVLAB_DEVICE


def _let_budget_pass(gate: Gate) -> None:
    """Nothing changes at the gate while a budget passes."""
    changes = gate.wait(1 << 60, 0)[1]
    assert gate.wait(changes, 2 * BUDGET_MS) == (HResult.ERROR_BUSY, changes)


def _ask(client: Client, offset: int, size: int = 4) -> int:
    """Send a read, without waiting for its reply."""
    return client.send(wire.REGION_READ, struct.pack("<QII", offset, 0, size))


def _reply(client: Client, identity: int) -> bytes:
    return client.reply_to(identity, wire.REGION_READ).payload[16:]


@pytest.fixture
def client(vm: Vm, device: CallbackDevice) -> Client:
    client = vm.serve(device, budget_ms=BUDGET_MS)
    client.enable()
    device.memory[0, 8] = 0x12345678
    return client


@pytest.mark.parametrize("flags", [0, lib.HDVLAB_BREAK_AFTER])
def test_a_budget_does_not_run_out_while_the_access_is_held(
    vm: Vm, client: Client, recording: Recording, flags: int
) -> None:
    gate = Gate(vm.system)
    gate.add(READ, flags=flags, origins=ANY_ORIGIN)
    identity = _ask(client, 8)
    stop = gate.one()
    _let_budget_pass(gate)
    assert recording.rows(since=stop.row)[0]["status"] == HResult.E_PENDING
    assert gate.release(stop.ticket) == S_OK
    assert _reply(client, identity) == struct.pack("<I", 0x12345678)
    assert (vm.state().timeouts, vm.state().hung) == (0, 0)
    assert recording.rows(since=stop.row)[0]["status"] == S_OK


def test_a_device_that_hangs_after_a_hold_is_still_answered_for(vm: Vm, device: CallbackDevice, client: Client) -> None:
    gate, leave = Gate(vm.system), threading.Event()
    gate.add(READ, origins=ANY_ORIGIN, flags=lib.HDVLAB_BREAK_ONCE)
    device.read = lambda *_: int(happens(leave) is None)
    identity = _ask(client, 8)
    stop = gate.one()
    _let_budget_pass(gate)
    assert gate.release(stop.ticket) == S_OK
    try:
        assert _reply(client, identity) == b"\xff" * 4
        assert vm.until(lambda state: state.hung).timeouts == 1
        gate.add(READ, origins=ANY_ORIGIN)
        assert client.load(0, 8) == 0xFFFFFFFF  # a hung device is not asked, so there is nothing to hold
        assert gate.stops() == []
    finally:
        leave.set()
    vm.until(lambda state: not state.hung)


@pytest.mark.parametrize("flags", [0, lib.HDVLAB_BREAK_AFTER])
def test_a_condition_that_never_answers_stops_neither_the_guest_nor_the_end(
    vm: Vm, device: CallbackDevice, client: Client, recording: Recording, flags: int
) -> None:
    gate, leave = Gate(vm.system), threading.Event()
    number = gate.add(READ, flags=flags | lib.HDVLAB_BREAK_ASK, origins=ANY_ORIGIN)
    gate.on_ask(lambda *_: int(happens(leave) is None))
    try:
        assert _reply(client, _ask(client, 8)) == b"\xff" * 4
        assert vm.until(lambda state: state.hung).timeouts == 1
        assert recording.rows(READ)[-1]["status"] == HResult.ERROR_TIMEOUT
        vm.end(0)
    finally:
        leave.set()
    assert gate.on_ask(None) == S_OK  # it has left
    assert (gate.hits(number)[1], gate.stops()) == (0, [])


def test_a_callback_that_came_back_too_late_is_not_held(vm: Vm, device: CallbackDevice, client: Client) -> None:
    gate, leave = Gate(vm.system), threading.Event()
    number = gate.add(READ, origins=ANY_ORIGIN, flags=lib.HDVLAB_BREAK_AFTER)
    device.read = lambda *_: int(happens(leave) is None)
    assert _reply(client, _ask(client, 8)) == b"\xff" * 4
    leave.set()
    vm.until(lambda state: not state.hung)
    assert gate.hits(number) == (1, 0)
    assert gate.stops() == []


def test_a_long_access_is_not_cut_short_by_a_hold_in_its_middle(vm: Vm, device: CallbackDevice, client: Client) -> None:
    gate = Gate(vm.system)
    gate.add(READ, first=8, last=15, origins=ANY_ORIGIN)
    device.memory[0, 16] = 7
    identity = _ask(client, 0, 24)
    stop = gate.one()
    _let_budget_pass(gate)
    assert gate.release(stop.ticket) == S_OK
    assert _reply(client, identity) == struct.pack("<QQQ", 0, 0x12345678, 7)
    assert vm.state().timeouts == 0


def test_dma_that_is_held_within_a_callback_costs_no_patience(vm: Vm, device: CallbackDevice, client: Client) -> None:
    gate = Gate(vm.system)
    gate.add(lib.HDVLAB_DMA_READ)
    device.read = lambda *_: int.from_bytes(device.dma_read(0x1000, 4)[1], "little")
    identity = _ask(client, 0)
    stop = gate.one()
    assert stop.is_inside == 1
    _let_budget_pass(gate)
    assert gate.release(stop.ticket, lib.HDVLAB_OVERRIDE, 0x55) == S_OK
    assert _reply(client, identity) == struct.pack("<I", 0x55)
    assert (vm.state().timeouts, vm.state().hung) == (0, 0)


@pytest.mark.parametrize("where", ["outside", "inside"])
@pytest.mark.parametrize("how", ["end", "stop", "close_system", "teardown"])
def test_the_end_waits_for_nothing_that_is_held(
    vm: Vm, device: CallbackDevice, client: Client, how: str, where: str
) -> None:
    gate = Gate(vm.system)
    if where == "inside":
        device.read = lambda *_: device.dma_read(0x1000, 4)[0]
    gate.add(READ if where == "outside" else lib.HDVLAB_DMA_READ, origins=ANY_ORIGIN)
    _ask(client, 8)
    gate.one()
    began = time.monotonic()
    assert getattr(vm, how)() == S_OK
    assert time.monotonic() - began < 10
    assert where == "inside" or "read" not in device.names()
    assert (how == "end") == ("teardown" not in device.names())


def test_a_server_that_ends_leaves_the_gate_to_the_next(vm: Vm, device: CallbackDevice, client: Client) -> None:
    gate = Gate(vm.system)
    gate.add(READ, origins=ANY_ORIGIN)
    _ask(client, 8)
    first = gate.one()
    assert vm.end() == S_OK
    assert gate.stops() == []
    again = vm.connect(0, budget_ms=BUDGET_MS)
    again.enable()
    identity = _ask(again, 8)
    assert gate.go().ticket == first.ticket + 1
    assert _reply(again, identity) == struct.pack("<I", 0x12345678)


def test_a_vm_that_dies_while_it_is_held_harms_nobody(vm: Vm, device: CallbackDevice, client: Client) -> None:
    gate = Gate(vm.system)
    gate.add(READ, origins=ANY_ORIGIN)
    _ask(client, 8)
    stop = gate.one()
    client.close()
    assert gate.stops()[0].ticket == stop.ticket  # it is still there to be looked at
    assert gate.release(stop.ticket) == S_OK
    vm.until(lambda state: state.state != lib.HDVLAB_VFIO_USER_CONNECTED)
    assert "read" in device.names()


def test_two_vms_are_held_apart_from_each_other(vm: Vm) -> None:
    devices = [CallbackDevice((PAGE,)), CallbackDevice((PAGE,))]
    vm.running(*devices, place=False)
    clients = [vm.connect(slot, budget_ms=BUDGET_MS) for slot in range(2)]
    for client in clients:
        client.enable()
    gate = Gate(vm.system)
    gate.add(WRITE, origins=ANY_ORIGIN, device=1)
    with Threads() as threads:
        threads.start(clients[1].store, 0, 0, 5)
        stop = gate.one()
        for value in range(20):
            clients[0].store(0, 0, value)
        assert (stop.device, stop.value) == (1, 5)
        assert gate.release(stop.ticket) == S_OK
    assert devices[1].memory[0, 0] == 5
