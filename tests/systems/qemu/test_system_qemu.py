"""Programs that say what a QEMU says; and what is named by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab.errors import BackendUnavailableError
from hdvlab.systems.qemu.setup import find, part_states
from hdvlab.systems.qemu.setup.system_qemu import examine, system_qemu


def qemu(folder: Path, version: str, devices: str = 'name "vfio-user-pci", bus PCI') -> Path:
    path = folder / "qemu-system-x86_64"
    path.write_text(
        f"#!/bin/sh\nif [ $1 = --version ]; then echo 'QEMU emulator version {version}'; else echo '{devices}'; fi\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["10.1.1", "10.1.5 (Debian 1:10.1.5)", "10.2.0", "11.1.3"])
def test_a_new_qemu_with_the_device_will_do(tmp_path: Path, version: str) -> None:
    found = examine((str(qemu(tmp_path, version)),))
    assert (found.version, found.problem) == (version.split()[0], "")


@pytest.mark.parametrize(
    ("version", "devices", "problem"),
    [
        ("10.1.0", 'name "vfio-user-pci", bus PCI', "wrong class code"),
        ("7.2.22", "", "needs 10.1.1 or later"),
        ("11.0.0", 'name "vfio-pci", bus PCI', "was built without vfio-user-pci"),
        ("of something else", "", "does not say its version"),
    ],
)
def test_another_will_not_and_why_is_said(tmp_path: Path, version: str, devices: str, problem: str) -> None:
    assert problem in examine((str(qemu(tmp_path, version, devices)),)).problem


def test_a_qemu_that_was_replaced_is_asked_again(tmp_path: Path) -> None:
    assert examine((str(qemu(tmp_path, "10.1.0")),)).problem
    assert not examine((str(qemu(tmp_path, "10.1.11")),)).problem


def test_the_qemu_of_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_qemu() is None
    qemu(tmp_path, "11.0.0")
    found = system_qemu()
    assert found is not None
    assert found.version == "11.0.0"


def test_what_is_named_by_hand_and_will_not_do_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDVLAB_QEMU", str(qemu(tmp_path, "10.1.0")))
    with pytest.raises(BackendUnavailableError, match=r"HDVLAB_QEMU: .*wrong class code"):
        find(tmp_path)
    monkeypatch.setenv("HDVLAB_QEMU", str(tmp_path / "missing"))
    with pytest.raises(BackendUnavailableError, match="No such file"):
        find(tmp_path)
    monkeypatch.delenv("HDVLAB_QEMU")
    monkeypatch.setenv("HDVLAB_KERNEL", str(tmp_path / "qemu-system-x86_64"))
    with pytest.raises(BackendUnavailableError, match="is no x86 bzImage"):
        find(tmp_path)
    assert [one.what for one in part_states(tmp_path) if "bzImage" in one.problem] == ["guest kernel"]


def test_an_empty_cache_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find(tmp_path) is None
    assert all(f"not in {tmp_path}" in one.problem for one in part_states(tmp_path))
