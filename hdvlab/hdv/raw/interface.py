"""The ten callbacks of a PCI device, as Python callables, and the table they are given in.

Ref: HDV API, HDV_PCI_DEVICE_INTERFACE and the HDV_PCI_* callback types. The library calls one callback of a device at a
time, on the thread that carries the guest's access, with no lock of its own held; the guest waits for the answer.

What a callback returns: None, or an HRESULT as an int, where C returns HRESULT; the out parameters' values where there
are any. What it raises becomes its HRESULT (an ``HdvError``'s own, else ``E_UNEXPECTED``) and stands in the table's
``errors``. A read that failed gives the guest all ones, a write that failed is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from hdvlab._core import ffi
from hdvlab.errors import AccessError, DeviceError, HdvError, HResult
from hdvlab.hdv.callbacks import interface_slots
from hdvlab.hdv.constants import BarSelector, InterfaceVersion
from hdvlab.hdv.raw.arguments import enumerator
from hdvlab.hdv.raw.types import HDV_PCI_PNP_ID
from hdvlab.hdv.structures import PnpId

__all__ = [
    "HDV_PCI_DEVICE_GET_DETAILS",
    "HDV_PCI_DEVICE_INITIALIZE",
    "HDV_PCI_DEVICE_INTERFACE",
    "HDV_PCI_DEVICE_SET_CONFIGURATION",
    "HDV_PCI_DEVICE_START",
    "HDV_PCI_DEVICE_STOP",
    "HDV_PCI_DEVICE_TEARDOWN",
    "HDV_PCI_READ_CONFIG_SPACE",
    "HDV_PCI_READ_INTERCEPTED_MEMORY",
    "HDV_PCI_WRITE_CONFIG_SPACE",
    "HDV_PCI_WRITE_INTERCEPTED_MEMORY",
    "HdvPciDeviceGetDetails",
    "HdvPciDeviceInitialize",
    "HdvPciDeviceInterface",
    "HdvPciDeviceSetConfiguration",
    "HdvPciDeviceStart",
    "HdvPciDeviceStop",
    "HdvPciDeviceTeardown",
    "HdvPciReadConfigSpace",
    "HdvPciReadInterceptedMemory",
    "HdvPciWriteConfigSpace",
    "HdvPciWriteInterceptedMemory",
]

#: Errors that a table keeps; ``error_count`` counts them all. A guest may not make the host remember without end.
MAX_ERRORS = 100


class HDV_PCI_DEVICE_INITIALIZE(Protocol):
    """Power comes on, or the slot was hot-added; the first callback. A failure fails the start or the Add."""

    def __call__(self, deviceContext: Any, /) -> int | None: ...  # noqa: N803


class HDV_PCI_DEVICE_TEARDOWN(Protocol):
    """The last callback, exactly once for each instance; the context is the device's again afterwards."""

    def __call__(self, deviceContext: Any, /) -> None: ...  # noqa: N803


class HDV_PCI_DEVICE_SET_CONFIGURATION(Protocol):
    """Receives the slot's ``Configuration`` strings, in order; after Initialize, also when there are none."""

    def __call__(self, deviceContext: Any, configurationValues: list[str], /) -> int | None: ...  # noqa: N803


class HDV_PCI_DEVICE_GET_DETAILS(Protocol):
    """Returns the PnP id and what each BAR reads as after a write of all ones; 0 = no such BAR.

    At most ``probedBarsCount`` numbers of 32 bits; those that are left out are 0. May be called more than once.
    """

    def __call__(
        self,
        deviceContext: Any,  # noqa: N803
        probedBarsCount: int,  # noqa: N803
        /,
    ) -> tuple[HDV_PCI_PNP_ID | PnpId, Sequence[int]]: ...


class HDV_PCI_DEVICE_START(Protocol):
    """The guest is about to run. A failure fails the start or the Add."""

    def __call__(self, deviceContext: Any, /) -> int | None: ...  # noqa: N803


class HDV_PCI_DEVICE_STOP(Protocol):
    """The guest runs no more."""

    def __call__(self, deviceContext: Any, /) -> None: ...  # noqa: N803


class HDV_PCI_READ_CONFIG_SPACE(Protocol):
    """Returns the dword at ``offset`` bytes from the start of config space (a multiple of 4)."""

    def __call__(self, deviceContext: Any, offset: int, /) -> int: ...  # noqa: N803


