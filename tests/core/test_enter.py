"""hdvlab_device_enter and _leave: device code outside a callback, as if in one."""

from __future__ import annotations

import threading

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .scaffold import PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code, happens, pairs


def _enter(device: CallbackDevice, cause: int = -1, wait_ms: int = 0) -> int:
    return code(lib.hdvlab_device_enter(device.handle, wait_ms, cause))


def _leave(device: CallbackDevice) -> int:
    return code(lib.hdvlab_device_leave(device.handle))


def test_a_thread_that_entered_keeps_the_guest_waiting(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    assert _enter(device) == S_OK
    answers: list[int] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE, wait_ms=1)[0]))
    assert answers == [HResult.ERROR_BUSY]
    assert _leave(device) == S_OK
    assert machine.read(PLACE)[0] == S_OK


@pytest.mark.fault(57)
def test_a_thread_that_entered_is_guarded_like_a_callback(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    since = len(recording)
    assert _enter(device, cause=5) == S_OK
    assert _enter(device) == HResult.ERROR_INVALID_STATE
    assert machine.read(PLACE) == (HResult.ERROR_INVALID_STATE, 0xFFFFFFFF)
    assert machine.teardown() == machine.stop() == HResult.ERROR_INVALID_STATE
    assert device.dma_write(0, b"x") == S_OK
    assert _leave(device) == S_OK
    assert device.dma_write(0, b"x") == S_OK
    assert device.names() == []
    assert pairs(recording.rows(since=since), "kind", "cause") == [
        (lib.HDVLAB_MMIO_READ, 5),
        (lib.HDVLAB_DMA_WRITE, 5),
        (lib.HDVLAB_DMA_WRITE, -1),
    ]


def test_only_the_thread_that_entered_may_leave_and_once(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    assert _leave(device) == HResult.ERROR_INVALID_STATE
    assert _enter(device) == S_OK
    answers: list[int] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(_leave(device)))
    assert answers == [HResult.ERROR_INVALID_STATE]
    assert _leave(device) == S_OK
    assert _leave(device) == HResult.ERROR_INVALID_STATE


def test_a_callback_cannot_leave_what_it_did_not_enter(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    seen: list[int] = []

    def write(*_: int) -> None:
        seen.append(_leave(device))
        with Threads() as threads:  # the device is still held by this callback
            threads.start(lambda: seen.append(machine.read(PLACE, wait_ms=1)[0]))

    device.write = write
    for _ in range(3):
        assert machine.write(PLACE, 1) == S_OK
    assert seen == [HResult.ERROR_INVALID_STATE, HResult.ERROR_BUSY] * 3
    assert _enter(device, wait_ms=1) == S_OK
    assert _leave(device) == S_OK


def test_leaving_another_device_inside_a_callback_gives_the_cause_back(machine: Machine, recording: Recording) -> None:
    first, second = CallbackDevice(), CallbackDevice()
    machine.running(first, second)

    def write(*_: int) -> None:
        assert _enter(second, cause=77) == S_OK
        second.interrupt()
        assert _leave(second) == S_OK
        first.interrupt()

    first.write = write
    since = len(recording)
    assert machine.write(PLACE, 1) == S_OK
    assert pairs(recording.rows(lib.HDVLAB_INTERRUPT), "device", "cause") == [(1, 77), (0, since)]


def test_a_device_that_does_not_run_is_not_entered(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    assert _enter(device) == HResult.ERROR_INVALID_STATE
    machine.add_slot(device)
    machine.start()
    machine.stop()
    assert _enter(device) == HResult.ERROR_INVALID_STATE
    machine.teardown()
    assert _enter(device) == HResult.E_HANDLE


def test_the_end_waits_for_the_thread_that_entered(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    entered, proceed = threading.Event(), threading.Event()
    left: list[int] = []

    def work() -> None:
        assert _enter(device) == S_OK
        entered.set()
        happens(proceed)
        left.append(device.dma_write(0, b"last"))
        assert _leave(device) == S_OK

    with Threads() as threads:
        threads.start(work)
        happens(entered)
        ending = threads.start(machine.teardown)
        ending.join(0.05)
        assert ending.is_alive()
        proceed.set()
    assert left == [S_OK]
    assert device.names() == ["stop", "teardown"]
