"""MMIO: how a guest's load or store meets a BAR, what it gets when it meets none, and the row that it leaves."""

from __future__ import annotations

import threading

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import (
    PLACE,
    S_OK,
    CallbackDevice,
    Failure,
    Machine,
    Recording,
    Threads,
    code,
    happens,
    ones,
    pairs,
)

NOBODY = HResult.ERROR_NOACCESS
READ, WRITE = lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE
KINDS = (READ, WRITE)


@pytest.mark.embedded_only("a callback does not say who accessed, and from where")
@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("offset", [0, 0x18, 0xFF8])
def test_an_aligned_access_is_one_call_and_one_row(
    machine: Machine, recording: Recording, size: int, offset: int
) -> None:
    device = machine.running(CallbackDevice())
    value = 0x8877665544332211 & ones(size)
    since = len(recording)
    assert machine.write(PLACE + offset, 0x8877665544332211, size, pc=9) == S_OK
    assert machine.read(PLACE + offset, size, origin=lib.HDVLAB_REPLAY) == (S_OK, value)
    assert device.calls == [("write", 0, offset, size, value), ("read", 0, offset, size)]
    write, read = recording.rows(since=since)
    names = ("kind", "origin", "device", "bar", "size", "address", "value", "status", "cause", "payload", "pc")
    assert pairs([write, read], *names) == [
        (WRITE, lib.HDVLAB_GUEST, 0, 0, size, offset, value, S_OK, -1, -1, 9),
        (READ, lib.HDVLAB_REPLAY, 0, 0, size, offset, value, S_OK, -1, -1, 0),
    ]
    assert write["dur_ns"] > 0


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("offset", "size", "pieces"),
    [
        (0x01, 2, [(0x01, 1), (0x02, 1)]),
        (0x02, 4, [(0x02, 2), (0x04, 2)]),
        (0x01, 4, [(0x01, 1), (0x02, 2), (0x04, 1)]),
        (0x03, 8, [(0x03, 1), (0x04, 4), (0x08, 2), (0x0A, 1)]),
        (0x04, 8, [(0x04, 4), (0x08, 4)]),
    ],
)
def test_an_unaligned_access_is_split_into_aligned_ones(
    machine: Machine, recording: Recording, offset: int, size: int, pieces: list[tuple[int, int]]
) -> None:
    device = machine.running(CallbackDevice())
    since = len(recording)
    assert machine.write(PLACE + offset, 0x8877665544332211, size) == S_OK
    assert [call[2:4] for call in device.calls] == pieces
    assert machine.read(PLACE + offset, size) == (S_OK, 0x8877665544332211 & ones(size))
    assert pairs(recording.rows(WRITE, since=since), "address", "size") == pieces


@pytest.mark.fault(16)
@pytest.mark.parametrize("bar", [1, 3, 5, 6, 7, 255, 0xFFFFFFFF])
def test_a_bar_that_is_not_implemented_answers_nothing(machine: Machine, recording: Recording, bar: int) -> None:
    device = machine.running(CallbackDevice((0xFFFFF000, 0, 0xFFFFF004, 0xFFFFFFFF)))
    assert machine.poke(device, False, bar, 0, 4) == (HResult.E_INVALIDARG, 0xFFFFFFFF)
    assert machine.poke(device, True, bar, 0, 4, 1)[0] == HResult.E_INVALIDARG
    assert device.calls == []
    assert pairs(recording.rows()[-2:], "bar", "status") == [(bar if bar < 6 else -1, HResult.E_INVALIDARG)] * 2


@pytest.mark.fault(12)
@pytest.mark.fault(13)
@pytest.mark.parametrize("offset", [0x1000, 0xFFD, 1 << 32, (1 << 64) - 4, (1 << 64) - 1])
def test_past_the_bus_an_offset_is_still_bounded(machine: Machine, offset: int) -> None:
    device = machine.running(CallbackDevice())
    assert machine.poke(device, False, 0, offset, 4) == (HResult.E_INVALIDARG, 0xFFFFFFFF)
    assert machine.poke(device, True, 0, offset, 4)[0] == HResult.E_INVALIDARG
    assert device.calls == []


def test_past_the_bus_a_device_answers_with_decoding_off(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice(), place=False)
    assert machine.poke(device, True, 0, 0xFFC, 4, 7, origin=lib.HDVLAB_USER) == (S_OK, 7)
    assert machine.poke(device, False, 0, 0xFFC, 4, origin=lib.HDVLAB_USER) == (S_OK, 7)
    assert pairs(recording.rows(*KINDS), "origin", "address") == [(lib.HDVLAB_USER, 0xFFC)] * 2


