"""A device in a process of its own: :func:`serve` there, :class:`RemoteDevice` in the lab."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.device.description import DeviceDescription
from hdvlab.device.device import Device
from hdvlab.device.fault import Fault
from hdvlab.device.pluggable import CannotPeekError
from hdvlab.errors import HdvError, HResult, StateError, UsageError, check
from hdvlab.hdv import DeviceHost, ProxyDeviceHost
from hdvlab.hdv.structures import guid

#: How long a process may take to offer a device again that was unplugged, seconds; and how often it looks.
_AGAIN = 2.0
_LOOK = 0.02

#: Those that have a handle: one instance is in one slot.
_attached: weakref.WeakSet[RemoteDevice] = weakref.WeakSet()

#: For each machine's host: what was unplugged from it, and when. Its process is about to offer it again.
_given_back: weakref.WeakKeyDictionary[DeviceHost, dict[uuid.UUID, float]] = weakref.WeakKeyDictionary()


def _device_class(value: Any) -> type[Device]:
    if isinstance(value, type) and issubclass(value, Device) and value is not Device:
        return value
    raise UsageError(f"{value!r:.60} is no class of devices; give one that is derived from hdvlab.Device")


def _instance_id(given: uuid.UUID | None, cls: type[Device]) -> uuid.UUID:
    if given is not None and not isinstance(given, uuid.UUID):
        raise UsageError(f"instance_id is {given!r:.60}; it is a uuid.UUID, the same on both sides")
    return given or default_instance_id(cls)


def default_instance_id(cls: type[Device]) -> uuid.UUID:
    """The instance id that both sides take for a class when none is given: its class id's."""
    return uuid.uuid5(cls.class_id, "instance")


def _print_fault(fault: Fault) -> None:
    print(f"{fault}\n{fault.text}", file=sys.stderr)


def serve(
    device: Device | type[Device],
    path: str | os.PathLike[str],
    *,
    instance_id: uuid.UUID | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Be the process of a device: attach it to the machine behind ``path`` and return when that has gone.

    A device that is unplugged there is offered again, at its reset values. Where several processes serve the same
    instance, the machine takes the first that has it.

    Parameters
    ----------
    device : Device or subclass
        A class is instantiated without arguments.
    path : path
        Socket of a :class:`hdvlab.hdv.Broker` (``lab.broker(path)``).
    instance_id : UUID, optional
        What the slot names; made from the class when not given, as :class:`RemoteDevice` does.
    ready : callable
        Called once the machine can plug it in.
    """
    cls = _device_class(device if isinstance(device, type) else type(device))
    instance_id = _instance_id(instance_id, cls)
    one = device() if isinstance(device, type) else device
    name = cls.__name__.lower()
    with ProxyDeviceHost(path) as host:
        one.attach(host, instance_id, name, _print_fault)
        ready()
        gone_since = None
        while not host.wait(_LOOK):
            if one.plugged_in:
                gone_since = None
                continue
            gone_since = gone_since or time.monotonic()
            try:
                one.attach(host, instance_id, name, _print_fault)
            except HdvError:  # its Teardown is not over yet, or the machine is going
                if time.monotonic() > gone_since + _AGAIN:
                    raise
    one.join_work()


class RemoteDevice:
    """A device whose code runs in another process, to be plugged into a lab: ``lab.plug(RemoteDevice(Blink))``.

    Parameters
    ----------
    cls : Device subclass
        Its description. No instance of it is made here.
    instance_id : UUID, optional
        As the other process gave to :func:`serve`.
    """

    def __init__(self, cls: type[Device], instance_id: uuid.UUID | None = None) -> None:
        cls = _device_class(cls)
        self.description: DeviceDescription = cls.description
        self.type_name = cls.__name__
        self.class_id = cls.class_id
        self.vendor_id, self.device_id = cls.vendor_id, cls.device_id
        self.instance_id = _instance_id(instance_id, cls)
        #: What failed in its code is told in its own process; here it is the status of the rows.
        self.faults: list[Fault] = []
        self._handle: Any = None
        self._as: uuid.UUID | None = None
        self._host: weakref.ref[DeviceHost] | None = None

    def attach(self, host: DeviceHost, instance_id: uuid.UUID, name: str, report: Callable[[Fault], None]) -> Any:
        """Find it among the hosts of other processes; returns its ``HDV_DEVICE`` here."""
        out = ffi.new("void **")
        self._as, self._host = instance_id, weakref.ref(host)
        until = _given_back.get(host, {}).get(self.instance_id, -_AGAIN) + _AGAIN
        while True:
            hresult = lib.hdvlab_system_find(host.system, guid(self.class_id), guid(self.instance_id), out)
            if hresult != HResult.ERROR_NOT_FOUND.signed or time.monotonic() > until:
                break
            time.sleep(_LOOK)
        advice = (
            "no process has that device; call lab.broker(path), in its process hdvlab.device.serve(device, path), "
            "and wait for it here with broker.wait_for_host()"
        )
        check(hresult, f"find {name}", advice if hresult == HResult.ERROR_NOT_FOUND.signed else "")
        for other in list(_attached):
            if other._handle == out[0]:
                other.require_free()
        _attached.add(self)
        self._handle = out[0]
        return self._handle

    @property
    def plugged_in(self) -> bool:
        return self._handle is not None and lib.hdvlab_device_inside(self._handle) >= 0

    def require_free(self) -> None:
        """StateError if it is plugged in."""
        if self.plugged_in:
            raise StateError(f"{self.type_name} is plugged in already; serve another, with an instance id of its own")

    def detach(self, instance_id: uuid.UUID) -> None:
        """End its instance here; its process keeps it and may be plugged in again."""
        if self._as != instance_id:
            return
        if self._handle is not None:
            hresult = lib.hdvlab_device_end(self._handle)
            if hresult != HResult.E_HANDLE.signed:  # it has gone meanwhile
                check(hresult, f"unplug {self.type_name}", "this is a callback, or the machine's power changes")
            host = self._host() if self._host is not None else None
            if host is not None:
                _given_back.setdefault(host, {})[self.instance_id] = time.monotonic()
        self._handle = self._as = None
        _attached.discard(self)

    def peek(self, bar: int, offset: int, size: int) -> int:
        """There is no way to look at a register elsewhere without touching it."""
        raise CannotPeekError(
            "it runs in another process, where nothing looks at registers without touching them; use read",
            None,
            f"peek BAR{bar}+{offset:#x}/{size}",
        )

    def join_work(self, timeout: float = 1.0) -> list[threading.Thread]:
        """Its threads are its own process's."""
        return []

    def __repr__(self) -> str:
        return f"<{self.type_name} {self.vendor_id:04x}:{self.device_id:04x}, in another process>"
