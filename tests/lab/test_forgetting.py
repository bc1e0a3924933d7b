"""A lab that is forgotten, not closed: its machine goes off, and nothing of it is left."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import threading
from collections.abc import Iterator

import pytest

from hdvlab import Lab
from hdvlab._core import lib
from hdvlab.device import CompiledDevice
from hdvlab.device.compiled import _attached
from hdvlab.errors import HResult, TraceError
from hdvlab.lab.forgotten import settle

from ..c_devices import blink
from ..labs import wait_for
from .blink import Blink


def _held() -> tuple[int, int, int]:
    """Descriptors, threads and handles of this process."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), lib.hdvlab_live_handles()


def test_labs_that_are_forgotten_one_after_the_other_hold_no_more_than_a_few() -> None:
    most = [0, 0, 0]
    before = _held()
    for _ in range(60):
        Lab().plug(Blink)
        most = [max(pair) for pair in zip(most, _held(), strict=True)]
    gc.collect()
    assert settle()
    gc.collect()
    # 8 labs before garbage is looked for, each with some 18 descriptors and 3 handles, and a thread.
    assert most[0] - before[0] < 10 * 20
    assert most[1] - before[1] < 12
    assert most[2] - before[2] < 10 * 6
    assert lib.hdvlab_live_handles() <= before[2]
    assert len(os.listdir("/proc/self/fd")) <= before[0]


def test_the_device_of_a_forgotten_lab_is_stopped_and_torn_down_on_a_thread_of_its_own() -> None:
    steps: list[tuple[str, str]] = []
    ended = threading.Event()

    class Told(Blink):
        def stop(self) -> None:
            steps.append(("stop", threading.current_thread().name))

        def teardown(self) -> None:
            steps.append(("teardown", threading.current_thread().name))
            ended.set()

    Lab().plug(Told)
    gc.collect()
    wait_for(ended)
    assert steps == [("stop", "hdvlab-closer"), ("teardown", "hdvlab-closer")]


def test_a_lab_found_by_the_collector_in_a_handler_of_another_does_not_run_device_code_there(lab: Lab) -> None:
    inside: list[bool] = []
    ended = threading.Event()

    class Told(Blink):
        def teardown(self) -> None:
            inside.append(threading.current_thread() is threading.main_thread())
            ended.set()

    class Collects(Blink):
        def start(self) -> None:
            gc.collect()

    gc.disable()
    try:
        Lab().plug(Told)
        lab.plug(Collects)
    finally:
        gc.enable()
    wait_for(ended)
    assert inside == [False]
    assert lab.faults == []


def test_who_has_a_bar_or_a_register_in_hand_has_not_forgotten_the_lab() -> None:
    register = Lab().plug(Blink).bar0.CTRL
    gc.collect()
    assert settle()
    assert register.read() == 0x10


def test_the_trace_of_a_forgotten_lab_stays() -> None:
    lab = Lab()
    lab.plug(Blink).bar0.CTRL.read()
    trace = lab.trace
    del lab
    gc.collect()
    assert settle()
    frame = trace.frame()
    assert list(frame["kind"])[-2:] == ["stop", "teardown"]
    trace.close()


def test_a_fault_after_the_lab_was_forgotten_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    class Fails(Blink):
        def stop(self) -> None:
            raise ValueError("too late")

    Lab().plug(Fails)
    gc.collect()
    assert settle()
    assert "ValueError: too late; its lab was forgotten" in capfd.readouterr().err


@pytest.fixture
def few_files() -> Iterator[None]:
    """Room for a handful of descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(fd) for fd in os.listdir("/proc/self/fd")) + 20, hard))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    for _ in range(5):
        os.close(taken.pop())
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for fd in taken:
        os.close(fd)


@pytest.mark.fault(50)
@pytest.mark.usefixtures("few_files")
def test_too_many_open_files_are_named_and_nothing_is_left_half_open() -> None:
    before = _held()
    with pytest.raises(TraceError, match="too many open files") as caught:
        Lab()
    assert caught.value.hresult == HResult.ERROR_TOO_MANY_OPEN_FILES == 0x80070000 | errno.EINTR
    assert _held() == before


def test_compiled_devices_of_forgotten_labs_are_not_kept() -> None:
    kept = len(_attached)
    for _ in range(3):
        Lab().plug(CompiledDevice(blink()))
    gc.collect()
    assert settle()
    gc.collect()
    assert len(_attached) == kept