class HDV_PCI_WRITE_CONFIG_SPACE(Protocol):
    """Takes the dword that was written at ``offset`` bytes; narrower writes are widened by the machine."""

    def __call__(self, deviceContext: Any, offset: int, value: int, /) -> int | None: ...  # noqa: N803


class HDV_PCI_READ_INTERCEPTED_MEMORY(Protocol):
    """Returns the ``length`` bytes (1, 2, 4 or 8; little-endian, or an int) at ``offset`` bytes from the BAR's start.

    A 64-bit BAR goes by the number of its lower half. Not called for pages that a section backs.
    """

    def __call__(
        self,
        deviceContext: Any,  # noqa: N803
        barIndex: BarSelector,  # noqa: N803
        offset: int,
        length: int,
        /,
    ) -> bytes | int: ...


class HDV_PCI_WRITE_INTERCEPTED_MEMORY(Protocol):
    """Takes the bytes (1, 2, 4 or 8, little-endian) written ``offset`` bytes from the BAR's start.

    Not called for writes that a doorbell takes, nor for pages that a section backs.
    """

    def __call__(
        self,
        deviceContext: Any,  # noqa: N803
        barIndex: BarSelector,  # noqa: N803
        offset: int,
        value: bytes,
        /,
    ) -> int | None: ...


@dataclass(eq=False)
class HDV_PCI_DEVICE_INTERFACE:
    """``HDV_PCI_DEVICE_INTERFACE``: the table that :func:`HdvCreateDeviceInstance` takes, and copies.

    Attributes
    ----------
    Version : InterfaceVersion
        ``HdvPciDeviceInterfaceVersion1``; others are refused (``E_INVALIDARG``).
    Initialize, Teardown, SetConfiguration, GetDetails, Start, Stop, ReadConfigSpace, WriteConfigSpace, \
ReadInterceptedMemory, WriteInterceptedMemory : callable
        The ten callbacks; the types ``HDV_PCI_*`` say what each is given and returns. One that is None is a NULL slot,
        which is refused (``E_INVALIDARG``). The first argument is the ``deviceContext`` of the instance.
    errors : list of (str, BaseException)
        Which callback failed, and with what; the first 100.
    error_count : int
        How often any has failed.
    """

    Version: int = InterfaceVersion.VERSION_1
    Initialize: HDV_PCI_DEVICE_INITIALIZE | None = None
    Teardown: HDV_PCI_DEVICE_TEARDOWN | None = None
    SetConfiguration: HDV_PCI_DEVICE_SET_CONFIGURATION | None = None
    GetDetails: HDV_PCI_DEVICE_GET_DETAILS | None = None
    Start: HDV_PCI_DEVICE_START | None = None
    Stop: HDV_PCI_DEVICE_STOP | None = None
    ReadConfigSpace: HDV_PCI_READ_CONFIG_SPACE | None = None
    WriteConfigSpace: HDV_PCI_WRITE_CONFIG_SPACE | None = None
    ReadInterceptedMemory: HDV_PCI_READ_INTERCEPTED_MEMORY | None = None
    WriteInterceptedMemory: HDV_PCI_WRITE_INTERCEPTED_MEMORY | None = None
    errors: list[tuple[str, BaseException]] = field(default_factory=list, init=False, repr=False)
    error_count: int = field(default=0, init=False)


HdvPciDeviceInitialize = HDV_PCI_DEVICE_INITIALIZE
HdvPciDeviceTeardown = HDV_PCI_DEVICE_TEARDOWN
HdvPciDeviceSetConfiguration = HDV_PCI_DEVICE_SET_CONFIGURATION
HdvPciDeviceGetDetails = HDV_PCI_DEVICE_GET_DETAILS
HdvPciDeviceStart = HDV_PCI_DEVICE_START
HdvPciDeviceStop = HDV_PCI_DEVICE_STOP
HdvPciReadConfigSpace = HDV_PCI_READ_CONFIG_SPACE
HdvPciWriteConfigSpace = HDV_PCI_WRITE_CONFIG_SPACE
HdvPciReadInterceptedMemory = HDV_PCI_READ_INTERCEPTED_MEMORY
HdvPciWriteInterceptedMemory = HDV_PCI_WRITE_INTERCEPTED_MEMORY
HdvPciDeviceInterface = HDV_PCI_DEVICE_INTERFACE

SLOTS = tuple(one.name for one in fields(HDV_PCI_DEVICE_INTERFACE) if one.init and one.name != "Version")

