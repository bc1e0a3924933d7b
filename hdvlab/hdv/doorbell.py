"""Doorbells: a guest write that signals an event and calls nobody.

Ref: HDV API, HdvRegisterDoorbell, HdvUnregisterDoorbell. Events are eventfds here.
"""

from __future__ import annotations

import os
import select
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult, check
from hdvlab.hdv.constants import DoorbellFlags

_ADVICE: dict[int, str] = {
    HResult.ERROR_ALREADY_EXISTS: "this doorbell is registered already",
    HResult.E_INVALIDARG: "the place is outside the BAR",
    HResult.ERROR_INVALID_STATE: "the device is stopped",
}


class Doorbell:
    """A registered doorbell.

    Parameters
    ----------
    device : cdata
        ``HDV_DEVICE``.
    bar : int
        BAR number.
    offset : int
        Bytes from the BAR's start.
    value : int, optional
        The value that rings it; any when not given.
    size : int, optional
        Bytes a write must have, 1, 2, 4 or 8; any when not given.
    """

    def __init__(self, device: Any, bar: int, offset: int, value: int | None = None, size: int | None = None) -> None:
        flags = DoorbellFlags.for_trigger(size, any_value=value is None)
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._key = (device, bar, offset, value or 0, int(flags))
        operation = f"HdvRegisterDoorbell BAR{bar}+{offset:#x}"
        hresult = lib.HdvRegisterDoorbell(*self._key, ffi.cast("void *", self._event))
        if hresult < 0:
            os.close(self._event)
            check(hresult, operation, _ADVICE.get(hresult & 0xFFFFFFFF, ""))
        self._open = True

    def fileno(self) -> int:
        """The eventfd, for ``select`` and ``asyncio``."""
        return self._event

    def wait(self, timeout: float | None = None) -> int:
        """Wait up to ``timeout`` seconds; returns how often it rang since the last wait, 0 on timeout or closing."""
        if not self._open or not select.select([self._event], [], [], timeout)[0]:
            return 0
        try:
            return os.eventfd_read(self._event)
        except BlockingIOError:  # another waiter was first
            return 0

    def close(self) -> None:
        """Unregister; closing twice is nothing."""
        if self._open:
            self._open = False
            hresult = lib.HdvUnregisterDoorbell(*self._key)
            os.close(self._event)
            if hresult & 0xFFFFFFFF not in (HResult.E_HANDLE, HResult.ERROR_NOT_FOUND):  # gone with the device
                check(hresult, "HdvUnregisterDoorbell")