@pytest.mark.fault(19)
def test_before_start_and_after_stop_registers_read_ones(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    assert machine.poke(device, False, 0, 0, 4) == (HResult.E_INVALIDARG, 0xFFFFFFFF)  # nobody knows its BARs yet
    machine.add_slot(device)
    seen: list[tuple[int, int]] = []

    def start() -> None:
        with Threads() as threads:
            threads.start(lambda: seen.append(machine.poke(device, False, 0, 0, 4, wait_ms=1)))

    device.during["start"] = start
    machine.start()
    machine.stop()
    seen.append(machine.poke(device, False, 0, 0, 4))
    assert seen == [(HResult.ERROR_BUSY, 0xFFFFFFFF), (HResult.ERROR_INVALID_STATE, 0xFFFFFFFF)]
    assert machine.poke(device, True, 0, 0, 4)[0] == HResult.ERROR_INVALID_STATE
    assert "read" not in device.names()


@pytest.mark.parametrize("hresult", [HResult.E_FAIL, HResult.E_ABORT, HResult.E_PENDING, 0xDEADBEEF])
def test_a_failing_callback_reads_all_ones_and_its_hresult_stands_in_the_row(
    machine: Machine, recording: Recording, hresult: int
) -> None:
    device = machine.running(CallbackDevice())

    def fail(*_: int) -> int:
        raise Failure(hresult)

    device.read = device.write = fail  # type: ignore[assignment]
    expected = HResult.E_UNEXPECTED if hresult == HResult.E_PENDING else hresult
    since = len(recording)
    assert machine.read(PLACE, 2) == (expected, 0xFFFF)
    assert machine.write(PLACE, 0x1234, 2) == expected
    assert pairs(recording.rows(since=since), "value", "status") == [(0xFFFF, expected), (0x1234, expected)]


def test_a_success_that_is_not_s_ok_is_a_success(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())

    def s_false(*_: int) -> None:
        raise Failure(1)

    device.write = s_false
    assert machine.write(PLACE, 1) == 1
    assert recording.rows(WRITE)[-1]["status"] == 1


def test_the_row_is_there_and_pending_while_the_callback_runs(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    during: list[dict[str, int]] = []

    def write(bar: int, offset: int, size: int, value: int) -> None:
        during.extend(recording.rows(since=since))

    device.write = write
    since = len(recording)
    machine.write(PLACE + 8, 0x55)
    names = ("kind", "address", "value", "status", "dur_ns")
    assert pairs(during, *names) == [(WRITE, 8, 0x55, HResult.E_PENDING, 0)]
    assert recording.rows(since=since)[0]["status"] == S_OK


def test_what_a_callback_does_is_caused_by_the_access_that_it_serves(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())

    def write(bar: int, offset: int, size: int, value: int) -> None:
        device.dma_write(0x100, b"result")
        device.interrupt()

    device.write = write
    since = len(recording)
    machine.write(PLACE, 1)
    device.interrupt()
    rows = recording.rows(since=since)
    assert pairs(rows, "kind", "cause") == [
        (WRITE, -1),
        (lib.HDVLAB_DMA_WRITE, since),
        (lib.HDVLAB_INTERRUPT, since),
        (lib.HDVLAB_INTERRUPT, -1),
    ]
    assert lib.hdvlab_cause() == -1


def test_a_cause_goes_along_to_another_thread_and_through_another_device(
    machine: Machine, recording: Recording
) -> None:
    first, second = CallbackDevice(), CallbackDevice()
    machine.running(first, second)
    second.write = lambda *_: second.interrupt() and None

    def elsewhere(cause: int) -> None:
        lib.hdvlab_set_cause(cause)
        first.dma_write(0, b"x")

    def write(*_: int) -> None:
        machine.write(PLACE + 0x100_0000, 1)
        with Threads() as threads:
            threads.start(elsewhere, lib.hdvlab_cause())
        first.interrupt()

    first.write = write
    since = len(recording)
    machine.write(PLACE, 1)
    assert pairs(recording.rows(since=since), "kind", "device", "cause") == [
        (WRITE, 0, -1),
        (WRITE, 1, since),
        (lib.HDVLAB_INTERRUPT, 1, since + 1),
        (lib.HDVLAB_DMA_WRITE, 0, since),
        (lib.HDVLAB_INTERRUPT, 0, since),
    ]


@pytest.mark.embedded_only("the machine's library refuses it before it calls")
@pytest.mark.fault(24)
@pytest.mark.fault(57)
@pytest.mark.parametrize("way", ["bus", "config", "past the bus"])
def test_a_device_that_reaches_itself_gets_ones_and_a_row(machine: Machine, recording: Recording, way: str) -> None:
    device = machine.running(CallbackDevice())
    ways = {
        "bus": lambda: machine.read(PLACE),
        "config": lambda: machine.config_read(0, 0x40),
        "past the bus": lambda: machine.poke(device, False, 0, 0, 4),
    }
    seen: list[tuple[int, int]] = []
    device.write = lambda *_: seen.append(ways[way]())
    since = len(recording)
    assert machine.write(PLACE, 1) == S_OK
    assert seen == [(HResult.ERROR_INVALID_STATE, 0xFFFFFFFF)]
    assert device.names() == ["write"]
    assert pairs(recording.rows(since=since), "cause", "status") == [(-1, S_OK), (since, HResult.ERROR_INVALID_STATE)]


@pytest.mark.fault(44)
def test_two_threads_are_served_one_after_the_other(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    inside: list[int] = []
    most: list[int] = []

    def write(bar: int, offset: int, size: int, value: int) -> None:
        inside.append(value)
        most.append(len(inside))
        for _ in range(50):  # switches of thread that a missing lock would show
            threading.Event().is_set()
        inside.remove(value)

    device.write = write

    def guest(number: int) -> None:
        for _ in range(100):
            assert machine.write(PLACE, number) == S_OK
            assert machine.config_write(0, 0x40, 4, number) == S_OK

    device.config_write = lambda offset, value: write(0, offset, 4, value)
    with Threads() as threads:
        for number in range(4):
            threads.start(guest, number)
    assert max(most) == 1
    assert len(most) == 800


def test_two_devices_are_served_at_once(machine: Machine) -> None:
    first, second = CallbackDevice(), CallbackDevice()
    machine.running(first, second)
    met = threading.Barrier(2, timeout=20)
    first.write = second.write = lambda *_: met.wait() and None
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
        threads.start(machine.write, PLACE + 0x100_0000, 1)


def test_a_wait_that_is_too_long_ends_without_a_row(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    inside, proceed = threading.Event(), threading.Event()

    def write(*_: int) -> None:
        inside.set()
        happens(proceed)

    device.write = write
    value = ffi.new("uint64_t *")
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
        happens(inside)
        since = len(recording)
        assert machine.read(PLACE, wait_ms=1) == (HResult.ERROR_BUSY, 0xFFFFFFFF)
        assert machine.write(PLACE, 1, wait_ms=1) == HResult.ERROR_BUSY
        assert code(machine.library.hdvlab_guest_load(machine.system, PLACE, 4, 0, 0, value)) == HResult.ERROR_BUSY
        assert code(machine.library.hdvlab_guest_store(machine.system, PLACE, 4, 0, 0, 1)) == HResult.ERROR_BUSY
        assert code(lib.hdvlab_device_enter(device.handle, 1, -1)) == HResult.ERROR_BUSY
        assert len(recording) == since
        proceed.set()
    assert device.names() == ["write"]


def test_a_device_that_hears_nothing_of_time_is_waited_for(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    inside, proceed = threading.Event(), threading.Event()

    def write(*_: int) -> None:
        inside.set()
        happens(proceed)

    device.write = write
    device.read = lambda *_: 0x77
    answers: list[tuple[int, int]] = []
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
        happens(inside)
        threads.start(lambda: answers.append(machine.read(PLACE, wait_ms=20_000)))
        threads.start(lambda: answers.append(machine.read(PLACE)))
        proceed.set()
    assert answers == [(S_OK, 0x77)] * 2


@pytest.mark.embedded_only("a callback does not say who accessed, and from where")
def test_short_ways_to_load_and_store_do_the_same(machine: Machine, recording: Recording) -> None:
    machine.running(CallbackDevice())
    value = ffi.new("uint64_t *")
    since = len(recording)
    assert code(machine.library.hdvlab_guest_store(machine.system, PLACE, 2, 1, 11, 0x123456)) == S_OK
    assert code(machine.library.hdvlab_guest_load(machine.system, PLACE, 2, 3, 12, value)) == S_OK
    assert value[0] == 0x3456
    assert pairs(recording.rows(since=since), "kind", "origin", "pc", "value") == [
        (WRITE, 1, 11, 0x3456),
        (READ, 3, 12, 0x3456),
    ]
