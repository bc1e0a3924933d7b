"""What a breakpoint matches, counts, asks about, and when it holds."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .gate_scaffold import TOP, Gate
from .scaffold import DEADLINE, PLACE, S_OK, CallbackDevice, Machine, Threads, happens
from .test_fork import in_child

READ, WRITE, CONFIG_READ = lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE, lib.HDVLAB_CONFIG_READ
AFTER, CHANGED, ONCE = lib.HDVLAB_BREAK_AFTER, lib.HDVLAB_BREAK_CHANGED, lib.HDVLAB_BREAK_ONCE
ASK, PASS, DISABLED = lib.HDVLAB_BREAK_ASK, lib.HDVLAB_BREAK_PASS, lib.HDVLAB_BREAK_DISABLED
INVALID, NOT_FOUND = HResult.E_INVALIDARG, HResult.ERROR_NOT_FOUND


@pytest.fixture
def device(machine: Machine) -> CallbackDevice:
    return machine.running(CallbackDevice((0xFFFFF000, 0xFFFFF000)), CallbackDevice())


@pytest.fixture
def gate(machine: Machine, device: CallbackDevice) -> Gate:
    return Gate(machine.system)


def _hits(gate: Gate, call: Any, *, flags: int = 0, **fields: int) -> int:
    """How often one breakpoint is hit by what ``call`` does."""
    number = gate.add(flags=flags | PASS, **fields)
    call()
    hits, stops = gate.hits(number)
    assert stops == 0
    assert gate.remove(number) == S_OK
    return hits


@pytest.mark.parametrize(
    ("fields", "hits"),
    [
        ({}, 1),
        ({"kinds": 1 << WRITE}, 1),
        ({"kinds": 1 << READ}, 0),
        ({"kinds": 1 << READ | 1 << WRITE}, 1),
        ({"device": 0}, 1),
        ({"device": 1}, 0),
        ({"bar": 1}, 1),
        ({"bar": 0}, 0),
        ({"first": 0x10, "last": 0x10}, 1),
        ({"first": 0x17, "last": 0x17}, 1),
        ({"first": 0x18, "last": 0x20}, 0),
        ({"first": 0, "last": 0xF}, 0),
        ({"origins": 1 << lib.HDVLAB_GUEST}, 1),
        ({"origins": 1 << lib.HDVLAB_DEVICE}, 0),
        ({"first": 0x10, "value": 0x88, "mask": 0xFF}, 1),
        ({"first": 0x10, "value": 0x89, "mask": 0xFF}, 0),
        ({"first": 0x10, "value": 0x1122334455667788, "mask": TOP}, 1),
        ({"first": 0x14, "value": 0x11223344, "mask": 0xFFFFFFFF}, 1),
        ({"first": 0x14, "value": 0x44, "mask": 0xFF}, 1),
        ({"first": 0x14, "value": 0x11223344, "mask": TOP}, 0),  # it covers half of the mask only
        ({"first": 0xF, "value": 0x8800, "mask": 0xFF00}, 1),
        ({"first": 0xF, "value": 0x8800, "mask": 0xFFFF}, 0),
        ({"flags": AFTER}, 1),
        ({"flags": AFTER, "first": 0x10, "value": 8, "mask": 0xF}, 1),
        ({"flags": DISABLED}, 0),
    ],
)
def test_what_a_write_matches(machine: Machine, gate: Gate, fields: dict[str, int], hits: int) -> None:
    call = lambda: machine.write(PLACE + 0x10_0010, 0x1122334455667788, 8)  # noqa: E731
    assert _hits(gate, call, **fields) == hits


def test_a_read_has_a_value_once_it_is_answered(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    device.memory[0, 4] = 0x21
    call = lambda: machine.read(PLACE + 4)  # noqa: E731
    masked = {"first": 4, "value": 0x20, "mask": 0xF0}
    assert _hits(gate, call, **masked) == 0
    assert _hits(gate, call, flags=AFTER, **masked) == 1
    assert _hits(gate, call, flags=CHANGED) == 0


def test_a_persons_access_is_looked_at_only_when_said_so(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    call = lambda: machine.poke(device, False, 0, 0, 4, origin=lib.HDVLAB_USER)  # noqa: E731
    assert _hits(gate, call) == 0
    assert _hits(gate, call, origins=1 << lib.HDVLAB_USER) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": 1},
        {"kinds": 1 << lib.HDVLAB_MARK},
        {"kinds": 1 << 63},
        {"flags": 64},
        {"origins": 1 << 6},
        {"first": 2, "last": 1},
        {"device": -2},
        {"device": 0x10000},
        {"bar": -2},
        {"bar": 6},
    ],
)
def test_a_breakpoint_that_is_none(gate: Gate, wrong: dict[str, int]) -> None:
    assert gate.try_add(**wrong)[0] == INVALID
    assert gate.set(gate.add(), 64) == INVALID


def test_there_is_room_for_256(machine: Machine, gate: Gate) -> None:
    numbers = [gate.add(WRITE, flags=PASS) for _ in range(256)]
    assert gate.try_add()[0] == HResult.ERROR_NOT_ENOUGH_QUOTA
    assert machine.write(PLACE, 1) == S_OK
    assert {gate.hits(number) for number in numbers} == {(1, 0)}
    assert gate.remove(numbers[7]) == S_OK
    assert gate.add() == numbers[-1] + 1


def test_changed_compares_with_the_last_value_of_the_same_place(machine: Machine, gate: Gate) -> None:
    number = gate.add(WRITE, flags=CHANGED | PASS)
    for value, hits in ((1, 0), (1, 0), (2, 1), (2, 1), (1, 2)):
        machine.write(PLACE, value)
        assert gate.hits(number)[0] == hits
    machine.write(PLACE, 9, 2)  # of another size, and of another address
    machine.write(PLACE + 4, 9)
    assert gate.hits(number)[0] == 2


def test_changed_remembers_every_place_of_a_large_bar(machine: Machine, gate: Gate) -> None:
    number = gate.add(WRITE, flags=CHANGED | PASS)
    for value in (1, 1, 2):
        for offset in range(0, 0x1000, 4):
            assert machine.write(PLACE + offset, value) == S_OK
    assert gate.hits(number)[0] == 0x400


def test_one_that_holds_once_holds_one_of_two_that_come_together(machine: Machine, gate: Gate) -> None:
    number = gate.add(WRITE, flags=ONCE)
    gate.add(WRITE, flags=ASK | PASS)
    together = threading.Barrier(2)
    gate.on_ask(lambda *_: together.wait(DEADLINE) >= 0)
    with Threads() as threads:
        for value in (1, 2):
            threads.start(machine.write, PLACE, value)
        stop = gate.one()
        assert stop.breakpoint == number
        gate.go()
        assert gate.remove(number) == NOT_FOUND
    assert gate.wait(0, 0)[1] == 2, "one hold, one release"


def test_changed_of_what_a_device_answers(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    number = gate.add(READ, flags=CHANGED | AFTER)
    machine.read(PLACE)
    device.memory[0, 0] = 1
    with Threads() as threads:
        threads.start(machine.read, PLACE)
        assert gate.go().value == 1
    assert gate.hits(number) == (1, 1)
    assert gate.set(gate.add(WRITE, flags=PASS), CHANGED | PASS) == S_OK


def test_hits_are_ignored_first_and_once_is_once(machine: Machine, gate: Gate) -> None:
    number = gate.add(WRITE, flags=ONCE, ignore=2)
    assert machine.write(PLACE, 1) == machine.write(PLACE, 2) == S_OK
    assert gate.hits(number) == (2, 0)
    with Threads() as threads:
        threads.start(machine.write, PLACE, 3)
        stop = gate.one()
        assert gate.remove(number) == NOT_FOUND
        assert machine.write(PLACE, 4) == S_OK
        assert gate.release(stop.ticket) == S_OK
    passing = gate.add(WRITE, flags=ONCE | PASS)
    machine.write(PLACE, 5)
    assert gate.remove(passing) == NOT_FOUND


def test_of_several_the_lowest_number_that_holds_is_named(machine: Machine, gate: Gate) -> None:
    counting, first, second = gate.add(WRITE, flags=PASS), gate.add(WRITE), gate.add(WRITE, flags=ONCE)
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
        assert gate.go().breakpoint == first
    assert [gate.hits(number) for number in (counting, first, second)] == [(1, 0), (1, 1), (1, 0)]


def test_the_callback_decides_and_may_do_everything(machine: Machine, device: CallbackDevice, gate: Gate) -> None:
    asked: list[Any] = []
    number = gate.add(WRITE, flags=ASK, ignore=1)
    other = gate.add(READ)

    def ask(which: int, hit: Any) -> int:
        asked.append((which, hit.breakpoint, hit.value, hit.ticket, hit.phase))
        seen = [machine.read(PLACE)[0]]  # its own accesses are not held
        seen.append(machine.poke(device, False, 0, 0, 4, origin=lib.HDVLAB_USER)[0])  # nor is the device taken
        gate.remove(gate.add())
        seen += [gate.step(0), gate.release(99), gate.on_ask(ask)]
        assert gate.stops() == []
        asked.append(seen)
        return int(hit.value > 2)

    assert gate.on_ask(ask) == S_OK
    for value in (1, 2, 3):
        assert machine.write(PLACE, value) == S_OK
    assert asked[::2] == [(number, number, value, 0, 0) for value in (1, 2, 3)]
    assert asked[1] == [S_OK, S_OK, S_OK, NOT_FOUND, S_OK]
    assert gate.hits(number) == (1, 0)
    assert gate.hits(other) == (0, 0)
    with Threads() as threads:
        threads.start(machine.write, PLACE, 4)
        assert gate.go().value == 4
    assert gate.hits(number) == (2, 1)
    assert gate.on_ask(None) == S_OK
    with Threads() as threads:
        threads.start(machine.write, PLACE, 0)  # nobody is there to be asked
        gate.go()


def test_a_breakpoint_that_its_own_callback_removes_does_not_hold(machine: Machine, gate: Gate) -> None:
    number = gate.add(WRITE, flags=ASK)
    gate.on_ask(lambda which, hit: int(gate.remove(which) == S_OK))
    assert machine.write(PLACE, 1) == S_OK
    assert gate.remove(number) == NOT_FOUND


def test_another_callback_is_set_only_when_nobody_is_in_the_old_one(machine: Machine, gate: Gate) -> None:
    inside, leave, done = threading.Event(), threading.Event(), threading.Event()

    def ask(*_: Any) -> int:
        inside.set()
        happens(leave)
        return 0

    gate.add(WRITE, flags=ASK)
    gate.on_ask(ask)
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
        happens(inside)
        threads.start(lambda: (gate.on_ask(None), done.set()))
        assert not done.wait(0.05)
        leave.set()
        happens(done)


def test_who_is_held_may_leave_by_itself(machine: Machine, gate: Gate) -> None:
    gate.add(READ)
    threads: set[int] = set()
    calls: list[int] = []

    def idle(ticket: int) -> int:
        threads.add(threading.get_ident())
        calls.append(ticket)
        return len(calls) == 2

    assert gate.on_idle(idle) == S_OK
    assert machine.read(PLACE) == (1, 0xFFFFFFFF)  # on this very thread, which nobody else lets go
    assert calls == [1, 1]
    assert threads == {threading.get_ident()}
    gate.set(1, AFTER)
    calls.clear()
    assert machine.read(PLACE) == (S_OK, 0)  # what has happened is not skipped
    assert gate.on_idle(None) == S_OK


def test_a_child_has_no_part_in_what_its_parent_holds(machine: Machine, gate: Gate) -> None:
    gate.add(READ)
    with Threads() as threads:
        threads.start(machine.read, PLACE)
        stop = gate.one()

        def child() -> list[int]:
            own = Machine()
            device = own.running(CallbackDevice())
            number = Gate(own.system).add(READ, flags=PASS)
            own.read(PLACE)
            hits = Gate(own.system).hits(number)[0]
            own.close()
            return [gate.release(stop.ticket), gate.step(), hits, len(device.calls)]

        assert in_child(child)[:3] == [HResult.E_UNEXPECTED, HResult.E_UNEXPECTED, 1]
        assert gate.release(stop.ticket) == S_OK
