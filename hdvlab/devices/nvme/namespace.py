"""Where a namespace's logical blocks are: in memory or in a file.

Ref: NVM Express Base Specification 1.4c, section 6.1 (namespaces).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Protocol

from hdvlab.errors import BackendError, UsageError

#: Linux's number, which Python's mmap has by name only from 3.13 on.
_MAP_NORESERVE = 0x4000
#: Bytes of zeros that are written at a time where nothing better is at hand.
_ZEROS = bytes(1 << 20)


class Namespace(Protocol):
    """Bytes that a guest reads and writes. Callers keep within ``size``."""

    size: int
    """Bytes, whole logical blocks of 4096."""
    deallocated_is_zero: bool
    """Whether deallocated blocks read as zeros."""

    def read(self, offset: int, size: int) -> memoryview | bytes:
        """``size`` bytes from ``offset``."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store ``data`` at ``offset``."""

    def zero(self, offset: int, size: int) -> None:
        """Make a range read as zeros."""

    def deallocate(self, offset: int, size: int) -> None:
        """The guest needs a range no more."""

    def flush(self) -> None:
        """Return when all that was written is on stable storage."""

    def close(self) -> None:
        """Let go of it; what is stored in a file stays."""


class MemoryNamespace:
    """Blocks in this process's memory: pages cost something once they are written, until they are deallocated."""

    deallocated_is_zero = True

    def __init__(self, size: int) -> None:
        self.size = size
        self._pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        self._view = memoryview(self._pages)

    def read(self, offset: int, size: int) -> memoryview:
        return self._view[offset : offset + size]

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._view[offset : offset + len(data)] = data

    def zero(self, offset: int, size: int) -> None:
        end = offset + size
        first, last = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if first >= last:
            self._view[offset:end] = bytes(size)
            return
        self._view[offset:first] = bytes(first - offset)
        self._pages.madvise(mmap.MADV_DONTNEED, first, last - first)  # private pages: they read as zeros afterwards
        self._view[last:end] = bytes(end - last)

    deallocate = zero

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._view.release()
        self._pages.close()


class FileNamespace:
    """Blocks in a file, which is made, sparse, where there is none.

    Reads and writes, not mappings: a file that somebody shortens gives errors, not a signal that ends the process.
    """

    deallocated_is_zero = False

    def __init__(self, path: str | os.PathLike[str], size: int | None) -> None:
        self.path = Path(path).expanduser()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BackendError(f"{self.path}: {error.strerror}; the namespace needs a file it can write") from error
        there = os.fstat(self._file).st_size
        self.size = size or there
        if not self.size or self.size % 4096:
            os.close(self._file)
            raise UsageError(f"{self.path} has {there} bytes; give size=, a multiple of 4096")
        if there < self.size:
            os.ftruncate(self._file, self.size)

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file, size, offset)
        while len(data) < size:  # a signal came, or the file was shortened
            more = os.pread(self._file, size - len(data), offset + len(data))
            if not more:
                raise BackendError(f"{self.path} ends at {offset + len(data):#x}; somebody shortened it")
            data += more
        return data

    def write(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._file, view, offset)
            view, offset = view[done:], offset + done

    def zero(self, offset: int, size: int) -> None:
        while size:
            part = min(size, len(_ZEROS))
            self.write(offset, memoryview(_ZEROS)[:part])
            offset, size = offset + part, size - part

    def deallocate(self, offset: int, size: int) -> None:
        """Advice that a file has no use for: its blocks keep what they hold."""

    def flush(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of ``64M``, ``1GiB`` or ``1048576``; a multiple of 4096.

    Raises
    ------
    UsageError
        It is no such number.
    """
    digits = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = _UNITS.get(digits[-1:], 1)
    digits = digits[:-1] if unit > 1 else digits
    try:
        size = int(digits, 0) * unit
    except ValueError:
        raise UsageError(f"size={text} is no number of bytes; write 1073741824, 64M or 1G") from None
    if size <= 0 or size % 4096 or size > 1 << 46:
        raise UsageError(f"size={text}: a namespace has 4096 bytes to 64 TiB, a multiple of 4096")
    return size
