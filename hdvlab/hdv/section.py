"""Section-backed MMIO ranges: pages of a BAR that are memory shared with the device.

Ref: HDV API, HdvCreateSectionBackedMmioRange, HdvDestroySectionBackedMmioRange. Sections are memfds here.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, HResult, StateError, check
from hdvlab.hdv.constants import PAGE_SIZE, MmioMappingFlags
from hdvlab.hdv.memory import numbers

_ADVICE: dict[int, str] = {
    HResult.ERROR_INVALID_STATE: "the device is not running; map sections in start() or later",
    HResult.ERROR_ALREADY_EXISTS: "another section backs part of this range",
    HResult.E_INVALIDARG: "the range is outside the BAR",
    HResult.E_ACCESSDENIED: "the file is open for reading only; open it for both, or say writable=False",
}


def _fresh(size: int) -> int:
    """A descriptor of memory that is all zeros."""
    fd = os.memfd_create("hdvlab-section", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        # Sealed so that the pages cannot vanish under the machine's mapping.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _own_file(file: Any, offset: int, size: int) -> tuple[int, int]:
    """A duplicate of the user's descriptor, and the offset, once they fit."""
    try:
        given = file if isinstance(file, int) else file.fileno()
        status = os.fstat(given)
    except (OSError, OverflowError, ValueError, AttributeError, TypeError):
        raise AccessError(f"{file!r:.60} is no open file; give a memfd, or open(path, 'r+b')") from None
    if not stat.S_ISREG(status.st_mode):
        raise AccessError(f"{file!r} is no file that can be memory; give a memfd or an ordinary file")
    if offset % PAGE_SIZE or offset < 0 or offset + size > status.st_size:
        raise AccessError(f"{offset:#x}+{size:#x} is not whole pages within the file of {status.st_size:#x} bytes")
    return os.dup(given), offset


class Section:
    """Pages of a BAR backed by memory: fresh, of a file, or of another section.

    Guest accesses there reach the memory and call nobody; the mapping and unmapping are rows. Sections may be made and
    closed while the guest runs; a guest that runs may see some of the pages change before others.

    Parameters
    ----------
    device : cdata
        ``HDV_DEVICE``.
    bar : int
        BAR number.
    offset, size : int
        Bytes, multiples of 4096.
    writable : bool
        The guest may write.
    file : int or object with fileno(), optional
        A memfd or a file of yours that is the memory; a duplicate of the descriptor is kept. One that is open for
        reading only needs ``writable=False``; ``memory`` is read-only then, too.
    file_offset : int
        Bytes from the start of ``file``, or of ``share``, a multiple of 4096.
    share : Section, optional
        Another section, of any device, whose memory this one is, too.

    Attributes
    ----------
    memory : mmap.mmap
        The memory, shared with the guest; ``size`` bytes. Stays readable when the section is closed.

    Raises
    ------
    AccessError
        No whole pages; outside the BAR, the file or the shared section; not a file (``E_INVALIDARG``).
    StateError
        The device has not been started, or is stopped (``ERROR_INVALID_STATE``); ``share`` is closed.
    HdvError
        Another section backs part of the range (``ERROR_ALREADY_EXISTS``); the file is open for reading only
        (``E_ACCESSDENIED``).

    Notes
    -----
    HDV API, HdvCreateSectionBackedMmioRange. A file that can shrink is served through its descriptor, so a guest that
    reaches past its new end reads all ones; ``memory`` is a mapping of it and faults there, as every mapping does.
    """

    def __init__(
        self,
        device: Any,
        bar: int,
        offset: int,
        size: int,
        writable: bool = True,
        *,
        file: Any = None,
        file_offset: int = 0,
        share: Section | None = None,
    ) -> None:
        self._open = False
        self._fd = -1
        bar, offset, size, file_offset = numbers(bar=bar, offset=offset, size=size, file_offset=file_offset)
        if share is not None and not isinstance(share, Section):
            raise AccessError(f"share is {share!r:.60}; it is a Section of this or another device")
        if offset % PAGE_SIZE or size % PAGE_SIZE or offset < 0 or size <= 0:
            raise AccessError(f"a section is whole pages of {PAGE_SIZE} bytes, not {offset:#x}+{size:#x}")
        self.size = size
        try:
            if share is not None:
                self._fd, self._file_offset = share._shared(file, file_offset, size)
            elif file is not None:
                self._fd, self._file_offset = _own_file(file, file_offset, size)
            elif file_offset:
                raise AccessError("file_offset is a place in a file or a shared section; give file= or share=")
            else:
                self._fd, self._file_offset = _fresh(size), 0
            flags = MmioMappingFlags.WRITEABLE if writable else MmioMappingFlags.NONE
            self._key = (device, bar, offset // PAGE_SIZE)
            hresult = lib.HdvCreateSectionBackedMmioRange(
                *self._key,
                size // PAGE_SIZE,
                int(flags),
                ffi.cast("void *", self._fd),
                self._file_offset // PAGE_SIZE,
            )
            advice = _ADVICE.get(hresult & 0xFFFFFFFF, "")
            if hresult == HResult.E_ACCESSDENIED.signed and file is None and share is None:
                advice = "its machine is in another process, whose owner makes the sections"
            check(hresult, f"HdvCreateSectionBackedMmioRange BAR{bar}+{offset:#x}", advice)
            self._open = True
            mode = fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_ACCMODE
            access = mmap.ACCESS_READ if mode == os.O_RDONLY else mmap.ACCESS_WRITE
            self.memory = mmap.mmap(self._fd, size, access=access, offset=self._file_offset)
        except BaseException:
            self.close()
            raise

    def _shared(self, file: Any, offset: int, size: int) -> tuple[int, int]:
        """Descriptor and offset of part of this section, for another one."""
        if file is not None:
            raise AccessError("a section is of a file or shares another's memory, not both")
        if not self._open:
            raise StateError("the section whose memory is to be shared is closed")
        if offset % PAGE_SIZE or offset < 0 or offset + size > self.size:
            raise AccessError(f"{offset:#x}+{size:#x} is outside the shared section of {self.size:#x} bytes")
        return os.dup(self._fd), self._file_offset + offset

    def close(self) -> None:
        """Give the range back to the device's callbacks; closing twice is nothing. ``memory`` stays readable."""
        was_open, self._open = self._open, False
        self._close_file()
        if was_open:
            hresult = lib.HdvDestroySectionBackedMmioRange(*self._key)
            if hresult & 0xFFFFFFFF not in (HResult.E_HANDLE, HResult.ERROR_NOT_FOUND):  # gone with the device
                check(hresult, "HdvDestroySectionBackedMmioRange")

    def _close_file(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self._close_file()
