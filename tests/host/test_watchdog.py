"""Handlers that hang: told of with their stack, ended where that can be."""

from __future__ import annotations

import threading
import time

import pytest

from hdvlab.device import Fault
from hdvlab.host.watchdog import HandlerStopped, Watchdog

PATIENCE = 30.0


class Devices:
    """One thread that stands for a server's, in a handler."""

    def __init__(self, handler: object) -> None:
        self.faults: list[Fault] = []
        self.error: BaseException | None = None
        self.inside = threading.Event()
        self.ended = threading.Event()
        self._handler = handler
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        assert self.inside.wait(PATIENCE)

    def _serve(self) -> None:
        try:
            self._handler(self)  # type: ignore[operator]
        except BaseException as error:
            self.error = error
        self.ended.set()

    def hung(self) -> dict[str, int]:
        return {} if self.ended.is_set() or self.thread.ident is None else {"dev": self.thread.ident}

    def report(self, name: str, fault: Fault) -> None:
        self.faults.append(fault)


def watched_until_end(devices: Devices, faults: int = 0) -> None:
    dog = Watchdog(devices, look=0.01, grace=0.1)
    dog.start()
    deadline = time.monotonic() + PATIENCE
    while not (len(devices.faults) >= faults if faults else devices.ended.is_set()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    dog.stop()


@pytest.mark.fault(52)
def test_an_endless_loop_is_told_with_its_line_and_ended() -> None:
    def spins(devices: Devices) -> None:
        devices.inside.set()
        while True:
            pass

    devices = Devices(spins)
    watched_until_end(devices)
    assert isinstance(devices.error, HandlerStopped)
    assert "did not return in time" in str(devices.error)
    (fault,) = devices.faults
    assert fault.operation == "hung handler"
    assert "in spins" in fault.text
    assert "all ones" in fault.text


@pytest.mark.fault(52)
def test_one_that_catches_every_exception_is_ended_all_the_same() -> None:
    def catches(devices: Devices) -> None:
        devices.inside.set()
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    devices = Devices(catches)
    watched_until_end(devices)
    assert isinstance(devices.error, SystemExit)


@pytest.mark.fault(53)
def test_one_that_is_blocked_in_c_is_told_of_and_left() -> None:
    go = threading.Lock()
    go.acquire()

    def blocks(devices: Devices) -> None:
        devices.inside.set()
        go.acquire()

    devices = Devices(blocks)
    watched_until_end(devices, faults=2)
    assert "cannot be interrupted" in devices.faults[1].text
    assert not devices.ended.is_set()
    go.release()
    assert devices.ended.wait(PATIENCE)


def test_one_that_ends_by_itself_is_told_once_and_nothing_is_thrown() -> None:
    go = threading.Event()

    def slow(devices: Devices) -> None:
        devices.inside.set()
        assert go.wait(PATIENCE)

    devices = Devices(slow)
    dog = Watchdog(devices, look=0.01, grace=PATIENCE)
    dog.look()
    dog.look()
    go.set()
    assert devices.ended.wait(PATIENCE)
    dog.look()
    assert devices.error is None
    assert len(devices.faults) == 1


@pytest.mark.parametrize("thread", [0, 12345])
def test_a_thread_without_python_is_told_as_such(thread: int) -> None:
    class Compiled:
        faults: list[Fault] = []  # noqa: RUF012

        def hung(self) -> dict[str, int]:
            return {"dev": thread}

        def report(self, name: str, fault: Fault) -> None:
            self.faults.append(fault)

    devices = Compiled()
    dog = Watchdog(devices, grace=0)
    for _ in range(4):
        dog.look()
    assert "it runs no Python" in devices.faults[0].text
    assert len(devices.faults) == 2
    devices.faults.clear()
