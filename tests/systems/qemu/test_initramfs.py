from __future__ import annotations

import gzip
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hdvlab.errors import BackendUnavailableError, UsageError
from hdvlab.systems.qemu.setup import Installation, build_initramfs

from ...vm.conftest import installation as installation

pytestmark = pytest.mark.vm


@pytest.fixture
def elsewhere(installation: Installation, tmp_path: Path) -> Installation:
    return replace(installation, cache=tmp_path / "cache")


def unpacked(path: Path, installation: Installation, folder: Path) -> Path:
    archive = gzip.decompress(path.read_bytes())
    command = [str(installation.busybox), "cpio", "-id"]
    subprocess.run(command, input=archive, cwd=folder, check=False, capture_output=True)  # devices need root
    return folder


def test_the_same_contents_give_the_same_file_and_the_same_bytes(elsewhere: Installation, tmp_path: Path) -> None:
    first = build_initramfs(elsewhere, modules=["uio"], files={"/a": b"1"})
    other = build_initramfs(replace(elsewhere, cache=tmp_path / "other"), modules=["uio"], files={"/a": b"1"})
    assert build_initramfs(elsewhere, modules=["uio"], files={"/a": b"1"}) == first
    assert first.name == other.name
    assert first.read_bytes() == other.read_bytes()
    assert build_initramfs(elsewhere, modules=["uio"], files={"/a": b"2"}) != first


def test_it_has_busybox_modules_and_files(elsewhere: Installation, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"data")
    program.chmod(0o755)
    built = build_initramfs(
        elsewhere, modules=["uio_pci_generic"], available=["vfio_pci"],
        files={"/agent": b"x", "/home/data": b"y", "/bin/program": program},
    )  # fmt: skip
    (tmp_path / "root").mkdir()
    root = unpacked(built, elsewhere, tmp_path / "root")
    assert os.readlink(root / "usr/bin/sh") == "busybox"
    loaded = (root / "etc/modules").read_text().split()
    assert [Path(one).name for one in loaded] == ["uio.ko", "uio_pci_generic.ko"]
    assert all((root / one.lstrip("/")).read_bytes()[:4] == b"\x7fELF" for one in loaded)
    assert os.access(root / "agent", os.X_OK)
    assert os.access(root / "usr/bin/program", os.X_OK)
    assert not (root / "home/data").stat().st_mode & 0o111
    table = (root / "lib/modules" / elsewhere.kernel_version / "modules.dep").read_text()
    (line,) = [line for line in table.splitlines() if line.partition(":")[0].endswith("/vfio-pci.ko")]
    assert line.endswith("vfio.ko") or "/vfio.ko " in line


def test_what_cannot_be_in_it_is_said(elsewhere: Installation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no module nonesuch"):
        build_initramfs(elsewhere, modules=["nonesuch"])
    with pytest.raises(UsageError, match="is no path in an archive"):
        build_initramfs(elsewhere, files={"/../x": b""})
    with pytest.raises(BackendUnavailableError, match="for the guest"):
        build_initramfs(elsewhere, files={"/x": tmp_path / "missing"})


def test_a_program_brings_its_libraries(installation: Installation) -> None:
    extra = installation.extra("pciutils")
    assert {"/usr/bin/lspci", "/lib64/ld-linux-x86-64.so.2"} <= set(extra)
    assert any("libpci.so" in path for path in extra)
    with pytest.raises(KeyError, match="there are pciutils"):
        installation.extra("fio")
