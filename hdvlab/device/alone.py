"""Having a device to oneself for a moment: no handler of it runs meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hdvlab._core import lib
from hdvlab.errors import HResult, StateError, check

if TYPE_CHECKING:
    from hdvlab.device.device import Device

#: How long a handler may take to end before one gives up, seconds.
PATIENCE = 5.0


class Alone:
    """Inside, no handler of the device runs; a device that is in no machine has none.

    Parameters
    ----------
    device : Device
        Which.
    operation : str
        What it is for, in a message: ``"reloaded"``.
    unchanged : str
        How the device stands when that is not possible.
    advice : str
        What to do then.
    """

    def __init__(self, device: Device, operation: str, unchanged: str, advice: str) -> None:
        self._device = device
        self._operation = operation
        self._busy = (
            f"{device.name} {unchanged}: one of its handlers does not return, or a thread holds its lock. {advice}"
        )
        self._entered: Any = None

    def __enter__(self) -> None:
        instance = self._device._instance
        if instance is None:
            return
        if lib.hdvlab_device_inside(instance) == 0:
            raise StateError(f"{self._device.name} cannot be {self._operation} from its own code")
        deadline = time.monotonic() + PATIENCE
        try:
            while (hresult := lib.hdvlab_device_enter(instance, 100, -1)) == HResult.ERROR_BUSY.signed:
                if time.monotonic() > deadline:
                    raise StateError(self._busy)
            check(hresult, f"have {self._device.name} alone", "it is not running")
            self._entered = instance
        except BaseException:  # Ctrl-C may come when the device was entered already
            if lib.hdvlab_device_inside(instance) == 0:
                lib.hdvlab_device_leave(instance)
            raise

    def __exit__(self, *_: object) -> None:
        if self._entered is not None:
            lib.hdvlab_device_leave(self._entered)
