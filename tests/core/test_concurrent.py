"""Devices that opted out of one callback at a time: hdvlab_device_set_concurrent."""

from __future__ import annotations

import threading

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .scaffold import DEADLINE, PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code, happens

INVALID, BUSY = HResult.ERROR_INVALID_STATE, HResult.ERROR_BUSY


def _concurrent(device: CallbackDevice, on: bool = True) -> int:
    return code(lib.hdvlab_device_set_concurrent(device.handle, on))


def _running(machine: Machine, device: CallbackDevice) -> CallbackDevice:
    machine.create(device)
    assert _concurrent(device) == S_OK
    assert machine.add_slot(device) == machine.start() == S_OK
    machine.place(device)
    device.calls.clear()
    return device


class Held:
    """A read callback that the first guest stays in until ``proceed``."""

    def __init__(self, machine: Machine, device: CallbackDevice, threads: Threads) -> None:
        self.entered, self.proceed = threading.Event(), threading.Event()
        self.answers: list[tuple[int, int]] = []

        def read(bar: int, offset: int, size: int) -> int:
            if offset == 0:
                self.entered.set()
                happens(self.proceed)
            return 7

        device.read = read
        threads.start(lambda: self.answers.append(machine.read(PLACE)))
        happens(self.entered)


@pytest.mark.fault(44)
def test_two_guests_are_inside_a_concurrent_device_at_once(machine: Machine, recording: Recording) -> None:
    device = _running(machine, CallbackDevice())
    together = threading.Barrier(4)

    def meet(*_: int) -> int:
        together.wait(DEADLINE)
        return 3

    device.read = device.config_read = meet  # type: ignore[assignment]
    device.write = device.config_write = meet  # type: ignore[assignment]
    since = len(recording)
    with Threads() as threads:
        threads.start(machine.read, PLACE)
        threads.start(machine.write, PLACE + 4, 1)
        threads.start(machine.config_read, 0, 0x40)
        threads.start(machine.config_write, 0, 0x44, 4, 5)
    assert sorted(device.names()) == ["config_read", "config_write", "read", "write"]
    assert {row["status"] for row in recording.rows(since=since)} == {S_OK}
    assert {row["cause"] for row in recording.rows(since=since)} == {-1}


