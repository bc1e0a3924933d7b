"""The gate of a compute system: paused, terminated and closed while accesses are held."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab._core import ffi, lib

from .compute_scaffold import Operation, System, running
from .gate_scaffold import Gate
from .scaffold import S_OK, CallbackDevice, Threads, code

S_FALSE = 1


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_terminate_lets_go_of_what_is_held(where: str) -> None:
    device = CallbackDevice()
    device.read = lambda *_: device.dma_read(0x1000, 4)[0]
    answers: list[Any] = []
    with running(device) as system:
        address, gate = system.place()[0], Gate(system.handle)
        gate.add(lib.HDVLAB_MMIO_READ if where == "outside" else lib.HDVLAB_DMA_READ)
        with Threads() as threads:
            threads.start(lambda: answers.append(system.read(address)))
            gate.one()
            assert system.do("terminate") == (S_OK, None)
    assert answers == [(S_FALSE, 0xFFFFFFFF) if where == "outside" else (S_OK, S_FALSE)]
    assert device.names()[-2:] == ["stop", "teardown"]


def test_terminate_ends_a_start_that_is_held() -> None:
    device = CallbackDevice()
    with System.with_devices(device) as system, Operation() as start:
        gate = Gate(system.handle)
        gate.add(lib.HDVLAB_START)
        assert code(lib.HcsStartComputeSystem(system.handle, start.handle, ffi.NULL)) == S_OK
        gate.one()
        assert system.do("terminate") == (S_OK, None)
        assert start.wait()[0] == S_OK
    assert device.names()[-1] == "teardown"


def test_an_access_that_is_let_go_into_a_pause_waits_for_its_end() -> None:
    device = CallbackDevice()
    answers: list[Any] = []
    with running(device) as system:
        address, gate = system.place()[0], Gate(system.handle)
        device.calls.clear()
        gate.add(lib.HDVLAB_MMIO_READ)
        with Threads() as threads:
            reader = threads.start(lambda: answers.append(system.read(address)))
            stop = gate.one()
            assert system.do("pause") == (S_OK, None)  # who is held is in no callback
            assert gate.release(stop.ticket) == S_OK
            reader.join(0.05)
            assert reader.is_alive()
            assert device.calls == []
            assert system.do("resume") == (S_OK, None)
        assert answers == [(S_OK, 0)]
