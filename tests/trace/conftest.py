"""Recordings to test with: real ones, written by the library."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.trace.recorder import Recorder


@pytest.fixture(autouse=True)
def no_handle_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every handle that a test takes from the library is given back when its objects are gone."""
    gc.collect()
    before = lib.hdvlab_live_handles()
    yield
    request.node.funcargs.clear()  # else pytest keeps what fixtures made
    gc.collect()
    assert lib.hdvlab_live_handles() <= before


@pytest.fixture
def new_recorder(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders below the test's directory; closes them in the end."""
    made: list[Recorder] = []

    def make(**options: Any) -> Recorder:
        made.append(Recorder.create(tmp_path / f"run{len(made)}", **options))
        return made[-1]

    yield make
    for recorder in made:
        recorder.close()
    made.clear()


@pytest.fixture
def record() -> Callable[..., None]:
    """Records rows: row i of a call reads ``~i`` from address ``i & 0xFFC``; not completed, it has value i."""

    def run(recorder: Recorder, count: int, complete: bool = True) -> None:
        assert lib.hdvlab_bench_rows(recorder.handle, count, complete, ffi.new("uint64_t *")) == 0

    return run


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Runs a script in a process of its own; what it printed, once it ended well."""

    def run(script: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
        command = [*before, sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
