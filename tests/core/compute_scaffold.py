"""Compute systems and operations, straight from the library; codes are :class:`HResult` as in ``scaffold``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid, wide, wide_string

from .scaffold import CLASS_ID, DEADLINE, S_OK, CallbackDevice, code

#: Milliseconds within which what must happen happens.
LONG = int(DEADLINE * 1000)

BEGINNING = ["initialize", "set_configuration", "get_details", "start"]
#: Namespace that names of devices are hashed in.
FLEXIBLE_IO = uuid.UUID("a8679153-843f-467f-ad7e-f429328f7568")

Result = tuple[int, Any]
"""HRESULT of an operation, and its document as Python data: None where there is none."""


def slot_entry(hosting_model: str | None = "External", configuration: Sequence[str] | None = None) -> dict[str, Any]:
    """A FlexibleIov entry of the test devices' class."""
    entry: dict[str, Any] = {"EmulatorId": str(CLASS_ID)}
    if hosting_model is not None:
        entry["HostingModel"] = hosting_model
    if configuration is not None:
        entry["Configuration"] = list(configuration)
    return entry


def document(slots: dict[str, Any] | None = None, megabytes: int = 1, **fields: Any) -> dict[str, Any]:
    """A ComputeSystem document."""
    memory = {"Memory": {"SizeInMB": megabytes}}
    return {"VirtualMachine": {"ComputeTopology": memory, "Devices": {"FlexibleIov": slots or {}}}, **fields}


class Operation:
    """An HCS_OPERATION; closed at the end of the block."""

    def __init__(self, callback: Callable[[Any], None] | None = None) -> None:
        self.errors: list[BaseException] = []

        def completed(handle: Any, _: Any) -> None:
            try:
                assert callback is not None
                callback(handle)
            except BaseException as error:
                self.errors.append(error)

        self._completed = ffi.callback("void(void *, void *)", completed) if callback else ffi.NULL
        self.handle = lib.HcsCreateOperation(ffi.NULL, self._completed)
        assert self.handle != ffi.NULL

    def take(self, function: Callable[[Any], int]) -> Result:
        out = ffi.new("uint16_t **")
        hresult = code(function(out))
        text = wide_string(out[0]) if out[0] else None
        lib.LocalFree(out[0])
        return hresult, None if text is None else json.loads(text)

    def result(self) -> Result:
        return self.take(lambda out: lib.HcsGetOperationResult(self.handle, out))

    def wait(self, timeout_ms: int = LONG) -> Result:
        return self.take(lambda out: lib.HcsWaitForOperationResult(self.handle, timeout_ms, out))

    def __enter__(self) -> Operation:
        return self

    def __exit__(self, *_: object) -> None:
        lib.HcsCloseOperation(self.handle)
        if self.errors:
            raise self.errors[0]


def call(function: Callable[[Any], int]) -> Result:
    """Make a tracked call, wait for it: what the call or the operation answered, and the document."""
    with Operation() as operation:
        hresult = code(function(operation.handle))
        return operation.wait() if hresult == S_OK else (hresult, operation.result()[1])


class System:
    """A compute system, its host and devices. ``close`` terminates it and raises what hooks of its devices raised."""

    def __init__(self, content: dict[str, Any] | str | None = None, system_id: str | None = None) -> None:
        self.id = system_id or str(uuid.uuid4())
        self.devices: list[CallbackDevice] = []
        out = ffi.new("void **")
        text = wide(content if isinstance(content, str) else json.dumps(content or document()))
        self.created = call(lambda op: lib.HcsCreateComputeSystem(wide(self.id), text, op, ffi.NULL, out))
        self.handle = out[0]
        self.host = ffi.NULL
        if self.created[0] == S_OK:
            assert code(lib.HdvInitializeDeviceHost(self.handle, out)) == S_OK
            self.host = out[0]

    @classmethod
    def with_devices(cls, *devices: CallbackDevice, **fields: Any) -> System:
        """Created, with the devices' instances made and in slots of their instance ids."""
        system = cls(document({str(device.instance_id): slot_entry() for device in devices}, **fields))
        assert system.created == (S_OK, None)
        for device in devices:
            system.plug(device)
        return system

    def plug(self, device: CallbackDevice) -> CallbackDevice:
        """Make its instance."""
        assert device.create(self.host) == S_OK
        self.devices.append(device)
        return device

    def do(self, name: str) -> Result:
        """``start``, ``pause``, ``resume``, ``terminate``, ``shut_down``."""
        function = getattr(lib, f"Hcs{''.join(map(str.capitalize, name.split('_')))}ComputeSystem")
        return call(lambda op: function(self.handle, op, ffi.NULL))

    def modify(self, request: Any) -> Result:
        text = wide(request if isinstance(request, str) else json.dumps(request))
        return call(lambda op: lib.HcsModifyComputeSystem(self.handle, op, text, ffi.NULL))

    def add(self, key: str, **entry: Any) -> Result:
        path = f"VirtualMachine/Devices/FlexibleIov/{key}"
        return self.modify({"ResourcePath": path, "RequestType": "Add", "Settings": slot_entry(**entry)})

    def properties(self, query: Any = None) -> Result:
        text = ffi.NULL if query is None else wide(json.dumps(query))
        return call(lambda op: lib.HcsGetComputeSystemProperties(self.handle, op, text))

    def state(self) -> str:
        hresult, properties = self.properties()
        assert hresult == S_OK
        return str(properties["State"])

    def slot(self, instance: uuid.UUID) -> tuple[int, int]:
        slot = ffi.new("uint32_t *")
        return code(lib.hdvlab_system_slot(self.handle, guid(instance), slot)), int(slot[0])

    def place(self, slot: int = 0) -> list[int]:
        addresses = ffi.new("uint64_t[6]")
        assert code(lib.hdvlab_guest_place_bars(self.handle, slot, addresses)) == S_OK
        return [int(address) for address in addresses]

    def read(self, address: int, size: int = 4, origin: int = 0, wait_ms: int = 0) -> tuple[int, int]:
        access = ffi.new("HDVLAB_ACCESS *", {"origin": origin, "wait_ms": wait_ms})
        value = ffi.new("uint64_t *")
        return code(lib.hdvlab_guest_read(self.handle, access, address, size, value)), int(value[0])

    def write(self, address: int, value: int, size: int = 4, wait_ms: int = 0) -> int:
        access = ffi.new("HDVLAB_ACCESS *", {"wait_ms": wait_ms})
        return code(lib.hdvlab_guest_write(self.handle, access, address, size, value))

    def close(self) -> None:
        if self.created[0] == S_OK:
            self.do("terminate")
            assert code(lib.HdvTeardownDeviceHost(self.host)) in (S_OK, HResult.E_HANDLE)
            lib.HcsCloseComputeSystem(self.handle)
        for device in self.devices:
            if device.errors:
                raise device.errors[0]

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def running(*devices: CallbackDevice, **fields: Any) -> System:
    """Started, with the devices in it."""
    system = System.with_devices(*devices, **fields)
    assert system.do("start") == (S_OK, None)
    return system


def open_system(system_id: str) -> tuple[int, Any]:
    """One more handle to a system."""
    out = ffi.new("void **")
    return code(lib.HcsOpenComputeSystem(wide(system_id), 0, out)), out[0]
