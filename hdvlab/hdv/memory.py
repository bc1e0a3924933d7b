"""Guest memory and interrupts as a device reaches them.

Ref: HDV API, HdvReadGuestMemory, HdvWriteGuestMemory, HdvCreateGuestMemoryAperture, HdvDeliverGuestInterrupt.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, GuestMemoryError, HResult, StateError, check

_ADVICE: dict[int, str] = {
    HResult.E_ACCESSDENIED: "the driver has not enabled bus mastering (command register bit 2)",
    HResult.ERROR_NOACCESS: "the range is not wholly guest RAM",
    HResult.ERROR_ARITHMETIC_OVERFLOW: "the range wraps at 2^64",
    HResult.ERROR_INVALID_STATE: "the machine is not running",
    HResult.ERROR_NOT_ENOUGH_QUOTA: "too many apertures are open; close some",
}

#: Room that is not cleared, so a huge transfer that cannot succeed never touches it.
_room = ffi.new_allocator(should_clear_after_alloc=False)


def _check(hresult: int, operation: str) -> None:
    code = hresult & 0xFFFFFFFF
    if code == HResult.E_ACCESSDENIED:
        raise GuestMemoryError(f"{_ADVICE[code]} (E_ACCESSDENIED)", code, operation)
    check(hresult, operation, _ADVICE.get(code, ""))


def _range_check(address: int, size: int, operation: str) -> None:
    if not 0 <= address < 1 << 64:
        raise GuestMemoryError(f"{address:#x} is no guest-physical address of 64 bits", None, operation)
    if not 0 <= size < 1 << 32:
        raise AccessError(f"{size} bytes; one transfer has 0 to 4,294,967,295", None, operation)


def read_guest_memory(device: Any, address: int, size: int) -> bytes:
    """Copy ``size`` bytes of guest RAM from guest-physical ``address``; all or nothing.

    Raises
    ------
    GuestMemoryError
        Not wholly RAM (``ERROR_NOACCESS``), wraps (``ERROR_ARITHMETIC_OVERFLOW``), bus mastering off
        (``E_ACCESSDENIED``).
    StateError
        The machine is not running (``ERROR_INVALID_STATE``).
    """
    operation = f"HdvReadGuestMemory {address:#x}+{size:#x}"
    _range_check(address, size, operation)
    buffer = _room("uint8_t[]", max(size, 1))
    _check(lib.HdvReadGuestMemory(device, address, size, buffer), operation)
    return bytes(ffi.buffer(buffer, size))


def write_guest_memory(device: Any, address: int, data: bytes | bytearray | memoryview) -> None:
    """Copy ``data`` to guest RAM at guest-physical ``address``; all or nothing. Errors as for reads."""
    size = memoryview(data).nbytes  # len() counts items, which need not be bytes
    operation = f"HdvWriteGuestMemory {address:#x}+{size:#x}"
    _range_check(address, size, operation)
    _check(lib.HdvWriteGuestMemory(device, address, size, ffi.from_buffer("uint8_t[]", data)), operation)


def deliver_guest_interrupt(device: Any, address: int, data: int) -> None:
    """Send a message-signalled interrupt: ``data`` (32 bits) to guest-physical ``address``.

    Raises
    ------
    GuestMemoryError
        Outside the interrupt window 0xfee00000–0xfeefffff (``ERROR_NOACCESS``), bus mastering off.
    """
    operation = f"HdvDeliverGuestInterrupt {address:#x}={data:#x}"
    _range_check(address, 4, operation)
    _check(lib.HdvDeliverGuestInterrupt(device, address, data & 0xFFFFFFFF), operation)


class Aperture:
    """A live window on guest RAM: the same pages, not a copy.

    Its mapping and unmapping are rows; what is done through ``raw`` is not (a visible blind spot). ``read`` and
    ``write`` are rows like any other transfer.

    Parameters
    ----------
    device : cdata
        ``HDV_DEVICE``.
    address, size : int
        Guest-physical address and bytes.
    write_protected : bool
        Map for reading only, enforced by page protection.
    """

    def __init__(self, device: Any, address: int, size: int, write_protected: bool = False) -> None:
        operation = f"HdvCreateGuestMemoryAperture {address:#x}+{size:#x}"
        _range_check(address, size, operation)
        mapped = ffi.new("void **")
        _check(lib.HdvCreateGuestMemoryAperture(device, address, size, write_protected, mapped), operation)
        self._device = device
        self._mapped: Any = mapped[0]
        self.address = address
        self.size = size
        self.write_protected = write_protected

    def _at(self, offset: int, size: int) -> int:
        if self._mapped is None:
            raise StateError("the aperture is closed", None, "Aperture")
        if offset < 0 or size < 0 or offset + size > self.size:
            raise AccessError(f"{offset:#x}+{size:#x} is outside the aperture of {self.size:#x} bytes")
        return self.address + offset

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``; a ``dma_read`` row."""
        return read_guest_memory(self._device, self._at(offset, size), size)

    def write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at ``offset``; a ``dma_write`` row. Refused where the aperture is write-protected."""
        address = self._at(offset, memoryview(data).nbytes)
        if self.write_protected:
            raise GuestMemoryError("the aperture is write-protected (E_ACCESSDENIED)", HResult.E_ACCESSDENIED)
        write_guest_memory(self._device, address, data)

    @property
    def raw(self) -> memoryview:
        """The pages themselves: no rows. Not to be used after the aperture is closed or the device stopped."""
        self._at(0, 0)
        view = memoryview(ffi.buffer(self._mapped, self.size))
        return view.toreadonly() if self.write_protected else view

    def close(self) -> None:
        """Unmap; closing twice is nothing."""
        if self._mapped is not None:
            mapped, self._mapped = self._mapped, None
            hresult = lib.HdvDestroyGuestMemoryAperture(self._device, mapped)
            if hresult & 0xFFFFFFFF not in (HResult.E_HANDLE, HResult.ERROR_NOT_FOUND):  # gone with the device
                _check(hresult, "HdvDestroyGuestMemoryAperture")

    def __enter__(self) -> Aperture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
