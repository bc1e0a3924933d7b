"""Fixtures of the C core's tests: a recording, a machine that records into it, and no leaks after any test."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hdvlab._core import lib

from .native import ForwardedMachine
from .scaffold import Machine, Recording


def _settles(now: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    """What ``now`` gives once it is ``enough``, or at last: a kernel thread ends a moment after it was joined."""
    deadline = time.monotonic() + 5
    while not enough(value := now()) and time.monotonic() < deadline:
        os.sched_yield()
    return value


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _handles() -> int:
    return int(lib.hdvlab_live_handles())


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    handles, threads, descriptors = _handles(), _threads(), _descriptors()
    yield
    if _handles() > handles:
        (request.node.funcargs or {}).clear()  # pytest would hold a lab, and the lab its trace
        gc.collect()  # what only a cycle holds is not left behind
    # The thread of a compute system's last call gives its references back a moment after the result is there.
    assert _settles(_handles, lambda n: n <= handles) <= handles, "live handles are left"
    assert _settles(_threads, lambda n: n <= threads) <= threads, "threads are left"
    # The directory's own descriptor is listed too, under whatever number is free.
    left = _settles(_descriptors, lambda now: len(now) <= len(descriptors))
    assert len(left) <= len(descriptors), f"descriptors are left: {left - descriptors}"


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    recording = Recording(tmp_path / "trace")
    yield recording
    recording.close()


#: Modules whose tests hold as well where the machine is another HDV library's and its devices pass through the tap.
_FORWARDED = {"lifecycle", "mmio", "config_space", "guest_memory", "interrupt", "doorbell", "section"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both kinds of machine, but for tests that say why they cannot hold on one that is forwarded to."""
    if "make_machine" not in metafunc.fixturenames:
        return
    kinds = [Machine]
    is_one = metafunc.module.__name__.rpartition(".test_")[2] in _FORWARDED
    if is_one and not any(metafunc.definition.iter_markers("embedded_only")):
        kinds.append(ForwardedMachine)
    metafunc.parametrize("make_machine", kinds, indirect=True, ids=lambda kind: kind.name)


@pytest.fixture
def make_machine(request: pytest.FixtureRequest) -> type[Machine]:
    """The kind of machine of this run of the test."""
    kind: type[Machine] = request.param
    return kind


@pytest.fixture
def machine(recording: Recording, make_machine: type[Machine]) -> Iterator[Machine]:
    machine = make_machine(recording)
    yield machine
    machine.close()
