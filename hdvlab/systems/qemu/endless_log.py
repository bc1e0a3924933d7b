"""Files that a guest can make grow for ever: its console, and what QEMU says of it.

Whoever writes appends (``O_APPEND``), so that a file keeps its length while the blocks of its beginning are given back:
no byte is lost between a look and the next, as it would be if the file were cut.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: Bytes of a log that are kept on disk, at least; twice as many at most, and what comes between two looks.
KEPT = 16 << 20

_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)
_libc = ctypes.CDLL(None, use_errno=True)


def give_back_beginning(path: Path, kept: int = KEPT) -> None:
    """Free the disk of all but the last ``kept`` bytes of a log, once there are twice as many."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        status = os.fstat(fd)
        if status.st_blocks * 512 <= 2 * kept:
            return
        bytes_ = ctypes.c_int64((status.st_size - kept) // 4096 * 4096)
        if _libc.fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_int64(0), bytes_):
            os.ftruncate(fd, 0)  # a file system without holes
    except OSError:
        return
    finally:
        os.close(fd)


def read_end(path: Path, kept: int = KEPT) -> str:
    """The last ``kept`` bytes of a log as text, with a line that says so where there were more; "" = there is none."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            before = log.seek(max(0, size - kept))
            text = log.read(kept).decode(errors="replace")
    except OSError:
        return ""
    return f"[{before:,} bytes before this are not kept]\n{text}" if before else text
