"""The stop button while a VM boots, at moments all over it: nothing is left running, and the next boot works."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .user import User, nothing_stays

pytestmark = pytest.mark.vm

TIMES = 12


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Runtime and state directory; the first is short, as sockets need it."""
    (tmp_path / "state").mkdir(mode=0o700)
    with tempfile.TemporaryDirectory(prefix="hdvlab-test-") as runtime:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        with nothing_stays():
            yield runtime, str(tmp_path / "state")


def processes_of(*places: str) -> list[str]:
    """Command lines that name one of these directories: hosts, QEMU, keepers."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(place in words for place in places):
            found.append(words)
    return found


def test_a_boot_that_is_stopped_at_any_moment_leaves_nothing_and_the_next_one_works(places: tuple[str, str]) -> None:
    moments = random.Random(4)
    with User() as user:
        user.said("%load_ext hdvlab")
        for number in range(TIMES):
            request = user.send("%hdv boot --device edu --name one")
            time.sleep(moments.uniform(0.0, 1.5 if number % 2 else 4.0))  # the moment is what is tried out
            user.manager.interrupt_kernel()
            errors = ["".join(one["traceback"]) for one in user.outputs(request) if one["type"] == "error"]
            assert all("stopped; no VM is on" in one for one in errors), errors
            if not errors:  # it was up already
                user.said("%hdv vm kill")
            if number % 4 == 3:
                user.shown("%hdv host one --stop")  # there may be none
        text = user.said("%hdv boot --device edu --name one")
        assert "Linux is up" in text
        assert "reloaded" not in text  # that nothing differs is no news
        assert "alive" in user.said("%hdv sh echo alive")
        assert len(processes_of(*places)) == 3  # host, QEMU, keeper
        user.said("%hdv host one --stop")
        deadline = time.monotonic() + 10
        while processes_of(*places) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_of(*places) == []
        assert [name for name in os.listdir(places[0]) if name != "hdvlab"] == []
