"""A device host whose machine is in another process: the device's side.

Ref: HDV API, HdvInitializeDeviceHostForProxy. The machine's side is :mod:`hdvlab.hdv.broker`.
"""

from __future__ import annotations

import os
import sys
import uuid
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, BackendError, GuestMemoryError, HResult, check
from hdvlab.hdv.host import DeviceHost
from hdvlab.hdv.memory import _check as check_memory
from hdvlab.hdv.memory import numbers
from hdvlab.hdv.structures import guid

#: How long one look for Ctrl-C is apart from the next while a process waits for its machine to go, milliseconds.
_SLICE_MS = 200
_ADVICE: dict[int, str] = {
    HResult.HCS_E_CONNECT_FAILED: "nobody listens there; first start the broker, for example lab.broker(path)",
    HResult.HCS_E_SERVICE_DISCONNECT: "the broker did not take this host, or its machine is off",
    HResult.E_ACCESSDENIED: "the socket is another user's",
    HResult.E_INVALIDARG: "a socket's path has at most 107 bytes",
    0xC0370030: "this process has a host for that VM already; tear it down, or give another vm_id",
}


class ProxyDeviceHost(DeviceHost):
    """An ``HDV_HOST`` whose machine is in the process that listens on ``path``. Devices attach to it as to any host.

    Such a host is restricted, as Windows' are: guest memory is reached through apertures only (``Device.dma_read`` and
    ``dma_write`` make one for each copy), doorbells and sections are the machine's owner to make.

    Callbacks come on a thread of their own for each device, one at a time. When the machine goes, every device gets
    Stop and Teardown.

    Parameters
    ----------
    path : path
        Socket of a :class:`hdvlab.hdv.Broker`.
    vm_id : UUID, optional
        Which VM it is for, where a broker serves several; there is one host for each in a process. Random by default.

    Raises
    ------
    BackendError
        Nobody listens, or the broker refuses; the message says which.
    """

    restricted = True

    def __init__(self, path: str | os.PathLike[str], vm_id: uuid.UUID | None = None) -> None:
        if sys.platform == "win32":
            raise BackendError("sockets carry proxies on Linux only", HResult.E_NOTIMPL)
        self.system = ffi.NULL
        self.vm_id = vm_id or uuid.uuid4()
        support = ffi.new("IVmDeviceHostSupport **")
        self._out = ffi.new("void **")
        path = os.path.expanduser(path)
        self._check(lib.hdvlab_proxy_connect(os.fsencode(path), support), f"connect to {path}")
        try:
            hresult = lib.HdvInitializeDeviceHostForProxy(guid(self.vm_id), support[0], self._out)
        finally:
            support[0].lpVtbl.Release(support[0])
        self._check(hresult, "HdvInitializeDeviceHostForProxy")

    @staticmethod
    def _check(hresult: int, operation: str) -> None:
        code = hresult & 0xFFFFFFFF
        if code & 0x80000000:
            advice = _ADVICE.get(code, "")
            symbol = HResult.symbol_of(code)
            raise BackendError(f"{advice} ({symbol})" if advice else symbol, code, operation)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the machine has gone and the devices have had their Teardown; Ctrl-C ends the wait.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever when not given.

        Returns
        -------
        bool
            Whether it has gone.
        """
        left = None if timeout is None else max(0, int(timeout * 1000))
        while True:
            slice_ms = _SLICE_MS if left is None else min(left, _SLICE_MS)
            hresult = lib.hdvlab_proxy_wait_machine(self.handle, slice_ms) & 0xFFFFFFFF
            if hresult != HResult.ERROR_TIMEOUT:
                check(hresult, "wait for the machine to go")
                return True
            if left is not None:
                left -= slice_ms
                if left <= 0:
                    return False

    def __enter__(self) -> ProxyDeviceHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.teardown()


def _through_aperture(device: Any, address: int, size: int, operation: str, data: Any = None) -> bytes:
    if not 0 <= address < 1 << 64:
        raise GuestMemoryError(f"{address:#x} is no guest-physical address of 64 bits", None, operation)
    if not 0 <= size < 1 << 32:
        raise AccessError(f"{size} bytes; one transfer has 0 to 4,294,967,295", None, operation)
    if not size:
        return b""
    mapped = ffi.new("void **")
    check_memory(lib.HdvCreateGuestMemoryAperture(device, address, size, data is None, mapped), operation)
    try:
        if data is None:
            return bytes(ffi.buffer(mapped[0], size))
        ffi.memmove(mapped[0], data, size)
        return b""
    finally:
        lib.HdvDestroyGuestMemoryAperture(device, mapped[0])


def read_through_aperture(device: Any, address: int, size: int) -> bytes:
    """As :func:`hdvlab.hdv.read_guest_memory`, for a device of a restricted host; the rows are an aperture's."""
    address, size = numbers(address=address, size=size)
    return _through_aperture(device, address, size, f"HdvCreateGuestMemoryAperture {address:#x}+{size:#x}")


def write_through_aperture(device: Any, address: int, data: bytes | bytearray | memoryview) -> None:
    """As :func:`hdvlab.hdv.write_guest_memory`, for a device of a restricted host; the rows are an aperture's."""
    size, (address,) = memoryview(data).nbytes, numbers(address=address)
    operation = f"HdvCreateGuestMemoryAperture {address:#x}+{size:#x}"
    _through_aperture(device, address, size, operation, ffi.from_buffer("uint8_t[]", data))
