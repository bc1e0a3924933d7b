"""Logs that a guest makes grow for ever."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from hdvlab.systems.qemu.endless_log import give_back_beginning, read_end
from hdvlab.systems.qemu.process import QemuProcess

_MIB = 1 << 20


def _blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_the_beginning_of_a_long_log_is_given_back_and_the_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as log:
        log.write(b"x" * 4 * _MIB + b"the end\n")
        give_back_beginning(path, _MIB)
        assert _blocks(path) <= _MIB + 8192
        log.write(b"and more\n")
    text = read_end(path, _MIB)
    assert text.endswith("xthe end\nand more\n")
    assert text.startswith("[3,145,745 bytes before this are not kept]\nxxx")
    assert "\0" not in text


def test_a_short_log_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"hello\n" * 1000)
    give_back_beginning(path, _MIB)
    assert read_end(path, _MIB) == "hello\n" * 1000
    assert read_end(tmp_path / "none", _MIB) == ""
    give_back_beginning(tmp_path / "none", _MIB)


def test_a_process_that_never_stops_talking_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed = threading.Event()

    def trim(path: Path) -> None:
        if _blocks(path) > 2 * _MIB:
            give_back_beginning(path, _MIB)
            trimmed.set()

    monkeypatch.setattr("hdvlab.systems.qemu.process._LOOK", 0.01)
    monkeypatch.setattr("hdvlab.systems.qemu.process.give_back_beginning", trim)
    log, ended = tmp_path / "log", threading.Event()
    program = "import os, time\nwhile True: os.write(1, b'y' * 4096); time.sleep(0.0005)"
    process = QemuProcess([sys.executable, "-c", program], {}, log, lambda status: ended.set())
    try:
        assert trimmed.wait(60)
    finally:
        process.kill()
    assert ended.wait(60)
    assert _blocks(log) < os.stat(log).st_size
