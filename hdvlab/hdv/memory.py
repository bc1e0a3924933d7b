"""Guest memory and interrupts as a device reaches them.

Ref: HDV API, HdvReadGuestMemory, HdvWriteGuestMemory, HdvCreateGuestMemoryAperture, HdvDeliverGuestInterrupt.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from types import TracebackType
from typing import Any, overload

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


def numbers(**given: Any) -> tuple[int, ...]:
    """Integers, before anything else is done with them; numpy's are taken."""
    for name, value in given.items():
        if not hasattr(value, "__index__"):
            raise AccessError(f"{name} is {value!r:.60}; it is an integer")
    return tuple(map(operator.index, given.values()))


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
    address, size = numbers(address=address, size=size)
    operation = f"HdvReadGuestMemory {address:#x}+{size:#x}"
    _range_check(address, size, operation)
    buffer = _room("uint8_t[]", max(size, 1))
    _check(lib.HdvReadGuestMemory(device, address, size, buffer), operation)
    return bytes(ffi.buffer(buffer, size))


def write_guest_memory(device: Any, address: int, data: bytes | bytearray | memoryview) -> None:
    """Copy ``data`` to guest RAM at guest-physical ``address``; all or nothing. Errors as for reads."""
    size = memoryview(data).nbytes  # len() counts items, which need not be bytes
    (address,) = numbers(address=address)
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
    address, data = numbers(address=address, data=data)
    operation = f"HdvDeliverGuestInterrupt {address:#x}={data:#x}"
    _range_check(address, 4, operation)
    _check(lib.HdvDeliverGuestInterrupt(device, address, data & 0xFFFFFFFF), operation)


def map_aperture(device: Any, address: int, size: int, write_protected: bool) -> Any:
    """Map guest RAM; returns its address (cffi ``void *``). See :class:`Aperture`."""
    address, size = numbers(address=address, size=size)
    operation = f"HdvCreateGuestMemoryAperture {address:#x}+{size:#x}"
    _range_check(address, size, operation)
    mapped = ffi.new("void **")
    hresult = lib.HdvCreateGuestMemoryAperture(device, address, size, bool(write_protected), mapped)
    if hresult < 0 and not size:
        check(hresult, operation, "an aperture has at least 1 byte")
    _check(hresult, operation)
    return mapped[0]


def live_view(device: Any, mapped: Any, size: int, write_protected: bool) -> memoryview:
    """The bytes of an aperture, whose address stays good as long as the view is kept.

    Raises
    ------
    StateError
        The aperture has ended.
    """
    hold = ffi.new("void **")
    if lib.hdvlab_aperture_hold(device, mapped, hold) < 0:
        raise StateError("the aperture is closed", None, "Aperture")
    release, handle = lib.hdvlab_aperture_release, hold[0]
    view = memoryview(ffi.buffer(ffi.gc(mapped, lambda _: release(handle)), size))
    return view.toreadonly() if write_protected else view