@pytest.mark.fault(44)
def test_two_guests_take_turns_in_any_other_device(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    assert _concurrent(device) == _concurrent(device, False) == S_OK
    assert machine.add_slot(device) == machine.start() == S_OK
    machine.place(device)
    with Threads() as threads:
        held = Held(machine, device, threads)
        assert machine.read(PLACE + 4, wait_ms=1)[0] == BUSY
        held.proceed.set()
    assert held.answers == [(S_OK, 7)]


def test_parts_of_a_dword_of_config_space_are_written_one_after_the_other(machine: Machine) -> None:
    device = _running(machine, CallbackDevice())
    with Threads() as threads:
        held = Held(machine, device, threads)
        assert machine.config_write(0, 0x40, 1, 1, wait_ms=1) == BUSY
        assert machine.config_write(0, 0x40, 4, 1, wait_ms=1) == S_OK
        held.proceed.set()
    assert machine.config_write(0, 0x40, 1, 1, wait_ms=1) == S_OK


@pytest.mark.parametrize("end", ["stop", "teardown"])
def test_the_end_has_a_concurrent_device_alone(machine: Machine, end: str) -> None:
    device = _running(machine, CallbackDevice())
    with Threads() as threads:
        held = Held(machine, device, threads)
        ending = threads.start(machine.stop if end == "stop" else machine.teardown)
        ending.join(0.05)
        assert ending.is_alive()
        assert "stop" not in device.names()
        assert machine.read(PLACE + 4, wait_ms=1)[0] in (BUSY, HResult.ERROR_NOACCESS)  # who waits to be alone is next
        held.proceed.set()
    assert held.answers == [(S_OK, 7)]
    assert device.names()[-2:] == ["stop", "teardown"]


def test_who_enters_waits_for_all_and_keeps_all_out(machine: Machine) -> None:
    device = _running(machine, CallbackDevice())
    enter, leave = lib.hdvlab_device_enter, lib.hdvlab_device_leave
    with Threads() as threads:
        held = Held(machine, device, threads)
        assert code(enter(device.handle, 1, -1)) == BUSY
        assert code(lib.hdvlab_device_wait_idle(device.handle, 1)) == BUSY
        assert machine.read(PLACE + 4, wait_ms=1)[0] == S_OK  # having given up, it keeps nobody out
        entered, go = threading.Event(), threading.Event()

        def work() -> None:
            assert code(enter(device.handle, 0, -1)) == S_OK
            entered.set()
            happens(go)
            assert code(leave(device.handle)) == S_OK

        threads.start(work)
        assert not entered.wait(0.05)
        held.proceed.set()
        happens(entered)
        assert machine.read(PLACE + 4, wait_ms=1)[0] == BUSY
        go.set()
    assert machine.read(PLACE + 4, wait_ms=1)[0] == S_OK


@pytest.mark.fault(57)
def test_no_thread_comes_into_a_concurrent_device_twice(machine: Machine, recording: Recording) -> None:
    first, second = CallbackDevice(), CallbackDevice()
    for slot, device in enumerate((first, second)):
        machine.create(device)
        assert _concurrent(device) == machine.add_slot(device, slot) == S_OK
    assert machine.start() == S_OK
    for slot, device in enumerate((first, second)):
        machine.place(device, slot, PLACE + 0x100_0000 * slot)
    seen: list[object] = []

    def again(*_: int) -> int:
        seen.append(machine.read(PLACE))
        seen.append(machine.config_read(0, 0x40))
        seen.append(code(lib.hdvlab_device_enter(first.handle, 1, -1)))
        seen.append(code(lib.hdvlab_device_inside(first.handle)))
        seen.append(code(lib.hdvlab_device_leave(first.handle)))
        return 0

    first.read = lambda *_: machine.read(PLACE + 0x100_0000)[1]
    second.read = again  # the way back to the first is closed also by way of another device
    assert machine.read(PLACE) == (S_OK, 0)
    assert seen == [(INVALID, 0xFFFFFFFF), (INVALID, 0xFFFFFFFF), INVALID, S_OK, INVALID]
    seen.clear()
    assert code(lib.hdvlab_device_enter(first.handle, 0, -1)) == S_OK
    assert machine.read(PLACE) == (INVALID, 0xFFFFFFFF)  # nor into one that it has alone
    assert code(lib.hdvlab_device_leave(first.handle)) == S_OK
    assert machine.read(PLACE)[0] == S_OK


def test_concurrency_is_settled_before_the_device_has_power(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    seen: list[int] = []
    device.during["initialize"] = lambda: seen.append(_concurrent(device))
    assert _concurrent(device) == S_OK
    machine.add_slot(device)
    machine.start()
    seen.append(_concurrent(device, False))
    machine.stop()
    seen.append(_concurrent(device, False))
    assert seen == [INVALID] * 3


@pytest.mark.fault(44)
def test_many_guests_and_one_that_wants_to_be_alone_lose_nothing(machine: Machine) -> None:
    device = _running(machine, CallbackDevice())
    inside, alone = 0, False
    guard = threading.Lock()

    def read(*_: int) -> int:
        nonlocal inside
        with guard:
            assert not alone
            inside += 1
        with guard:
            inside -= 1
        return 0

    device.read = read
    count = 300

    def guest() -> None:
        for _ in range(count):
            assert machine.read(PLACE)[0] == S_OK

    with Threads() as threads:
        guests = [threads.start(guest) for _ in range(3)]
        while any(thread.is_alive() for thread in guests):
            assert code(lib.hdvlab_device_enter(device.handle, 0, -1)) == S_OK
            alone = True
            assert inside == 0
            alone = False
            assert code(lib.hdvlab_device_leave(device.handle)) == S_OK
    assert device.names().count("read") == 3 * count
