"""Section-backed MMIO ranges: pages of a BAR that are memory shared with the device.

Ref: HDV API, HdvCreateSectionBackedMmioRange, HdvDestroySectionBackedMmioRange. Sections are memfds here.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, HResult, check
from hdvlab.hdv.constants import PAGE_SIZE, MmioMappingFlags

_ADVICE: dict[int, str] = {
    HResult.ERROR_INVALID_STATE: "the device is not running; map sections in start() or later",
    HResult.ERROR_ALREADY_EXISTS: "another section backs part of this range",
    HResult.E_INVALIDARG: "the range is outside the BAR",
    HResult.E_ACCESSDENIED: "a device whose machine is in another process may not; the machine's owner may, for it",
}


class Section:
    """Pages of a BAR backed by memory.

    Guest accesses there reach the memory and call nobody; the mapping and unmapping are rows.

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
    """

    def __init__(self, device: Any, bar: int, offset: int, size: int, writable: bool = True) -> None:
        if offset % PAGE_SIZE or size % PAGE_SIZE or offset < 0 or size <= 0:
            raise AccessError(f"a section is whole pages of {PAGE_SIZE} bytes, not {offset:#x}+{size:#x}")
        self._fd = os.memfd_create("hdvlab-section", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self._fd, size)
            # Sealed so that the pages cannot vanish under the machine's mapping.
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            flags = MmioMappingFlags.WRITEABLE if writable else MmioMappingFlags.NONE
            self._key = (device, bar, offset // PAGE_SIZE)
            hresult = lib.HdvCreateSectionBackedMmioRange(
                device, bar, offset // PAGE_SIZE, size // PAGE_SIZE, int(flags), ffi.cast("void *", self._fd), 0
            )
            advice = _ADVICE.get(hresult & 0xFFFFFFFF, "")
            check(hresult, f"HdvCreateSectionBackedMmioRange BAR{bar}+{offset:#x}", advice)
            #: The memory, shared with the guest.
            self.memory = mmap.mmap(self._fd, size)
        except BaseException:
            self._close_file()
            raise
        self._open = True

    def close(self) -> None:
        """Give the range back to the device's callbacks; closing twice is nothing. ``memory`` stays readable."""
        if self._open:
            self._open = False
            hresult = lib.HdvDestroySectionBackedMmioRange(*self._key)
            self._close_file()
            if hresult & 0xFFFFFFFF not in (HResult.E_HANDLE, HResult.ERROR_NOT_FOUND):  # gone with the device
                check(hresult, "HdvDestroySectionBackedMmioRange")

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self._close_file()
