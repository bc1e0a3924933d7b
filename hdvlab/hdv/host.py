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

    #: Whether its devices reach guest memory through apertures only, and may make no doorbells and sections.
    restricted = False

    def __init__(self, system: Any) -> None:
        self.system = system
        handle = ffi.new("void **")
        check(lib.HdvInitializeDeviceHost(system, handle), "HdvInitializeDeviceHost")
        self.handle: Any = handle[0]

    def create_device(self, register_file: Any, class_id: uuid.UUID, instance_id: uuid.UUID) -> Any:
        """Make a register file a device instance; returns its ``HDV_DEVICE``.

        Raises
        ------
        HdvError
            The (class, instance) pair, or the register file, is in use already (``ERROR_ALREADY_EXISTS``).
        """
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