#: Instances whose Teardown has not come, by identity: the library has a pointer to each, whoever forgets them.
_instances: dict[int, Instance] = {}


def _status(answer: Any, name: str) -> int:
    """The HRESULT that a callback returned, as C's signed 32 bits."""
    if answer is None:
        return 0
    if isinstance(answer, bool) or not isinstance(answer, int) or not -(1 << 31) <= answer < 1 << 32:
        raise DeviceError(f"{name} returned {answer!r}; it is None or an HRESULT")
    return answer - (1 << 32) if answer >= 1 << 31 else int(answer)


class Instance:
    """An instance of a device whose table is Python's: what the library's context pointer points to."""

    def __init__(self, interface: HDV_PCI_DEVICE_INTERFACE, context: Any) -> None:
        self._interface = interface
        self._slots = {name: getattr(interface, name) for name in SLOTS}  # copied, as the library copies its table
        for name, slot in self._slots.items():
            if slot is not None and not callable(slot):
                raise AccessError(f"{name} is {slot!r:.60}, which cannot be called", None, "HdvCreateDeviceInstance")
        self._context = context
        self._guard = threading.Lock()
        self.pointer = ffi.new_handle(self)
        """The ``deviceContext`` of C."""

    def table(self) -> Any:
        """The C table; a callback that is None is NULL."""
        slots = interface_slots()
        given = {name: slots[name] for name in SLOTS if self._slots[name] is not None}
        return ffi.new(
            "HDV_PCI_DEVICE_INTERFACE *", {"Version": enumerator(self._interface.Version, "Version")} | given
        )

    def keep(self) -> None:
        """Until Teardown, whoever forgets the table."""
        _instances[id(self)] = self

    def forget(self) -> None:
        _instances.pop(id(self), None)

    # ---- what C calls, by way of hdv/callbacks.py --------------------------------------------------------------

    def on_failure(self, operation: str, error: BaseException) -> int:
        """Keep the error; return the HRESULT the callback ends with."""
        with self._guard:
            self._interface.error_count += 1
            if len(self._interface.errors) < MAX_ERRORS:
                self._interface.errors.append((operation, error))
        code = error.hresult if isinstance(error, HdvError) else int(HResult.E_UNEXPECTED)
        return code - (1 << 32) if code & 0x80000000 else HResult.E_UNEXPECTED.signed

    def step(self, name: str, *arguments: Any) -> int:
        """A callback without out parameters."""
        return _status(self._slots[name](self._context, *arguments), name)

    def teardown(self) -> None:
        try:
            self._slots["Teardown"](self._context)
        finally:
            self.forget()

    def get_details(self, pnp_id: Any, count: int, probed: Any) -> int:
        who, bars = self._slots["GetDetails"](self._context, count)
        bars = list(bars)
        if len(bars) > count:
            raise DeviceError(f"GetDetails returned {len(bars)} BARs; there are {count}")
        for index, bits in enumerate(bars + [0] * (count - len(bars))):
            if not 0 <= bits < 1 << 32:
                raise DeviceError(f"GetDetails returned {bits:#x} for BAR{index}; it has 32 bits")
            probed[index] = bits
        who.fill(pnp_id)
        return 0

    def read_config_space(self, offset: int, value: Any) -> int:
        answer = self._slots["ReadConfigSpace"](self._context, offset)
        if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < 1 << 32:
            raise DeviceError(f"ReadConfigSpace returned {answer!r}; it is an int of 32 bits")
        value[0] = answer
        return 0

    def read_intercepted_memory(self, bar: int, offset: int, length: int, value: Any) -> int:
        answer = self._slots["ReadInterceptedMemory"](self._context, BarSelector(bar), offset, length)
        if isinstance(answer, int) and not isinstance(answer, bool):
            if not 0 <= answer < 1 << 8 * length:
                raise DeviceError(f"ReadInterceptedMemory returned {answer:#x}, which does not fit {length} bytes")
            answer = answer.to_bytes(length, "little")
        if not isinstance(answer, bytes | bytearray) or len(answer) != length:
            raise DeviceError(f"ReadInterceptedMemory returned {answer!r}; it is {length} bytes, or an int")
        ffi.memmove(value, answer, length)
        return 0

    def write_intercepted_memory(self, bar: int, offset: int, length: int, value: Any) -> int:
        return self.step("WriteInterceptedMemory", BarSelector(bar), offset, bytes(ffi.buffer(value, length)))
