"""The gate: breakpoints hold a guest's accesses outside of their device, and let them go as somebody says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .gate_scaffold import Gate, marks
from .scaffold import PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, happens

S_FALSE = 1
INVALID, NOT_FOUND = HResult.E_INVALIDARG, HResult.ERROR_NOT_FOUND
READ, WRITE = lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE
CONFIG_READ, CONFIG_WRITE = lib.HDVLAB_CONFIG_READ, lib.HDVLAB_CONFIG_WRITE
CONTINUE, OVERRIDE, SKIP, RETRY = lib.HDVLAB_CONTINUE, lib.HDVLAB_OVERRIDE, lib.HDVLAB_SKIP, lib.HDVLAB_RETRY
AFTER = lib.HDVLAB_BREAK_AFTER


@pytest.fixture
def device(machine: Machine) -> CallbackDevice:
    device = machine.running(CallbackDevice())
    device.memory[0, 8] = 0x1234
    return device


@pytest.fixture
def gate(machine: Machine, device: CallbackDevice) -> Gate:
    return Gate(machine.system)


def test_a_held_read_is_pending_and_its_device_free(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    number = gate.add(READ, first=8, last=11)
    answers: list[Any] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE + 8, pc=0x77)))
        stop = gate.one()
        row = recording.rows(since=stop.row)[0]
        assert (row["kind"], row["status"], row["address"]) == (READ, HResult.E_PENDING, 8)
        assert (stop.breakpoint, stop.phase, stop.kind, stop.address, stop.size) == (number, 0, READ, 8, 4)
        assert (stop.bar, stop.device, stop.origin, stop.pc, stop.is_inside) == (0, 0, lib.HDVLAB_GUEST, 0x77, 0)
        assert stop.ticket == 1
        assert stop.held_ns >= 0
        assert stop.status == HResult.E_PENDING.signed
        assert machine.read(PLACE + 4, wait_ms=1) == (S_OK, 0)  # another guest comes in
        assert machine.poke(device, False, 0, 8, 4, origin=lib.HDVLAB_USER) == (S_OK, 0x1234)
        assert device.names() == ["read", "read"]
        gate.go()
    assert answers == [(S_OK, 0x1234)]
    row = recording.rows(since=stop.row)[0]
    assert (row["status"], row["value"]) == (S_OK, 0x1234)
    assert gate.hits(number) == (1, 1)
    assert gate.stops() == []


@pytest.mark.parametrize("write", [False, True])
def test_a_write_after_the_device_answered(machine: Machine, device: CallbackDevice, gate: Gate, write: bool) -> None:
    gate.add(WRITE if write else READ, flags=AFTER)
    with Threads() as threads:
        threads.start(machine.write if write else machine.read, PLACE + 8, *[5] * write)
        stop = gate.one()
        assert (stop.phase, stop.value, stop.status) == (lib.HDVLAB_AFTER, 5 if write else 0x1234, S_OK)
        assert device.names() == ["write" if write else "read"]
        assert machine.config_read(0, 0)[0] == S_OK
        assert gate.release(stop.ticket) == S_OK


def test_what_an_override_gives_to_whom(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    answers: list[Any] = []
    before = gate.add(READ, WRITE, CONFIG_READ, CONFIG_WRITE)

    def goes(value: int, call: Callable[..., Any], *arguments: int) -> Any:
        with Threads() as threads:
            threads.start(lambda: answers.append(call(*arguments)))
            return gate.go(OVERRIDE, value)

    read = goes(0xABCD, machine.read, PLACE + 8)
    wrote = goes(2, machine.write, PLACE + 8, 1)
    goes(0xEEFF, machine.config_read, 0, 0x40, 2)
    goes(4, machine.config_write, 0, 0x40, 4, 3)
    assert answers == [(S_OK, 0xABCD), S_OK, (S_OK, 0xEEFF), S_OK]
    assert device.calls == [("write", 0, 8, 4, 2), ("config_write", 0x40, 4)]
    rows = recording.rows(since=read.row)
    assert [(rows[0]["value"], rows[0]["status"])] == [(0xABCD, S_OK)]
    assert recording.rows(since=wrote.row)[0]["value"] == 2
    assert marks(rows, recording)[:2] == [
        (read.row, "override: 0xABCD, the device was not asked"),
        (wrote.row, "override: 0x2 in place of 0x1"),
    ]
    gate.remove(before)
    gate.add(READ, flags=AFTER)
    device.read = lambda *_: 1 // 0  # E_FAIL
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE)))
        failed = gate.go(OVERRIDE, 9)
    assert failed.status == HResult.E_FAIL.signed
    assert failed.value == 0xFFFFFFFF
    assert answers[-1] == (S_OK, 9)
    assert [type(error) for error in device.errors] == [ZeroDivisionError]
    device.errors.clear()


def test_what_is_skipped_reads_as_ones_or_is_dropped(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    answers: list[Any] = []
    gate.add()
    calls: list[Callable[[], Any]] = [
        lambda: machine.read(PLACE + 8, 2),
        lambda: machine.write(PLACE + 8, 7),
        lambda: machine.config_read(0, 0x41, 1),
        lambda: machine.config_write(0, 4, 2, 0),
    ]
    since = len(recording)
    for call in calls:
        with Threads() as threads:
            threads.start(lambda call=call: answers.append(call()))  # type: ignore[misc]
            stop = gate.go(SKIP)
    assert answers == [(S_FALSE, 0xFFFF), S_FALSE, (S_FALSE, 0xFF), S_FALSE]
    assert device.calls == []
    rows = recording.rows(READ, WRITE, CONFIG_READ, CONFIG_WRITE, since=since)
    assert [(row["status"], row["value"]) for row in rows] == [(1, 0xFFFF), (1, 7), (1, 0xFF), (1, 0)]
    assert marks(recording.rows(since=stop.row), recording)[-1] == (stop.row, "skip: the device was not asked")
    gate.remove(1)
    assert machine.read(PLACE + 8)[0] == S_OK  # the write to the command register never was


def test_a_retry_asks_the_device_again_within_the_same_row(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    number = gate.add(READ, flags=AFTER)
    answers: list[Any] = []
    since = len(recording)
    device.memory[0, 8] = 1
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE + 8)))
        first = gate.one()
        device.read = lambda *_: 2
        assert gate.release(first.ticket, RETRY) == S_OK
        second = gate.go()
    assert answers == [(S_OK, 2)]
    assert second.row == first.row == since
    assert recording.rows(READ, since=since)[0]["value"] == 2
    assert len(recording.rows(READ, since=since)) == 1
    assert gate.hits(number) == (2, 2)
    assert marks(recording.rows(since=since), recording) == [(since, "retry: the device had answered 0x1 (0x00000000)")]
    gate.set(number, 0)
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE + 8)))
        gate.go(RETRY)
    assert answers[-1] == (S_OK, 2)


def test_what_makes_no_sense_is_refused_and_the_access_stays_held(
    machine: Machine, device: CallbackDevice, gate: Gate
) -> None:
    gate.add(READ)
    gate.add(WRITE, flags=AFTER)
    with Threads() as threads:
        threads.start(machine.read, PLACE, 2)
        stop = gate.one()
        assert gate.release(stop.ticket, 4) == gate.release(stop.ticket, OVERRIDE, 0x10000) == INVALID
        assert gate.release(stop.ticket + 1) == gate.release(0) == NOT_FOUND
        assert [held.ticket for held in gate.stops()] == [stop.ticket]
        assert gate.release(stop.ticket) == S_OK
        assert gate.release(stop.ticket) == NOT_FOUND
        threads.start(machine.write, PLACE, 1)
        stop = gate.one()
        assert gate.release(stop.ticket, SKIP) == gate.release(stop.ticket, OVERRIDE, 1) == INVALID
        assert gate.release(stop.ticket) == S_OK


def test_steps_hold_the_next_access_whatever_it_is(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    assert gate.step(3) == S_OK
    assert machine.read(PLACE)[0] == S_OK
    assert machine.poke(device, False, 0, 0, 4, origin=lib.HDVLAB_USER)[0] == S_OK  # a person's is not counted
    assert machine.config_read(0, 0)[0] == S_OK
    with Threads() as threads:
        threads.start(machine.write, PLACE + 4, 1)
        stop = gate.go()
        assert (stop.breakpoint, stop.kind, stop.address, stop.value) == (0, WRITE, 4, 1)
    assert machine.write(PLACE + 4, 1) == S_OK
    gate.step(1)
    gate.step(0)
    assert machine.write(PLACE + 4, 1) == S_OK
    gate.step(2)
    number = gate.add(WRITE)
    with Threads() as threads:
        threads.start(machine.write, PLACE + 4, 1)
        assert gate.go().breakpoint == number
    assert machine.read(PLACE)[0] == S_OK  # the stop took the step back


def test_what_a_device_that_was_stopped_meanwhile_answers(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    gate.add(READ)
    answers: list[Any] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE)))
        stop = gate.one()
        assert machine.stop() == S_OK
    assert answers == [(S_FALSE, 0xFFFFFFFF)]
    assert device.names() == ["stop", "teardown"]
    assert recording.rows(since=stop.row)[0]["status"] == S_FALSE
    assert gate.wait(gate.wait(1 << 40, 0)[1], 1000)[0] == HResult.ERROR_INVALID_STATE


@pytest.mark.parametrize("end", ["remove", "teardown", "close"])
def test_the_end_of_a_device_lets_its_accesses_go(
    machine: Machine, device: CallbackDevice, gate: Gate, end: str
) -> None:
    gate.add(READ)
    answers: list[Any] = []
    with Threads() as threads:
        for _ in range(3):
            threads.start(lambda: answers.append(machine.read(PLACE)))
        gate.held(3)
        assert {"remove": lambda: machine.remove_slot(0), "teardown": machine.teardown, "close": machine.close_system}[
            end
        ]() == S_OK
    assert answers == [(S_FALSE, 0xFFFFFFFF)] * 3
    assert "read" not in device.names()


def test_a_hold_that_lasts_too_long_goes_on_with_a_mark(
    machine: Machine, device: CallbackDevice, gate: Gate, recording: Recording
) -> None:
    gate.add(READ)
    assert gate.limit(0) == INVALID
    assert gate.overdue() == 0
    answers: list[Any] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE + 8)))
        stop = gate.one()
        assert gate.limit(1) == S_OK  # of what is held, too
    assert answers == [(S_OK, 0x1234)]
    assert gate.overdue() == 1
    text = "held for 1 ms, which is the longest; it goes on by itself"
    assert marks(recording.rows(since=stop.row), recording) == [(stop.row, text)]


def test_many_guests_are_held_at_once_and_go_one_by_one(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    gate.add(WRITE)
    with Threads() as threads:
        for i in range(6):
            threads.start(machine.write, PLACE + 4 * i, i)
        stops = gate.held(6)
        assert [stop.ticket for stop in stops] == [1, 2, 3, 4, 5, 6]
        assert len(gate.stops(2)) == 2
        for left, stop in enumerate(reversed(stops)):
            assert gate.release(stop.ticket) == S_OK
            assert len(gate.stops()) == 5 - left
    assert sorted(call[2] for call in device.calls) == [0, 4, 8, 12, 16, 20]


def test_a_concurrent_device_is_left_and_entered_by_its_sharers(machine: Machine, recording: Recording) -> None:
    device = CallbackDevice()
    machine.create(device)
    assert lib.hdvlab_device_set_concurrent(device.handle, True) == 0
    assert machine.add_slot(device) == machine.start() == S_OK
    machine.place(device)
    gate = Gate(machine.system)
    gate.add(READ)
    with Threads() as threads:
        threads.start(machine.read, PLACE)
        threads.start(machine.read, PLACE + 4)
        stops = gate.held(2)
        assert lib.hdvlab_device_enter(device.handle, 1000, -1) == 0  # alone
        for stop in stops:
            assert gate.release(stop.ticket) == S_OK
        assert "read" not in device.names()
        assert lib.hdvlab_device_leave(device.handle) == 0
    assert device.names().count("read") == 2


def test_an_access_within_a_callback_holds_only_what_it_is_in(machine: Machine, recording: Recording) -> None:
    outer, inner = CallbackDevice(), CallbackDevice()
    machine.running(outer, inner)
    gate = Gate(machine.system)
    gate.add(READ, device=1)
    outer.read = lambda *_: machine.read(PLACE + 0x100_0000)[1] + 1
    inner.memory[0, 0] = 41
    answers: list[Any] = []
    deadlock = HResult.ERROR_POSSIBLE_DEADLOCK
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE)))
        stop = gate.one()
        assert (stop.device, stop.is_inside) == (1, 0)
        rows = recording.rows(READ, since=stop.row)
        assert rows[0]["cause"] == stop.row - 1
        assert machine.poke(inner, False, 0, 0, 4, origin=lib.HDVLAB_USER) == (S_OK, 41)
        assert machine.poke(outer, False, 0, 0, 4, origin=lib.HDVLAB_USER) == (deadlock, 0xFFFFFFFF)
        assert machine.config_peek(0)[0] == deadlock
        gate.go()
    assert answers == [(S_OK, 42)]
    assert lib.hdvlab_cause() == -1


def test_a_user_who_was_waiting_already_is_told(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    entered, proceed = threading.Event(), threading.Event()

    def read(*_: int) -> int:
        entered.set()
        happens(proceed)
        return int.from_bytes(device.dma_read(0x1000, 4)[1], "little")

    device.read = read
    gate.add(lib.HDVLAB_DMA_READ)
    answers: list[Any] = []
    with Threads() as threads:
        threads.start(machine.read, PLACE)
        happens(entered)
        threads.start(lambda: answers.append(machine.poke(device, False, 0, 0, 4, origin=lib.HDVLAB_USER)))
        proceed.set()
        stop = gate.one()
        assert stop.is_inside == 1
        while not answers:
            gate.wait(gate.wait(1 << 40, 0)[1], 10)
        assert answers == [(HResult.ERROR_POSSIBLE_DEADLOCK, 0xFFFFFFFF)]
        gate.go()


def test_nothing_is_looked_at_while_nothing_is_set(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    number = gate.add(READ)
    assert gate.set(number, lib.HDVLAB_BREAK_DISABLED) == S_OK
    assert machine.read(PLACE)[0] == S_OK
    assert gate.hits(number) == (0, 0)
    assert gate.wait(0, 0) == (HResult.ERROR_BUSY, 0)
    assert gate.wait(1, 0) == (S_OK, 0)


def test_handles_and_pointers_that_are_none(machine: Machine) -> None:
    gate, null = Gate(machine.system), ffi.NULL
    pointer = HResult.E_POINTER.signed
    out32, out64 = ffi.new("uint32_t *"), ffi.new("uint64_t *")
    breakpoint = ffi.new("HDVLAB_BREAKPOINT *", {"device": -1, "bar": -1})
    assert lib.hdvlab_gate_add(machine.system, null, out32) == pointer
    assert lib.hdvlab_gate_add(machine.system, breakpoint, null) == pointer
    assert lib.hdvlab_gate_hits(machine.system, 1, null, out64) == pointer
    assert lib.hdvlab_gate_hits(machine.system, 1, out64, null) == pointer
    assert lib.hdvlab_gate_stops(machine.system, null, 1, out32) == pointer
    assert lib.hdvlab_gate_stops(machine.system, null, 0, null) == pointer
    assert lib.hdvlab_gate_stops(machine.system, null, 0, out32) == 0
    assert lib.hdvlab_gate_wait(machine.system, null, 0) == pointer
    assert lib.hdvlab_gate_overdue(machine.system, null) == pointer
    for number in (0, 1, 0xFFFFFFFF):
        assert gate.set(number, 0) == gate.remove(number) == NOT_FOUND
        assert lib.hdvlab_gate_hits(machine.system, number, out64, out64) == NOT_FOUND.signed
    for handle in (null, machine.host, ffi.cast("void *", 12345)):
        wrong = Gate(handle)
        calls = [
            wrong.try_add()[0],
            wrong.set(1, 0),
            wrong.remove(1),
            lib.hdvlab_gate_hits(handle, 1, out64, out64) & 0xFFFFFFFF,
            wrong.step(),
            lib.hdvlab_gate_stops(handle, null, 0, out32) & 0xFFFFFFFF,
            wrong.release(1),
            wrong.wait(0, 0)[0],
            wrong.limit(1),
            lib.hdvlab_gate_overdue(handle, out64) & 0xFFFFFFFF,
            wrong.on_ask(None),
            wrong.on_idle(None),
        ]
        assert calls == [HResult.E_HANDLE] * 12
