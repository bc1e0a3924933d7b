"""What every machine of this process has: slots for devices, their power, and config space to look at."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import check
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.hdv.structures import WideStrings, guid


class SlottedMachine:
    """The owner of an ``HCS_SYSTEM``.

    Parameters
    ----------
    create : callable
        ``create(out)`` makes it; the library stores the handle in ``out``, a ``void **``, so that Ctrl-C cannot come
        between that and our keeping it.
    """

    _fresh = False

    def __init__(self, create: Callable[[Any], None]) -> None:
        self._out = ffi.new("void **")
        self._fresh = True
        create(self._out)
        self._handle: Any = self._out[0]

    @property
    def handle(self) -> Any:
        """``HCS_SYSTEM``."""
        return self._handle

    def add_slot(self, slot: int, class_id: uuid.UUID, instance_id: uuid.UUID, configuration: Sequence[str]) -> None:
        """See :meth:`System.add_slot`. Raises what the device's callback failed with."""
        strings = WideStrings(configuration)
        hresult = lib.hdvlab_system_add_slot(
            self._handle, slot, guid(class_id), guid(instance_id), strings.count, strings.array
        )
        reraise_interrupt()
        check(hresult, f"plug into slot {slot}")

    def remove_slot(self, slot: int) -> None:
        """See :meth:`System.remove_slot`."""
        hresult = lib.hdvlab_system_remove_slot(self._handle, slot)
        reraise_interrupt()
        check(hresult, f"unplug slot {slot}")

    def start(self) -> None:
        """See :meth:`System.start`. A device that fails a step fails the start, with its HRESULT; all are torn down."""
        self._fresh = False
        hresult = lib.hdvlab_system_start(self._handle)
        reraise_interrupt()
        check(hresult, "start the machine")

    def stop(self) -> None:
        """See :meth:`System.stop`."""
        hresult = lib.hdvlab_system_stop(self._handle)
        reraise_interrupt()
        check(hresult, "stop the machine", "it is off, or this is a callback of one of its devices")

    def close(self) -> None:
        """See :meth:`System.close`."""
        check(lib.hdvlab_system_close(self._handle), "close the machine")
        reraise_interrupt()

    def __del__(self) -> None:
        if self._fresh:  # never started, so no device's code runs here
            lib.hdvlab_system_close(self._out[0])

    def config_peek(self, slot: int) -> bytes:
        """A slot's config space as the machine would answer it, 4096 bytes; looking leaves no row."""
        config = ffi.new("uint8_t[4096]")
        check(lib.hdvlab_guest_config_peek(self._handle, slot, config), f"config space of slot {slot}")
        return bytes(ffi.buffer(config))