class Aperture:
    """A live window on guest RAM: the same pages, not a copy.

    A buffer of bytes whose accesses are rows: ``aperture[0:16]`` is one ``dma_read``, ``aperture[4] = 7`` and
    ``aperture[0:4] = b"ABCD"`` are one ``dma_write`` each, ``for byte in aperture`` and ``bytes(aperture)`` are one
    ``dma_read`` of all of it. Negative places count from the end; places outside raise AccessError, also in slices.
    :meth:`read_u32` and its like are little-endian numbers.

    Its mapping and unmapping are rows; what is done through :attr:`raw` is not (a visible blind spot).

    The guest may change the bytes between two reads: take a copy (``aperture[0:16]``), check the copy, use the copy.

    Parameters
    ----------
    device : cdata
        ``HDV_DEVICE``.
    address, size : int
        Guest-physical address and bytes.
    write_protected : bool
        Map for reading only, enforced by page protection.
    elsewhere : bool
        The machine is in another process: accesses reach the pages directly, and their rows are the mapping's alone.
    """

    def __init__(
        self, device: Any, address: int, size: int, write_protected: bool = False, *, elsewhere: bool = False
    ) -> None:
        self._device = device
        self._elsewhere = elsewhere
        self._mapped: Any = map_aperture(device, address, size, write_protected)
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
        address = self._at(offset, size)
        if self._elsewhere:
            return bytes(self.raw[offset : offset + size])
        return read_guest_memory(self._device, address, size)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` at ``offset``; a ``dma_write`` row. Refused where the aperture is write-protected."""
        address = self._at(offset, memoryview(data).nbytes)
        if self.write_protected:
            raise GuestMemoryError("the aperture is write-protected (E_ACCESSDENIED)", HResult.E_ACCESSDENIED)
        if self._elsewhere:
            self.raw[offset : offset + memoryview(data).nbytes] = memoryview(data).cast("B")
        else:
            write_guest_memory(self._device, address, data)

    def __len__(self) -> int:
        return self.size

    def _range(self, key: int | slice) -> tuple[int, int]:
        """Offset and bytes of an index or slice; nothing is cut to fit."""
        if not isinstance(key, slice):
            place = operator.index(key)
            return place + self.size if place < 0 else place, 1
        if key.step not in (None, 1):
            raise AccessError(f"a slice of an aperture is a run of bytes, without a step of {key.step}")
        start = 0 if key.start is None else operator.index(key.start)
        stop = self.size if key.stop is None else operator.index(key.stop)
        start, stop = (place + self.size if place < 0 else place for place in (start, stop))
        return start, stop - start

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        data = self.read(*self._range(key))
        return data if isinstance(key, slice) else data[0]

    @overload
    def __setitem__(self, key: int, value: int) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: bytes | bytearray | memoryview) -> None: ...
    def __setitem__(self, key: int | slice, value: int | bytes | bytearray | memoryview) -> None:
        offset, size = self._range(key)
        if isinstance(key, slice):
            data = memoryview(value).cast("B")  # type: ignore[arg-type] # an int has no buffer, which it says
            if len(data) != size:
                raise AccessError(f"{len(data)} bytes do not fit {offset:#x}+{size:#x}; an aperture keeps its size")
            self.write(offset, data)
        else:
            self._write_number(offset, operator.index(value), 1)  # type: ignore[arg-type] # as above

    def __iter__(self) -> Iterator[int]:
        return iter(self.read(0, self.size))

    def __bytes__(self) -> bytes:
        return self.read(0, self.size)

    def _write_number(self, offset: int, value: int, size: int) -> None:
        if not 0 <= value < 1 << 8 * size:
            raise AccessError(f"{value:#x} does not fit {size} byte{'s' if size > 1 else ''}")
        self.write(offset, value.to_bytes(size, "little"))

    def read_u8(self, offset: int) -> int:
        """The byte at ``offset``; a ``dma_read`` row."""
        return self.read(offset, 1)[0]

    def read_u16(self, offset: int) -> int:
        """The 2 bytes at ``offset``, little-endian; a ``dma_read`` row."""
        return int.from_bytes(self.read(offset, 2), "little")

    def read_u32(self, offset: int) -> int:
        """The 4 bytes at ``offset``, little-endian; a ``dma_read`` row."""
        return int.from_bytes(self.read(offset, 4), "little")

    def read_u64(self, offset: int) -> int:
        """The 8 bytes at ``offset``, little-endian; a ``dma_read`` row."""
        return int.from_bytes(self.read(offset, 8), "little")

    def write_u8(self, offset: int, value: int) -> None:
        """Write 1 byte at ``offset``; a ``dma_write`` row. AccessError where it does not fit."""
        self._write_number(offset, value, 1)

    def write_u16(self, offset: int, value: int) -> None:
        """Write 2 bytes at ``offset``, little-endian; a ``dma_write`` row. AccessError where it does not fit."""
        self._write_number(offset, value, 2)

    def write_u32(self, offset: int, value: int) -> None:
        """Write 4 bytes at ``offset``, little-endian; a ``dma_write`` row. AccessError where it does not fit."""
        self._write_number(offset, value, 4)

    def write_u64(self, offset: int, value: int) -> None:
        """Write 8 bytes at ``offset``, little-endian; a ``dma_write`` row. AccessError where it does not fit."""
        self._write_number(offset, value, 8)

    @property
    def raw(self) -> memoryview:
        """The pages themselves: no rows, no copy, volatile.

        A view that is kept past the aperture's end reads zeros; what is written there goes nowhere.
        Not so where another HDV library has mapped it (Hyper-V): there a view must not outlive the aperture.
        """
        self._at(0, 0)
        return live_view(self._device, self._mapped, self.size, self.write_protected)

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
