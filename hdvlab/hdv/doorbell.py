"""Doorbells: a guest write that signals an event and calls nobody.

Ref: HDV API, HdvRegisterDoorbell, HdvUnregisterDoorbell. Events are eventfds here.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, HResult, check
from hdvlab.hdv.constants import DoorbellFlags

_ADVICE: dict[int, str] = {
    HResult.ERROR_ALREADY_EXISTS: "this doorbell is registered already",
    HResult.E_INVALIDARG: "the place is outside the BAR",
    HResult.ERROR_INVALID_STATE: "the device is stopped",
    HResult.E_ACCESSDENIED: "a device whose machine is in another process may not; the machine's owner may, for it",
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
        operation = f"HdvRegisterDoorbell BAR{bar}+{offset:#x}"
        if size not in (None, 1, 2, 4, 8):
            raise AccessError(f"a write has 1, 2, 4 or 8 bytes, not {size}", None, operation)
        if value is not None and not 0 <= value < 1 << 8 * (size or 8):
            raise AccessError(f"no write of {size or 8} bytes has the value {value:#x}", None, operation)
        if bar < 0 or offset < 0:
            raise AccessError(_ADVICE[HResult.E_INVALIDARG], None, operation)
        flags = DoorbellFlags.for_trigger(size, any_value=value is None)
        self._open = False
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._key = (device, bar, offset, value or 0, int(flags))
        hresult = lib.HdvRegisterDoorbell(*self._key, ffi.cast("void *", self._event))
        check(hresult, operation, _ADVICE.get(hresult & 0xFFFFFFFF, ""))
        self._open = True

    def fileno(self) -> int:
        """The eventfd, for ``select`` and ``asyncio``."""
        return self._event

    def wait(self, timeout: float | None = None) -> int:
        """Wait up to ``timeout`` seconds; returns how often it rang since the last wait, 0 on timeout or closing.

        When it rang, rows that this thread leads to from now on carry the write that rang last as their ``cause``; not
        those of the main thread, which is a person's.
        """
        ready = select.poll()
        ready.register(self._event, select.POLLIN)
        if not self._open or not ready.poll(None if timeout is None else timeout * 1e3) or not self._open:
            return 0
        try:
            rung = os.eventfd_read(self._event)
        except BlockingIOError:  # another waiter was first
            return 0
        row = self.row
        is_own = threading.current_thread() is not threading.main_thread()
        if row >= 0 and is_own and lib.hdvlab_device_inside(self._key[0]) != 0:
            lib.hdvlab_set_cause(row)
        return rung

    @property
    def row(self) -> int:
        """Row of the write that rang it last; -1 where none did yet, or the machine is in another process."""
        row = ffi.new("int64_t *", -1)
        known = lib.hdvlab_doorbell_row(*self._key, row) == 0
        return int(row[0]) if known else -1

    def close(self) -> None:
        """Unregister and wake who waits; closing twice is nothing."""
        if self._open:
            self._open = False
            hresult = lib.HdvUnregisterDoorbell(*self._key)
            os.eventfd_write(self._event, 1)  # its descriptor stays until no waiter can be looking at it
            if hresult & 0xFFFFFFFF not in (HResult.E_HANDLE, HResult.ERROR_NOT_FOUND):  # gone with the device
                check(hresult, "HdvUnregisterDoorbell")

    def __del__(self) -> None:
        if hasattr(self, "_event"):
            os.close(self._event)
