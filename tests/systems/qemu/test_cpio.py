from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from hdvlab.systems.qemu.setup import Installation
from hdvlab.systems.qemu.setup.cpio import Cpio

from ...vm.conftest import installation as installation


def example() -> Cpio:
    archive = Cpio()
    archive.directory("tmp", 0o1777)
    archive.link("bin", "usr/bin")
    archive.file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
    archive.file("/bin/other", b"12345")
    archive.file("etc/empty", b"")
    return archive


def test_the_same_entries_give_the_same_bytes_in_any_order() -> None:
    archive = Cpio()
    archive.file("etc/empty", b"")
    archive.link("bin", "usr/bin")
    archive.file("/bin/other", b"12345")
    archive.directory("tmp", 0o1777)
    archive.file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
    assert archive.data() == example().data()


def test_every_entry_begins_at_a_multiple_of_four() -> None:
    data = example().data()
    places = [place for place in range(len(data)) if data.startswith(b"070701", place)]
    assert len(places) == 9  # bin etc etc/empty tmp usr usr/bin usr/bin/other usr/bin/tool and the end
    assert not any(place % 4 for place in places)


@pytest.mark.parametrize("path", ["", "/", "a/../b"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path in an archive"):
        Cpio().file(path, b"")


def test_nothing_can_be_put_below_a_file() -> None:
    archive = Cpio()
    archive.file("a", b"")
    with pytest.raises(ValueError, match="/a is no directory"):
        archive.file("a/b", b"")


@pytest.mark.vm
def test_another_cpio_reads_it(installation: Installation, tmp_path: Path) -> None:
    command = [str(installation.busybox), "cpio", "-id"]
    subprocess.run(command, input=example().data(), cwd=tmp_path, check=True, capture_output=True)
    assert os.readlink(tmp_path / "bin") == "usr/bin"
    assert (tmp_path / "usr/bin/other").read_bytes() == b"12345"
    assert stat.S_IMODE((tmp_path / "usr/bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "tmp").stat().st_mode) == 0o1777
    assert (tmp_path / "etc/empty").stat().st_size == 0
