"""What QEMU is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab.errors import UsageError
from hdvlab.systems.qemu.command_line import Place, VmOptions, arguments

_QCOW2 = b"QFI\xfb\0\0\0\3"


def _drive(image: Path) -> str:
    words = arguments(VmOptions(disk=image), Place(image.parent), Path("kernel"), None, [])
    return words[words.index("-drive") + 1]


def test_an_image_is_qcow2_by_its_name(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    image.write_bytes(_QCOW2)
    assert "format=qcow2" in _drive(image)
    raw = tmp_path / "disk.img"
    raw.write_bytes(bytes(512))
    assert "format=raw" in _drive(raw)


def test_a_guest_that_writes_a_qcow2_header_into_its_raw_image_gets_no_backing_file(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(_QCOW2)
    with pytest.raises(UsageError, match=r"rename it to disk\.qcow2"):
        _drive(image)
