"""The gate sees more than accesses to registers: DMA, interrupts, doorbells, a device's life and its reset."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .gate_scaffold import Gate
from .scaffold import PLACE, S_OK, CallbackDevice, Failure, Machine, Recording, Threads, code

S_FALSE, INVALID = 1, HResult.E_INVALIDARG
CONTINUE, OVERRIDE, SKIP, RETRY = lib.HDVLAB_CONTINUE, lib.HDVLAB_OVERRIDE, lib.HDVLAB_SKIP, lib.HDVLAB_RETRY
AFTER = lib.HDVLAB_BREAK_AFTER
DMA_READ, DMA_WRITE, INTERRUPT = lib.HDVLAB_DMA_READ, lib.HDVLAB_DMA_WRITE, lib.HDVLAB_INTERRUPT


@pytest.fixture
def device(machine: Machine) -> CallbackDevice:
    return machine.running(CallbackDevice())


@pytest.fixture
def gate(machine: Machine, device: CallbackDevice) -> Gate:
    return Gate(machine.system)


def _do(call: Callable[[], Any], *steps: Callable[[], Any]) -> Any:
    """What ``call`` gives on a thread of its own while ``steps`` are taken here."""
    answers: list[Any] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(call()))
        for step in steps:
            step()
    return answers[0]


def test_dma_goes_on_with_another_value(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    machine.ram_write(0x1000, bytes(range(16)))
    gate.add(DMA_READ, DMA_WRITE)
    assert _do(lambda: device.dma_read(0x1000, 4), lambda: gate.go(OVERRIDE, 0x01020304)) == (S_OK, b"\4\3\2\1")
    assert _do(lambda: device.dma_write(0x2000, b"abcd"), lambda: gate.go(OVERRIDE, 0x41424344)) == S_OK
    assert machine.ram_read(0x2000, 5)[1] == b"DCBA\0"
    assert _do(lambda: device.dma_read(0x1000, 16), lambda: gate.go(SKIP)) == (S_FALSE, b"\xff" * 16)
    assert _do(lambda: device.dma_write(0x2000, b"efgh"), lambda: gate.go(SKIP)) == S_FALSE
    assert machine.ram_read(0x2000, 4)[1] == b"DCBA"
    rows = recording.rows(DMA_READ, DMA_WRITE)
    assert [(row["value"], row["status"]) for row in rows] == [
        (0x01020304, S_OK),
        (0x41424344, S_OK),
        ((1 << 64) - 1, S_FALSE),
        (int.from_bytes(b"efgh", "little"), S_FALSE),
    ]
    assert recording.payload(rows[2]["payload"], 16) == b"\xff" * 16

    def refuse_nine() -> None:
        stop = gate.one()
        assert stop.value == 0x3837363534333231
        assert stop.size == 9
        assert stop.is_inside == 0
        assert gate.release(stop.ticket, OVERRIDE, 1) == INVALID
        gate.go()

    assert _do(lambda: device.dma_write(0x2000, b"123456789"), refuse_nine) == S_OK
    assert machine.ram_read(0x2000, 9)[1] == b"123456789"


def test_dma_after_it_was_copied(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    machine.ram_write(0x1000, bytes(range(16)))
    gate.add(DMA_READ, DMA_WRITE, flags=AFTER)

    def again() -> None:
        stop = gate.one()
        assert (stop.value, stop.status) == (0x03020100, S_OK)
        machine.ram_write(0x1000, b"\x10")
        assert gate.release(stop.ticket, RETRY) == S_OK

    assert _do(lambda: device.dma_read(0x1000, 4), again, gate.go) == (S_OK, b"\x10\1\2\3")
    assert _do(lambda: device.dma_read(0x1000, 1), lambda: gate.go(OVERRIDE, 9)) == (S_OK, b"\t")

    def refused() -> None:
        stop = gate.one()
        assert stop.status == HResult.ERROR_NOACCESS.signed
        assert stop.value == 0xFFFF
        gate.go()

    assert _do(lambda: device.dma_read(1 << 40, 2), refused)[0] == HResult.ERROR_NOACCESS
    assert (
        _do(lambda: device.dma_write(0x2000, b"z"), lambda: gate.release(gate.one().ticket, OVERRIDE, 1), gate.go)
        == S_OK
    )


def test_dma_within_a_callback_says_that_its_device_is_taken(
    machine: Machine, device: CallbackDevice, gate: Gate
) -> None:
    device.read = lambda *_: device.dma_read(0x1000, 4)[1][0]
    gate.add(DMA_READ)

    def look() -> None:
        stop = gate.one()
        assert (stop.is_inside, stop.origin) == (1, lib.HDVLAB_DEVICE)
        assert machine.read(PLACE, wait_ms=1)[0] == HResult.ERROR_BUSY
        assert code(lib.hdvlab_device_wait_idle(device.handle, 1)) == HResult.ERROR_BUSY
        assert machine.poke(device, True, 0, 0, 4, 1, origin=lib.HDVLAB_USER)[0] == HResult.ERROR_POSSIBLE_DEADLOCK
        gate.go()

    assert _do(lambda: machine.read(PLACE), look)[0] == S_OK
    assert machine.poke(device, True, 0, 0, 4, 1, origin=lib.HDVLAB_USER)[0] == S_OK


@pytest.mark.parametrize("end", ["stop", "close", "teardown", "remove"])
def test_power_off_lets_go_of_dma_within_a_callback(
    machine: Machine, device: CallbackDevice, gate: Gate, end: str
) -> None:
    device.read = lambda *_: device.dma_read(0x1000, 4)[0]
    gate.add(DMA_READ)
    ends = {
        "stop": machine.stop,
        "close": machine.close_system,
        "teardown": machine.teardown,
        "remove": lambda: machine.remove_slot(0),
    }
    assert _do(lambda: machine.read(PLACE), gate.one, ends[end]) == (S_OK, S_FALSE)
    assert device.names()[-2:] == ["stop", "teardown"]


def test_an_interrupt_gets_another_message_or_none(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    number = gate.add(INTERRUPT)
    assert _do(lambda: device.interrupt(data=0x41), lambda: gate.go(OVERRIDE, 0x42)) == S_OK
    assert machine.wait_interrupt(0x42)[0] == S_OK
    assert machine.wait_interrupt(0x41)[0] == HResult.ERROR_TIMEOUT
    assert _do(lambda: device.interrupt(data=0x41), lambda: gate.go(SKIP)) == S_FALSE
    assert machine.wait_interrupt(0x41)[0] == HResult.ERROR_TIMEOUT
    gate.set(number, AFTER)
    assert _do(lambda: device.interrupt(data=0x41), lambda: gate.go(RETRY), gate.go) == S_OK
    assert machine.wait_interrupt(0x41) == (S_OK, 1)


def test_a_doorbell_rings_as_it_is_let_go(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    event = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        assert device.ring(event, offset=0x10, flags=1 << 31) == S_OK
        gate.add(lib.HDVLAB_DOORBELL)

        def check() -> None:
            stop = gate.one()
            assert (stop.is_inside, stop.value, stop.address) == (0, 5, 0x10)
            with pytest.raises(BlockingIOError):
                os.eventfd_read(event)
            assert gate.release(stop.ticket, OVERRIDE, 1) == INVALID
            assert device.ring(event, offset=0x20, flags=1 << 31) == S_OK  # the table is free
            gate.go()

        assert _do(lambda: machine.write(PLACE + 0x10, 5), check) == S_OK
        assert os.eventfd_read(event) == 1
        assert _do(lambda: machine.write(PLACE + 0x10, 6), lambda: gate.go(SKIP)) == S_FALSE
        with pytest.raises(BlockingIOError):
            os.eventfd_read(event)
        since = len(recording)
        taken = [gate.one, lambda: device.unring(offset=0x10, flags=1 << 31), gate.go]
        assert _do(lambda: machine.write(PLACE + 0x10, 7), *taken) == S_OK
        assert device.calls == [("write", 0, 0x10, 4, 7)]  # there is no doorbell, so the device gets it
        rows = recording.rows(lib.HDVLAB_DOORBELL, lib.HDVLAB_MMIO_WRITE, since=since)
        assert [row["status"] for row in rows] == [HResult.ERROR_NOT_FOUND, S_OK]
    finally:
        os.close(event)


def test_the_steps_of_a_start_are_held_one_by_one_and_tried_again(machine: Machine, recording: Recording) -> None:
    device = machine.create(CallbackDevice())
    machine.add_slot(device)
    gate = Gate(machine.system)
    steps = [lib.HDVLAB_INITIALIZE, lib.HDVLAB_SET_CONFIGURATION, lib.HDVLAB_GET_DETAILS, lib.HDVLAB_START]
    gate.add(*steps)
    failing = gate.add(lib.HDVLAB_START, flags=AFTER)
    seen: list[int] = []

    def one() -> None:
        stop = gate.one()
        seen.append(stop.kind)
        assert stop.is_inside == 1
        assert gate.release(stop.ticket, SKIP) == gate.release(stop.ticket, OVERRIDE, 0) == INVALID
        gate.go()

    def fail() -> None:
        raise Failure(HResult.E_FAIL)

    def mend() -> None:
        stop = gate.one()
        assert stop.breakpoint == failing
        assert stop.status == HResult.E_FAIL.signed
        del device.during["start"]
        assert gate.release(stop.ticket, RETRY) == S_OK

    def fine() -> None:
        stop = gate.one()
        assert stop.status == S_OK
        assert gate.release(stop.ticket, RETRY) == INVALID
        gate.go()

    device.during["start"] = fail
    assert _do(machine.start, one, one, one, one, mend, fine) == S_OK
    assert seen == steps
    assert device.names() == ["initialize", "set_configuration", "get_details", "start", "start"]
    assert len(recording.rows(lib.HDVLAB_START)) == 1


def test_nothing_is_held_while_a_device_ends_but_counted(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    before = gate.add(lib.HDVLAB_STOP, lib.HDVLAB_TEARDOWN)
    after = gate.add(lib.HDVLAB_STOP, lib.HDVLAB_TEARDOWN, flags=AFTER)
    assert machine.remove_slot(0) == S_OK
    assert gate.hits(before) == gate.hits(after) == (2, 0)


def test_a_start_that_is_held_fails_when_its_device_goes(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    machine.add_slot(device)
    gate = Gate(machine.system)
    gate.add(lib.HDVLAB_INITIALIZE)
    _do(machine.start, gate.one, machine.teardown)
    assert device.names()[0] == "initialize"
    assert device.names()[-1] == "teardown"
