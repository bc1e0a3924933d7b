"""A process that is watched, as QEMU is."""

from __future__ import annotations

import threading
from pathlib import Path

from hdvlab.systems.qemu.process import QemuProcess

PATIENCE = 30.0


def test_last_words_are_those_of_this_run(tmp_path: Path) -> None:
    for word in ("one", "two"):
        ended = threading.Event()
        process = QemuProcess(["sh", "-c", f"echo {word}; exit 1"], {}, tmp_path / "log", lambda _, e=ended: e.set())
        assert ended.wait(PATIENCE)
        assert process.status == 1
        assert process.last_words() == word
        process.kill()
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
