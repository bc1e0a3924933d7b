"""Message-signalled interrupts at the machine: the window, the vectors, and guests that wait."""

from __future__ import annotations

import threading
import time

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import S_OK, CallbackDevice, Machine, Recording, Threads, code, pairs

WINDOW, END = 0xFEE0_0000, 0xFEF0_0000
TIMEOUT = HResult.ERROR_TIMEOUT
LONG = 20_000_000_000


def test_an_interrupt_is_a_row_and_wakes_its_vector_once(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    since = len(recording)
    assert device.interrupt(WINDOW + 0x1000, 0x4041) == S_OK
    names = ("kind", "origin", "device", "size", "address", "value", "status")
    assert pairs(recording.rows(since=since), *names) == [
        (lib.HDVLAB_INTERRUPT, lib.HDVLAB_DEVICE, 0, 4, WINDOW + 0x1000, 0x4041, S_OK)
    ]
    assert machine.wait_interrupt(0x40)[0] == TIMEOUT
    assert machine.wait_interrupt(0x41) == (S_OK, 0)
    assert machine.wait_interrupt(0x41)[0] == TIMEOUT


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (WINDOW, S_OK),
        (END - 4, S_OK),
        (WINDOW + 2, HResult.ERROR_NOACCESS),
        (WINDOW - 4, HResult.ERROR_NOACCESS),
        (END, HResult.ERROR_NOACCESS),
        (0x1000, HResult.ERROR_NOACCESS),
        (WINDOW | 1 << 32, HResult.ERROR_NOACCESS),
        ((1 << 64) - 4, HResult.ERROR_NOACCESS),
        ((1 << 64) - 1, HResult.ERROR_ARITHMETIC_OVERFLOW),
    ],
)
def test_a_message_outside_the_window_is_no_interrupt_and_no_write_to_ram(
    machine: Machine, recording: Recording, address: int, expected: int
) -> None:
    device = machine.running(CallbackDevice())
    assert device.interrupt(address, 0x41414140) == expected
    assert recording.rows(lib.HDVLAB_INTERRUPT)[-1]["status"] == expected
    assert machine.wait_interrupt()[0] == (S_OK if expected == S_OK else TIMEOUT)
    assert machine.ram_read(0x1000, 4) == (S_OK, bytes(4))


@pytest.mark.fault(33)
def test_interrupts_that_nobody_takes_are_counted(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    for _ in range(1000):
        device.interrupt()
    assert [machine.wait_interrupt()[1] for _ in range(3)] == [999, 998, 997]


@pytest.mark.parametrize("timeout", [0, -1, -(1 << 63), 1_000_000])
def test_a_wait_ends_at_its_time(machine: Machine, timeout: int) -> None:
    machine.running(CallbackDevice())
    began = time.monotonic_ns()
    assert machine.wait_interrupt(0x40, timeout)[0] == TIMEOUT
    assert time.monotonic_ns() - began >= max(timeout, 0)


@pytest.mark.parametrize("timeout", [LONG, (1 << 63) - 1])
def test_a_waiter_is_woken_by_the_interrupt(machine: Machine, timeout: int) -> None:
    device = machine.running(CallbackDevice())
    answers: list[tuple[int, int]] = []
    with Threads() as threads:
        for _ in range(3):
            threads.start(lambda: answers.append(machine.wait_interrupt(0x40, timeout)))
        device.interrupt(data=0x41)
        for _ in range(3):
            device.interrupt()
    assert [hresult for hresult, _ in answers] == [S_OK] * 3
    assert machine.wait_interrupt()[0] == TIMEOUT


def _until(ends: threading.Event, again: object) -> None:
    while not ends.wait(0.001):
        again()  # type: ignore[operator]


@pytest.mark.parametrize("timeout", [LONG, (1 << 63) - 1])
def test_a_waiter_is_cancelled(machine: Machine, timeout: int) -> None:
    machine.running(CallbackDevice())
    ended = threading.Event()
    answers: list[int] = []

    def wait() -> None:
        answers.append(machine.wait_interrupt(0x40, timeout)[0])
        ended.set()

    with Threads() as threads:
        threads.start(wait)
        _until(ended, lambda: code(machine.library.hdvlab_guest_cancel(machine.system)))
    assert answers == [HResult.E_ABORT]


@pytest.mark.parametrize("end", ["stop", "close", "failing start"])
def test_a_waiter_ends_with_the_machine_however_early_it_waits(machine: Machine, end: str) -> None:
    device = machine.create(CallbackDevice())
    answers: list[int] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        answers.append(machine.wait_interrupt(0x40, LONG)[0])

    with Threads() as threads:

        def wait_while_it_ends() -> None:
            threads.start(wait)
            assert waiting.wait(20)

        if end == "failing start":
            device.instance_id = CallbackDevice.new_instance_id()  # a slot that nobody has a device for
            machine.add_slot(device)
            wait_while_it_ends()
            assert machine.start() == HResult.E_UNEXPECTED
        else:
            device.during["stop"] = wait_while_it_ends  # after waiters were cancelled
            machine.add_slot(device)
            machine.start()
            assert (machine.stop() if end == "stop" else machine.close_system()) == S_OK
    assert answers in ([HResult.E_ABORT], [HResult.E_HANDLE])


def test_a_machine_that_never_started_lets_its_waiters_go(machine: Machine) -> None:
    ended = threading.Event()
    answers: list[int] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        answers.append(machine.wait_interrupt(0x40, LONG)[0])
        ended.set()

    with Threads() as threads:
        threads.start(wait)
        assert waiting.wait(20)
        assert machine.close_system() == S_OK
    assert answers in ([HResult.E_ABORT], [HResult.E_HANDLE])


def test_after_the_end_a_wait_ends_at_once_but_what_came_can_be_taken(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    device.interrupt()
    machine.stop()
    assert machine.wait_interrupt(0x40, LONG) == (S_OK, 0)
    assert machine.wait_interrupt(0x40, LONG)[0] == HResult.E_ABORT


@pytest.mark.fault(33)
def test_a_storm_from_several_threads_loses_no_interrupt(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    deliver, handle, count = lib.HdvDeliverGuestInterrupt, device.handle, 20_000

    def storm(vector: int) -> None:
        for _ in range(count):
            deliver(handle, WINDOW, vector)

    with Threads() as threads:
        for vector in (0x50, 0x50, 0x51):
            threads.start(storm, vector)
    assert machine.wait_interrupt(0x50) == (S_OK, 2 * count - 1)
    assert machine.wait_interrupt(0x51) == (S_OK, count - 1)
    assert int((recording.column("kind") == lib.HDVLAB_INTERRUPT).sum()) == 3 * count


def test_waiting_needs_a_place_for_the_answer(machine: Machine) -> None:
    assert code(machine.library.hdvlab_guest_wait_interrupt(machine.system, 0, 0, ffi.NULL)) == HResult.E_POINTER
