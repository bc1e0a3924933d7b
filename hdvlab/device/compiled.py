"""A device that was compiled: a shared object written against ``hdvlab_device.h``, in the place of a Python class."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.device.compiler import Compiled
from hdvlab.device.fault import Fault
from hdvlab.device.pluggable import CannotPeekError
from hdvlab.device.shared_object import CompiledLayout, SharedObject, layout_of, uuid_of
from hdvlab.errors import DeviceError, HResult, StateError, check
from hdvlab.hdv import DeviceHost, PnpId
from hdvlab.hdv.structures import guid

#: Devices whose code the library may still call, whoever forgets them.
_attached: dict[int, CompiledDevice] = {}


class CompiledDevice:
    """A device in a shared object. Fulfils :class:`hdvlab.device.Pluggable`.

    Parameters
    ----------
    path : path
        A shared object that exports ``HdvlabPlugDevice``; see ``hdvlab_device.h``.

    Attributes
    ----------
    faults : list of Fault
        Always empty: what C code answers with is in the rows' ``status``.

    Raises
    ------
    UsageError
        There is no such file.
    DeviceError
        It cannot be loaded, or is no device; the message says what to do.

    Notes
    -----
    Its code runs in this process: what crashes it, crashes the notebook's kernel. The trace is whole up to there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._object = SharedObject(self.path)
        self._handle: Any = None
        self._instance_id: uuid.UUID | None = None
        self._layout = CompiledLayout()
        self._pnp_id = PnpId(0, 0)
        self._class_id = uuid.UUID(int=0)
        self.faults: list[Fault] = []
        self.compiled: Compiled | None = None
        """What hdvlab compiled it from, if it did: the source stays as long as the device, for debuggers."""
        info = self._object.info
        if info is not None:
            self._layout, self._pnp_id, self._class_id = info.layout, info.pnp_id, info.class_id

    @property
    def type_name(self) -> str:
        """The name that its ``HdvlabDevice`` gives, else the file's."""
        info = self._object.info
        name = info.name if info is not None else self.path.stem
        return "".join(letter if letter.isalnum() else "_" for letter in name)

    @property
    def class_id(self) -> uuid.UUID:
        return self._class_id

    @property
    def vendor_id(self) -> int:
        return self._known()._pnp_id.vendor_id

    @property
    def device_id(self) -> int:
        return self._known()._pnp_id.device_id

    @property
    def description(self) -> CompiledLayout:
        """BARs and registers: from its ``HdvlabDevice``, else from what GetDetails answered, without names."""
        return self._known()._layout

    def _known(self) -> CompiledDevice:
        """Itself, with what GetDetails has answered where nothing else tells."""
        if self._object.info is None and self._handle is not None and not self._layout.bars:
            details = ffi.new("HDVLAB_DEVICE_DETAILS *")
            if lib.hdvlab_device_details(self._handle, details) == 0 and details.pnp_id.VendorID:
                self._pnp_id = PnpId(details.pnp_id.VendorID, details.pnp_id.DeviceID)
                self._layout = layout_of(list(details.probed_bars))
        return self

    def attach(self, host: DeviceHost, instance_id: uuid.UUID, name: str, report: Callable[[Fault], None]) -> Any:
        """Have it make an instance in ``host``; returns its ``HDV_DEVICE``.

        Raises
        ------
        HdvError
            What its ``HdvlabPlugDevice`` failed with.
        DeviceError
            It succeeded but made no instance, or one with other ids.
        """
        self.require_free()
        out = ffi.new("void **")
        _attached[id(self)] = self
        self._instance_id = instance_id
        try:
            check(
                self._object.plug(host.handle, guid(instance_id), out),
                f"HdvlabPlugDevice of {self.path.name}",
                "the device's own code answered that",
            )
            self._handle = out[0]
            self._check_instance(instance_id)
        except BaseException:
            self._handle = out[0] or None  # also when Ctrl-C came between the two
            self.join_work()
            raise
        return self._handle

    @property
    def plugged_in(self) -> bool:
        return self._handle is not None and self._is_alive()

    def require_free(self) -> None:
        """StateError if it is plugged in."""
        if self.plugged_in:
            raise StateError(f"{self.path.name} is plugged in already; load it once more for a second device")

    def detach(self, instance_id: uuid.UUID) -> None:
        """End the instance that :meth:`attach` made; see :meth:`hdvlab.device.Pluggable.detach`."""
        if self._instance_id != instance_id:
            return
        if self._is_alive():
            hresult = lib.hdvlab_device_end(self._handle)
            if hresult != HResult.E_HANDLE.signed:  # it ended meanwhile
                check(hresult, f"unplug {self.type_name}", "this is a callback, or the machine's power is being switched")
        self._instance_id = None
        self.join_work()

    def _check_instance(self, instance_id: uuid.UUID) -> None:
        details = ffi.new("HDVLAB_DEVICE_DETAILS *")
        where = f"HdvlabPlugDevice of {self.path.name}"
        if lib.hdvlab_device_details(self._handle, details) != 0:
            raise DeviceError("it returned S_OK but no device; hand on what HdvCreateDeviceInstance gave", None, where)
        if uuid_of(details.instance_id) != instance_id:
            raise DeviceError("its instance has another id; pass on the instanceId it is given", None, where)
        made = uuid_of(details.class_id)
        if self._object.info is not None and made != self._object.info.class_id:
            raise DeviceError("its instance has another class; pass &HdvlabDevice.ClassId", None, where)
        self._class_id = made

    def peek(self, bar: int, offset: int, size: int) -> int:
        """What its own ``Peek`` says, from 1, 2, 4 or 8 bytes.

        Raises
        ------
        CannotPeekError
            It has none: HDV itself knows no way to look at a device without touching it.
        AccessError, HdvError
            What its ``Peek`` answered.
        StateError
            The machine is off.
        """
        info = self._object.info
        operation = f"peek BAR{bar}+{offset:#x}/{size}"
        if info is None or info.peek is None:
            raise CannotPeekError(
                f"{self.type_name} cannot be looked at without touching it, for HDV has no such call; give its "
                "HdvlabDevice a Peek function, or use read",
                None,
                operation,
            )
        if self._handle is None:
            raise StateError("the machine is off; start it: lab.start() or %hdv start", None, operation)
        value = ffi.new("uint64_t *")
        hresult = lib.hdvlab_device_peek(self._handle, info.peek, bar, offset, size, value)
        outside = hresult == HResult.E_INVALIDARG.signed
        check(hresult, operation, "outside the BAR, or of a size it does not take" if outside else "no register there")
        return int(value[0])

    def _is_alive(self) -> bool:
        """Whether the library may still call its code."""
        details = ffi.new("HDVLAB_DEVICE_DETAILS *")
        return self._handle is not None and lib.hdvlab_device_details(self._handle, details) == 0

    def join_work(self, timeout: float = 1.0) -> list[threading.Thread]:
        """Its code may be unloaded from here on. Its threads are its own: they have ended with its Teardown."""
        if not self._is_alive():
            self._handle = None
            _attached.pop(id(self), None)
        return []

    def __repr__(self) -> str:
        state = "plugged in" if self._handle is not None else "not plugged in"
        return f"<{self.type_name} {self.vendor_id:04x}:{self.device_id:04x} from {self.path.name}, {state}>"
