"""What a file that is no trace looks like, and what can be read instead.

Ref: the formats' own signatures, as ``file(1)`` lists them (``/usr/share/misc/magic``).
"""

from __future__ import annotations

import re
from typing import Final

from hdvlab.formats.text_lines import TextLines

_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data (decompress it with 'zstd -d' first)"),
    (b"\xfd7zXZ\x00", "xz-compressed data (decompress it with 'xz -d' first)"),
    (b"BZh", "bzip2-compressed data (decompress it with 'bzip2 -d' first)"),
    (b"PK\x03\x04", "a zip archive (unpack it first)"),
    (b"\x7fELF", "an ELF program"),
    (b"ARROW1", "an Arrow file (pyarrow reads it)"),
    (b"\x17\x08\x44tracing", "a trace-cmd recording ('trace-cmd report' turns it into text)"),
    (b"PERFILE2", "a perf recording ('perf script' turns it into text)"),
    (b"\xff" * 8 + (0xF2B177CB0AA429B4).to_bytes(8, "little"), "a QEMU 'simple' trace"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF document"),
)
_TEXTS: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = (
    (re.compile(rb"\b(?:memory_region_\w+|pci_cfg_(?:read|write)|vfio_\w+) "), "a QEMU log with trace events"),
    (re.compile(rb"\A# tracer: (?!mmiotrace)\w+"), "the text of another ftrace tracer"),
    (re.compile(rb"^[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] ", re.MULTILINE), "the output of lspci"),
    (re.compile(rb"\A\s*[{\[]"), "JSON"),
    (re.compile(rb"\A\s*<"), "XML or HTML"),
    (re.compile(rb"\A(?:from |import |#!|%)"), "a program"),
)

#: What :func:`hdvlab.read_trace` reads.
READABLE: Final = "Linux mmiotrace logs (plain or gzip); hdvlab's own recordings (directories) and archives (Parquet)"


def looks_like(head: bytes) -> str:
    """What the beginning of a file looks like, for a message."""
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if b"\0" in head:
        return "binary data"
    for pattern, what in _TEXTS:
        if pattern.search(head):
            return what
    first = next((line for line in head.split(b"\n") if line.strip()), b"").strip()[:60]
    if not first:
        return "blank lines only"
    return f"text that begins with {first.decode('utf-8', 'backslashreplace')!r}"


def not_readable(lines: TextLines, wanted: str) -> str:
    """Why a text is not what was wanted, what it looks like, and what can be read."""
    if lines.head:
        found = f"this is not {wanted}; it looks like {looks_like(lines.head)}"
    elif lines.damage:
        found = f"nothing of the file could be read: {lines.damage}"
    else:
        found = "the file is empty (an mmiotrace must be read with 'cat trace_pipe' while it runs)"
    return f"{found}. What can be read: {READABLE}."
