"""Where a VM's sockets are: a UNIX socket's path has 107 bytes at most."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from hdvlab.lab.vm_power import make_place


def test_long_names_of_temporary_directories_are_avoided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("l" * 90)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    place = make_place()
    try:
        assert len(os.fsencode(place.console)) < 107
        assert place.directory.stat().st_mode & 0o777 == 0o700
    finally:
        place.directory.rmdir()


def test_the_runtime_directory_is_taken_where_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        place = make_place()
        assert place.directory.parent == Path(folder)
