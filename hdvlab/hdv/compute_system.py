"""Compute systems: virtual machines by document, as the Host Compute System makes them.

Ref: HCS API, HcsCreateComputeSystem and the calls that go with it; "JSON Schema Reference" of HCS.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HdvError, HResult, check
from hdvlab.hdv.structures import guid, wide, wide_string

#: How long a call waits at a time for its result, milliseconds; in between, Ctrl-C gets through.
_PATIENCE_MS = 100


def instance_id(key: str) -> uuid.UUID:
    """The instance id that a key of ``FlexibleIov`` stands for.

    A key that is a GUID stands for itself, any other for its UUID version 5 in the namespace of flexible I/O devices,
    ``a8679153-843f-467f-ad7e-f429328f7568``.
    """
    result = ffi.new("GUID *")
    check(lib.hdvlab_instance_id(wide(key), result), "instance_id")
    return uuid.UUID(bytes_le=bytes(ffi.buffer(result)))


def _take(document: Any) -> str:
    """The text of a result document, which is freed; empty where there is none."""
    if not document[0]:
        return ""
    try:
        return wide_string(document[0])
    finally:
        lib.LocalFree(document[0])


def _message(document: str) -> str:
    """What an error document says."""
    try:
        return str(json.loads(document)["ErrorMessage"])
    except (ValueError, KeyError, TypeError):
        return ""


def _text(document: Mapping[str, Any] | str) -> Any:
    return wide(document if isinstance(document, str) else json.dumps(document))


def _call(name: str, function: Callable[[Any], int]) -> str:
    """Make one tracked call and wait for its result; returns the result document.

    Raises
    ------
    HdvError
        The call or its operation failed; the message is that of the error document.
    """
    operation = lib.HcsCreateOperation(ffi.NULL, ffi.NULL)
    if not operation:
        raise HdvError("out of memory", HResult.E_OUTOFMEMORY, name)
    document = ffi.new("uint16_t **")
    try:
        hresult = function(operation)
        if hresult >= 0:
            timed_out = HResult.HCS_E_OPERATION_TIMEOUT.signed
            while (hresult := lib.HcsWaitForOperationResult(operation, _PATIENCE_MS, document)) == timed_out:
                pass
        else:
            lib.HcsGetOperationResult(operation, document)
    finally:
        lib.HcsCloseOperation(operation)
    text = _take(document)
    check(hresult, name, _message(text) if hresult < 0 else "")
    return text


class ComputeSystem:
    """A compute system: an embedded machine that a JSON document describes, with an id.

    Made by :meth:`create` or :meth:`open`. As a context manager it closes its handle at the end; the system itself
    lives on until it is shut down or terminated, unless the document says ``ShouldTerminateOnLastHandleClosed``.

    Every method that changes the system waits for the result, and raises what HCS answers:
    :class:`~hdvlab.errors.DocumentError` for a document (``HCS_E_INVALID_JSON``, the message names the field),
    :class:`~hdvlab.errors.StateError` for a call that the state does not allow (``HCS_E_INVALID_STATE``,
    ``HCS_E_SYSTEM_ALREADY_STOPPED``), :class:`~hdvlab.errors.HandleError` after :meth:`close`.
    """

    def __init__(self, handle: Any, system_id: str) -> None:
        #: ``HCS_SYSTEM``, for :class:`~hdvlab.hdv.DeviceHost` and the functions of the guest's side.
        self.handle = handle
        self.id = system_id

    @classmethod
    def create(cls, system_id: str, document: Mapping[str, Any] | str) -> ComputeSystem:
        """A new system, in state ``Created``.

        Parameters
        ----------
        system_id : str
            Its id in this process. One that is taken is ``HCS_E_SYSTEM_ALREADY_EXISTS``.
        document : mapping or str
            ``ComputeSystem`` document, as a dictionary or as JSON text.
        """
        out, text = ffi.new("void **"), _text(document)

        def call(operation: Any) -> int:
            return int(lib.HcsCreateComputeSystem(wide(system_id), text, operation, ffi.NULL, out))

        _call("HcsCreateComputeSystem", call)
        return cls(out[0], system_id)

    @classmethod
    def open(cls, system_id: str) -> ComputeSystem:
        """One more handle to a system that is not stopped, else ``HCS_E_SYSTEM_NOT_FOUND``."""
        out = ffi.new("void **")
        hresult = lib.HcsOpenComputeSystem(wide(system_id), 0x1000_0000, out)
        gone = hresult == HResult.HCS_E_SYSTEM_NOT_FOUND.signed
        advice = f"no system {system_id!r} of this process is there; ComputeSystem.enumerate() lists those that are"
        check(hresult, "HcsOpenComputeSystem", advice if gone else repr(system_id))
        return cls(out[0], system_id)

    @staticmethod
    def enumerate() -> list[dict[str, Any]]:
        """The properties of every system of this process that is not stopped."""
        text = _call("HcsEnumerateComputeSystems", lambda op: int(lib.HcsEnumerateComputeSystems(ffi.NULL, op)))
        systems: list[dict[str, Any]] = json.loads(text)
        return systems

    def _do(self, name: str) -> None:
        _call(name, lambda operation: int(getattr(lib, name)(self.handle, operation, ffi.NULL)))

    def start(self) -> None:
        """Power the devices on and start them; a failure is a device's own HRESULT, or ``E_UNEXPECTED``."""
        self._do("HcsStartComputeSystem")

    def pause(self) -> None:
        """Let guest accesses to devices wait; none is in a device when this returns."""
        self._do("HcsPauseComputeSystem")

    def resume(self) -> None:
        """Let them go on."""
        self._do("HcsResumeComputeSystem")

    def shut_down(self) -> None:
        """Stop a running system in good order. It has no guest operating system that could be asked."""
        self._do("HcsShutDownComputeSystem")

    def terminate(self) -> None:
        """Stop the system, whatever its state."""
        self._do("HcsTerminateComputeSystem")

    def modify(self, request: Mapping[str, Any] | str) -> None:
        """Apply a ``ModifySettingRequest``, as a dictionary or as JSON text."""
        text = _text(request)
        name = "HcsModifyComputeSystem"
        _call(name, lambda operation: int(lib.HcsModifyComputeSystem(self.handle, operation, text, ffi.NULL)))

    def add_device(
        self,
        key: str,
        emulator_id: uuid.UUID | str,
        configuration: Sequence[str] = (),
        hosting_model: str = "External",
    ) -> None:
        """Hot-plug a device whose instance a host has made.

        Parameters
        ----------
        key : str
            Its instance id, or a name: see :func:`instance_id`.
        emulator_id : UUID or str
            Its class id.
        configuration : sequence of str
            What its SetConfiguration gets.
        hosting_model : str
            ``External``, or ``ExternalRestricted`` for the host of another process.
        """
        settings = {"EmulatorId": str(emulator_id), "HostingModel": hosting_model, "Configuration": list(configuration)}
        path = f"VirtualMachine/Devices/FlexibleIov/{key}"
        self.modify({"ResourcePath": path, "RequestType": "Add", "Settings": settings})

    def properties(self, *property_types: str) -> dict[str, Any]:
        """``Id``, ``State``, ``Owner``, ``RuntimeId`` and others; ``"Memory"`` adds ``Memory`` (4 KiB pages)."""
        query = _text({"PropertyTypes": list(property_types)})
        name = "HcsGetComputeSystemProperties"
        text = _call(name, lambda operation: int(lib.HcsGetComputeSystemProperties(self.handle, operation, query)))
        properties: dict[str, Any] = json.loads(text)
        return properties

    def slot(self, key: uuid.UUID | str) -> int:
        """Number of the slot that an instance id, or a key of ``FlexibleIov``, stands for."""
        instance = key if isinstance(key, uuid.UUID) else instance_id(key)
        slot = ffi.new("uint32_t *")
        hresult = lib.hdvlab_system_slot(self.handle, guid(instance), slot)
        gone = hresult == HResult.ERROR_NOT_FOUND.signed
        check(hresult, f"slot of {key}", "its document has no such key of FlexibleIov" if gone else "")
        return int(slot[0])

    def place_bars(self, slot: int) -> list[int]:
        """Place the BARs of a slot as firmware does; returns the guest-physical address of each, 0 for none."""
        addresses = ffi.new("uint64_t[6]")
        check(lib.hdvlab_guest_place_bars(self.handle, slot, addresses), f"place_bars of slot {slot}")
        return [int(address) for address in addresses]

    def record(self, trace: Any) -> None:
        """Record into ``trace`` (``HDVLAB_TRACE``); before the start."""
        check(lib.hdvlab_system_record(self.handle, trace), "hdvlab_system_record")

    def close(self) -> None:
        """Close the handle; closing twice is nothing."""
        lib.HcsCloseComputeSystem(self.handle)

    def __repr__(self) -> str:
        try:
            state = self.properties()["State"]
        except HdvError as error:
            state = "closed" if error.hresult == HResult.E_HANDLE else error.symbol
        return f"<compute system {self.id!r}, {state}>"

    def __enter__(self) -> ComputeSystem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
