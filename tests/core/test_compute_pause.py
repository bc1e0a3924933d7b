"""A paused compute system: guest accesses to devices wait."""

from __future__ import annotations

import os
import threading

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .compute_scaffold import Operation, System, running
from .scaffold import S_OK, CallbackDevice, Recording, Threads, code, happens


def test_a_paused_guest_waits_at_devices_until_it_is_resumed(recording: Recording) -> None:
    device = CallbackDevice()
    answers: list[tuple[int, int]] = []
    with System.with_devices(device) as system:
        assert code(lib.hdvlab_system_record(system.handle, recording.handle)) == S_OK
        assert system.do("start") == (S_OK, None)
        address = system.place()[0]
        device.memory[0, 0] = 7
        assert system.do("pause") == (S_OK, None)
        with Threads() as threads:
            reader = threads.start(lambda: answers.append(system.read(address)))
            reader.join(0.05)
            assert reader.is_alive()
            assert system.read(address, wait_ms=1)[0] == HResult.ERROR_BUSY  # and no row
            assert system.read(address, origin=lib.HDVLAB_USER) == (S_OK, 7)  # a person may look
            assert device.names().count("read") == 1
            assert system.do("resume") == (S_OK, None)
        assert answers == [(S_OK, 7)]
        kinds = (lib.HDVLAB_PAUSE, lib.HDVLAB_RESUME, lib.HDVLAB_MMIO_READ)
        rows = recording.rows(*kinds)
        assert [row["kind"] for row in rows] == [lib.HDVLAB_PAUSE, lib.HDVLAB_MMIO_READ, *kinds[1:]]
        assert "stop" not in device.names()  # nor a second start
        assert device.names().count("start") == 1


def test_a_pause_waits_for_the_access_that_runs_and_for_what_that_access_does() -> None:
    inside, proceed = threading.Event(), threading.Event()
    outer, inner = CallbackDevice(), CallbackDevice()
    order: list[str] = []
    with running(outer, inner) as system, Operation() as operation:
        first, second = system.place(0)[0], system.place(1)[0]

        def read(*_: int) -> int:
            inside.set()
            happens(proceed)
            order.append(str(system.read(second)))
            return 1

        outer.read = read
        inner.memory[0, 0] = 9
        with Threads() as threads:
            threads.start(system.read, first)
            happens(inside)
            assert code(lib.HcsPauseComputeSystem(system.handle, operation.handle, ffi.NULL)) == S_OK
            assert operation.wait(50)[0] == HResult.HCS_E_OPERATION_TIMEOUT
            proceed.set()
            assert operation.wait() == (S_OK, None)
            order.append("paused")
        assert order == [str((S_OK, 9)), "paused"]
        assert system.do("resume") == (S_OK, None)


@pytest.mark.parametrize("what", ["callback", "doorbell", "section", "config"])
def test_termination_lets_a_paused_guest_go_with_nothing_done(what: str) -> None:
    device = CallbackDevice()
    event, memory = os.eventfd(0, os.EFD_NONBLOCK), os.memfd_create("section", os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, 4096)
    answers: list[tuple[int, int]] = []
    with running(device) as system:
        address = system.place()[0]
        if what == "doorbell":
            assert device.ring(event, 0, 0, 0, 1 << 31) == S_OK
        if what == "section":
            assert device.section(memory) == S_OK
        device.calls.clear()

        def access() -> None:
            value = ffi.new("uint32_t *")
            guest = ffi.new("HDVLAB_ACCESS *")
            if what == "doorbell":
                answers.append((system.write(address, 1), 0xFFFFFFFF))
            elif what == "config":
                hresult = code(lib.hdvlab_guest_config_read(system.handle, guest, 0, 0x40, 4, value))
                answers.append((hresult, value[0]))
            else:
                answers.append(system.read(address))

        assert system.do("pause") == (S_OK, None)
        with Threads() as threads:
            waiting = threads.start(access)
            waiting.join(0.05)
            assert waiting.is_alive()
            assert system.do("terminate") == (S_OK, None)
        assert answers == [(HResult.ERROR_INVALID_STATE, 0xFFFFFFFF)]
        assert device.names() == ["stop", "teardown"]
        with pytest.raises(BlockingIOError):
            os.eventfd_read(event)
    os.close(event)
    os.close(memory)
