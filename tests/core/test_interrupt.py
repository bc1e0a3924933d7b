"""Message-signalled interrupts at the machine: the window, the vectors, and guests that wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.fault(31)
def test_only_a_running_device_that_is_bus_master_interrupts(machine: Machine, recording: Recording) -> None:
    device = machine.create(CallbackDevice())
    seen = [device.interrupt()]
    for step in ("initialize", "start", "stop", "teardown"):
        device.during[step] = lambda: seen.append(device.interrupt())
    machine.add_slot(device)
    machine.start()
    seen.append(device.interrupt())
    machine.place(device)
    assert device.interrupt() == S_OK
    machine.stop()
    seen.append(device.interrupt())
    invalid = HResult.ERROR_INVALID_STATE
    assert seen == [invalid, invalid, invalid, HResult.E_ACCESSDENIED, invalid, invalid, invalid]
    machine.teardown()
    assert device.interrupt() == HResult.E_HANDLE
    assert pairs(recording.rows(lib.HDVLAB_INTERRUPT), "status").count((S_OK,)) == 1
    assert machine.wait_interrupt() == (S_OK, 0)


# ---- events --------------------------------------------------------------------------------------------------------


def _bind(machine: Machine, start: int, fds: list[int | None] | None, count: int | None = None) -> int:
    """None = NULL."""
    events = ffi.NULL if fds is None else ffi.new("void *[]", [ffi.cast("void *", fd or 0) for fd in fds])
    return code(
        lib.hdvlab_guest_bind_interrupts(machine.system, start, len(fds or ()) if count is None else count, events)
    )


def _taken(fd: int) -> int:
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


@pytest.fixture
def events() -> Iterator[list[int]]:
    events = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(3)]
    yield events
    for event in events:
        os.close(event)


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
def test_a_vector_that_arrives_signals_its_event_and_is_counted_as_before(machine: Machine, events: list[int]) -> None:
    device = machine.running(CallbackDevice())
    assert _bind(machine, 0x40, events[:2]) == S_OK
    for vector in (0x40, 0x41, 0x41, 0x42, 0x3F):
        assert device.interrupt(data=vector) == S_OK
    assert [_taken(event) for event in events] == [1, 2, 0]
    assert machine.wait_interrupt(0x41) == (S_OK, 1)
    assert device.interrupt(WINDOW + 2, 0x40) == HResult.ERROR_NOACCESS
    assert _taken(events[0]) == 0


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
def test_an_event_may_stand_for_several_vectors_and_be_closed_by_its_owner(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    kept = os.dup(event)
    assert _bind(machine, 0xFE, [event, event]) == S_OK
    os.close(event)
    device.interrupt(data=0xFE)
    device.interrupt(data=0xFF)
    assert _taken(kept) == 2
    os.close(kept)


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("start", "count"),
    [(0, 0), (0x40, 0), (256, 0), (256, 1), (255, 2), (0, 257), (1, 0xFFFFFFFF), (0xFFFFFFFF, 1), (0xFFFFFFFF, 2)],
)
def test_vectors_that_there_are_not_are_refused(machine: Machine, events: list[int], start: int, count: int) -> None:
    device = machine.running(CallbackDevice())
    assert _bind(machine, 0x40, events[:1]) == S_OK
    assert _bind(machine, start, [events[1]] * 300, count) == HResult.E_INVALIDARG
    assert _bind(machine, start, None, count) == HResult.E_INVALIDARG
    device.interrupt()
    assert [_taken(event) for event in events] == [1, 0, 0]


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
@pytest.mark.fault(34)
def test_events_are_bound_all_or_none(machine: Machine, events: list[int], tmp_path: Path) -> None:
    device = machine.running(CallbackDevice())
    assert _bind(machine, 0x40, events[:1]) == S_OK
    reading, writing = os.pipe()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    before = len(os.listdir("/proc/self/fd"))
    for wrong in (1 << 20, reading, writing, file):
        assert _bind(machine, 0x40, [events[1], events[2], wrong]) == HResult.E_HANDLE
    assert len(os.listdir("/proc/self/fd")) == before
    for vector in (0x40, 0x41, 0x42):
        device.interrupt(data=vector)
    assert [_taken(event) for event in events] == [1, 0, 0]
    assert os.fstat(file).st_size == 0
    for fd in (reading, writing, file):
        os.close(fd)


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
@pytest.mark.fault(34)
@pytest.mark.parametrize("form", ["NULL", "entries of NULL", "entries of -1"])
def test_a_vector_is_unbound_and_its_copy_closed(machine: Machine, events: list[int], form: str) -> None:
    device = machine.running(CallbackDevice())
    before = len(os.listdir("/proc/self/fd"))
    assert _bind(machine, 0x40, [events[0], events[1], events[2]]) == S_OK
    assert len(os.listdir("/proc/self/fd")) == before + 3
    unbound = (
        _bind(machine, 0x40, None, 2) if form == "NULL" else _bind(machine, 0x40, [None if "N" in form else -1] * 2)
    )
    assert unbound == S_OK
    assert len(os.listdir("/proc/self/fd")) == before + 1
    for vector in (0x40, 0x41, 0x42):
        assert device.interrupt(data=vector) == S_OK
    assert [_taken(event) for event in events] == [0, 0, 1]
    assert _bind(machine, 0, None, 256) == S_OK
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
@pytest.mark.fault(34)
def test_an_event_that_is_replaced_while_it_rings_loses_nothing_and_is_closed_once(
    machine: Machine, events: list[int]
) -> None:
    device = machine.running(CallbackDevice())
    deliver, handle, count = lib.HdvDeliverGuestInterrupt, device.handle, 20_000
    assert _bind(machine, 0x40, events[:1]) == S_OK

    def storm() -> None:
        for _ in range(count):
            deliver(handle, WINDOW, 0x40)

    before = len(os.listdir("/proc/self/fd"))
    with Threads() as threads:
        thread = threads.start(storm)
        turn = 0
        while thread.is_alive():
            turn += 1
            assert _bind(machine, 0x40, [events[turn % 3]]) == S_OK
            # Nothing signals the one before any more: the numbers of closed copies may be another's by now.
            innocent = os.open("/dev/null", os.O_RDONLY)
            assert os.read(innocent, 1) == b""
            os.close(innocent)
    assert len(os.listdir("/proc/self/fd")) == before
    assert sum(_taken(event) for event in events) == count
    assert machine.wait_interrupt(0x40) == (S_OK, count - 1)


@pytest.mark.embedded_only("vectors are the machine's, which is another here")
@pytest.mark.fault(35)
@pytest.mark.parametrize("flags", [0, os.EFD_NONBLOCK])
def test_a_full_event_keeps_no_device_waiting(machine: Machine, flags: int) -> None:
    device = machine.running(CallbackDevice())
    event = os.eventfd(0, os.EFD_CLOEXEC | flags)
    os.eventfd_write(event, (1 << 64) - 2)
    assert _bind(machine, 0x40, [event]) == S_OK
    with Threads() as threads:
        threads.start(device.interrupt)
    assert machine.wait_interrupt(0x40) == (S_OK, 0)
    assert os.eventfd_read(event) == (1 << 64) - 2
    os.close(event)


def test_bound_events_end_with_the_machine(recording: Recording, events: list[int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    machine = Machine(recording)
    machine.running(CallbackDevice())
    assert _bind(machine, 0, [events[0]] * 256) == S_OK
    machine.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_waiting_needs_a_place_for_the_answer(machine: Machine) -> None:
    assert code(machine.library.hdvlab_guest_wait_interrupt(machine.system, 0, 0, ffi.NULL)) == HResult.E_POINTER
