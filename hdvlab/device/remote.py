"""A device in a process of its own: :func:`serve` there, :class:`RemoteDevice` in the lab."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.device.description import DeviceDescription
from hdvlab.device.device import Device
from hdvlab.device.fault import Fault
from hdvlab.device.pluggable import CannotPeekError
from hdvlab.errors import HResult, StateError, check
from hdvlab.hdv import DeviceHost, ProxyDeviceHost
from hdvlab.hdv.structures import guid


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
    one = device() if isinstance(device, type) else device
    with ProxyDeviceHost(path) as host:
        one.attach(host, instance_id or default_instance_id(type(one)), type(one).__name__.lower(), _print_fault)
        ready()
        host.wait()
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
        self.description: DeviceDescription = cls.description
        self.type_name = cls.__name__
        self.class_id = cls.class_id
        self.vendor_id, self.device_id = cls.vendor_id, cls.device_id
        self.instance_id = instance_id or default_instance_id(cls)
        #: What failed in its code is told in its own process; here it is the status of the rows.
        self.faults: list[Fault] = []
        self._handle: Any = None
        self._as: uuid.UUID | None = None

    def attach(self, host: DeviceHost, instance_id: uuid.UUID, name: str, report: Callable[[Fault], None]) -> Any:
        """Find it among the hosts of other processes; returns its ``HDV_DEVICE`` here."""
        out = ffi.new("void **")
        self._as = instance_id
        hresult = lib.hdvlab_system_find(host.system, guid(self.class_id), guid(self.instance_id), out)
        advice = (
            "no process has that device; in its process call hdvlab.device.serve(device, path), "
            "and wait for it here with broker.wait_for_host()"
        )
        check(hresult, f"find {name}", advice if hresult == HResult.ERROR_NOT_FOUND.signed else "")
        self._handle = out[0]
        return self._handle

    @property
    def plugged_in(self) -> bool:
        return self._handle is not None and lib.hdvlab_device_inside(self._handle) >= 0

    def require_free(self) -> None:
        """StateError if it is plugged in."""
        if self.plugged_in:
            raise StateError(
                f"{self.type_name} is plugged in already; serve another one, with an instance id of its own"
            )

    def detach(self, instance_id: uuid.UUID) -> None:
        """End its instance here; its process keeps it and may be plugged in again."""
        if self._as != instance_id:
            return
        if self._handle is not None:
            hresult = lib.hdvlab_device_end(self._handle)
            if hresult != HResult.E_HANDLE.signed:  # it has gone meanwhile
                check(
                    hresult, f"unplug {self.type_name}", "this is a callback, or the machine's power is being switched"
                )
        self._handle = self._as = None

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
