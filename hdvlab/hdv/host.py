"""A device host: the place that device instances of one machine live in.

Ref: HDV API, HdvInitializeDeviceHost, HdvTeardownDeviceHost, HdvCreateDeviceInstance.
"""

from __future__ import annotations

import uuid
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import check
from hdvlab.hdv.structures import guid


class DeviceHost:
    """An ``HDV_HOST``.

    Parameters
    ----------
    system : cdata
        ``HCS_SYSTEM`` of the machine.

    Raises
    ------
    HandleError
        The machine is closed (``E_HANDLE``).
    """

    _empty = False
    #: Whether its devices reach guest memory through apertures only, and may make no doorbells and sections.
    restricted = False

    def __init__(self, system: Any) -> None:
        self.system = system
        self._out = ffi.new("void **")  # C stores the handle: Ctrl-C cannot come between that and our keeping it
        self._empty = True
        check(lib.HdvInitializeDeviceHost(system, self._out), "HdvInitializeDeviceHost")

    @property
    def handle(self) -> Any:
        """``HDV_HOST``."""
        return self._out[0]

    def create_device(self, register_file: Any, class_id: uuid.UUID, instance_id: uuid.UUID) -> Any:
        """Make a register file a device instance; returns its ``HDV_DEVICE``.

        Raises
        ------
        HdvError
            The (class, instance) pair, or the register file, is in use already (``ERROR_ALREADY_EXISTS``).
        """
        self._empty = False
        device = ffi.new("void **")
        check(
            lib.hdvlab_register_file_instance(register_file, self.handle, guid(class_id), guid(instance_id), device),
            "HdvCreateDeviceInstance",
        )
        return device[0]

    def teardown(self) -> None:
        """End the host. Waits for callbacks that run; every instance gets its Teardown, once.

        Raises
        ------
        HandleError
            Torn down already (``E_HANDLE``).
        StateError
            Called from inside a callback (``ERROR_INVALID_STATE``).
        """
        check(lib.HdvTeardownDeviceHost(self.handle), "HdvTeardownDeviceHost")

    def __del__(self) -> None:
        if self._empty and self.handle != ffi.NULL:  # with devices it is its owner's business: their code would run
            lib.HdvTeardownDeviceHost(self.handle)
