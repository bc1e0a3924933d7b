"""A file that is no trace is refused with what it looks like and what can be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hdvlab.errors import HResult, TraceError, TraceFormatError
from hdvlab.formats.mmiotrace import read_mmiotrace


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n \n", "blank lines"),
        (b"\x7fELF\x02\x01", "an ELF program"),
        (b"\x28\xb5\x2f\xfd\x00", "zstd -d"),
        (b"PAR1\x15\x00", "Parquet"),
        (b"\xff" * 8 + 0xF2B177CB0AA429B4.to_bytes(8, "little"), "QEMU 'simple' trace"),
        (b"7f12@1.000000:memory_region_ops_read cpu 0 mr 0x1 addr 0x2 value 0x3 size 4\n", "QEMU log"),
        (b'{"cells": []}', "JSON"),
        (b"# tracer: function\n#\n", "another ftrace tracer"),
        (b"00:00.0 Host bridge: Intel\n", "lspci"),
        (b"Dear diary,\n", "'Dear diary,'"),
        (b"\0\1\2\3", "binary data"),
        (gzip.compress(b"Dear diary,\n", mtime=0), "'Dear diary,'"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"\x1f\x8b", "gzip data ends too early"),
    ],
)
def test_a_file_that_is_no_log_is_refused_with_what_it_looks_like(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TraceFormatError) as caught:
        read_mmiotrace(path)
    assert told in str(caught.value)
    assert "What can be read: Linux mmiotrace" in str(caught.value)


def test_a_file_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="check the path") as caught:
        read_mmiotrace(tmp_path / "absent")
    assert caught.value.hresult == HResult.ERROR_NOT_FOUND
    for path in (tmp_path, "a\0b"):
        with pytest.raises(TraceError, match="cannot be opened|may not be read"):
            read_mmiotrace(path)
