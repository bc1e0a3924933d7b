"""Where a disk's bytes are: in memory that is taken when it is written to, or in a file."""

from __future__ import annotations

import mmap
import os
import re
import sys
from pathlib import Path
from typing import Protocol

from hdvlab.errors import BackendError, UsageError

_PAGE = mmap.PAGESIZE
_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_ZEROES = bytes(1 << 20)
#: Linux' MAP_NORESERVE, which the mmap module has from Python 3.13 on.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def parse_size(text: str) -> int:
    """Bytes, from a number with K, M, G or T (powers of 1,024) behind it."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text!r} is no size; write bytes, or 64M, 1G")
    return int(match[1]) << 10 * " kmgt".index(match[2].lower() or " ")


class Store(Protocol):
    """Bytes that are read and written; what was not written is zero."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """The bytes there; good until the next write."""

    def write(self, offset: int, data: bytes) -> None:
        """Store them."""

    def clear(self, offset: int, size: int) -> None:
        """Make them zeroes, giving back what they took."""

    def flush(self) -> None:
        """Return when they are where they stay."""

    def close(self) -> None:
        """No more use of it."""


class MemoryStore:
    """Memory of the notebook's process, taken page by page."""

    def __init__(self, size: int) -> None:
        self.size = size
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
            self._map = mmap.mmap(-1, max(size, 1), flags=flags)
        except (OSError, OverflowError, ValueError) as error:
            raise BackendError(f"no room for {size:,} bytes: {error}; take a smaller size, or file=PATH") from error
        self._view = memoryview(self._map)

    def read(self, offset: int, size: int) -> memoryview:
        return self._view[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        self._view[offset : offset + len(data)] = data

    def clear(self, offset: int, size: int) -> None:
        first, last = -(-offset // _PAGE) * _PAGE, (offset + size) // _PAGE * _PAGE
        if first >= last:
            self.write(offset, bytes(size))
            return
        self.write(offset, bytes(first - offset))
        self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
        self.write(last, bytes(offset + size - last))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._view.release()
        self._map.close()


class FileStore:
    """A file, read and written in place: an image that other programs know.

    Parameters
    ----------
    path : Path
        The file; made where it is not there and ``size`` is given.
    size : int, optional
        Bytes; a shorter file is made longer. The file's own where not given.
    readonly : bool
        Open it for reading only.
    """

    def __init__(self, path: Path, size: int | None = None, readonly: bool = False) -> None:
        path = path.expanduser()
        if size is None and not path.exists():
            raise UsageError(f"no file {path}; add size=64M to make one")
        try:
            flags = os.O_RDONLY if readonly else os.O_RDWR | os.O_CREAT
            self._fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
            length = os.fstat(self._fd).st_size
            if size is not None and length < size and not readonly:
                os.ftruncate(self._fd, size)
        except OSError as error:
            raise BackendError(f"{path}: {error.strerror}; give another file=PATH") from error
        self.size = length if size is None else size

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while 0 < len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
            data += more
        return data + bytes(size - len(data))  # shorter than it was: what is missing is zero

    def write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done

    def clear(self, offset: int, size: int) -> None:
        while size:
            part = min(size, len(_ZEROES))
            self.write(offset, _ZEROES[:part])
            offset, size = offset + part, size - part

    def flush(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()
