"""Device hosts that belong to one test alone, and do not outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdvlab.host import RemoteLab, start
from hdvlab.host.record import Record, records

PATIENCE = 30.0


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for something that another process is about to do."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.01)


def kill(record: Record) -> None:
    """SIGKILL, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: not record.is_alive, "the host's death")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runtime and state directories of this test; its hosts end with it."""
    for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / name))
    yield tmp_path
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for record in records():
        if record.is_alive:
            kill(record)


@pytest.fixture
def remote(places: Path) -> Iterator[RemoteLab]:
    """A host with an embedded machine, attached to."""
    lab = start("lab", lease=60)
    yield lab
    lab.close()
