"""Guest memory and interrupts under HDV's own names."""

# ruff: noqa: N802, N803 - HDV's names

from __future__ import annotations

from typing import Any

from hdvlab._core import ffi
from hdvlab.errors import check
from hdvlab.hdv.memory import deliver_guest_interrupt, live_view, map_aperture, read_guest_memory, write_guest_memory
from hdvlab.hdv.raw.arguments import function, handle, unsigned
from hdvlab.hdv.raw.types import HDV_DEVICE

__all__ = [
    "HdvCreateGuestMemoryAperture",
    "HdvDeliverGuestInterrupt",
    "HdvDestroyGuestMemoryAperture",
    "HdvReadGuestMemory",
    "HdvWriteGuestMemory",
]


def HdvReadGuestMemory(requestor: HDV_DEVICE, guestPhysicalAddress: int, byteCount: int) -> bytes:
    """Copy guest RAM; all of it or nothing. A ``dma_read`` row. Any thread, from Start's return to Stop.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    guestPhysicalAddress : int
        Any alignment.
    byteCount : int
        Bytes, 0 to 4,294,967,295.

    Returns
    -------
    bytes
        ``byteCount`` of them.

    Raises
    ------
    GuestMemoryError
        Not wholly RAM (``ERROR_NOACCESS``), wraps (``ERROR_ARITHMETIC_OVERFLOW``), bus mastering off
        (``E_ACCESSDENIED``).
    StateError
        The device does not run (``ERROR_INVALID_STATE``).
    HandleError
        Not a live device (``E_HANDLE``).

    Notes
    -----
    HDV API, HdvReadGuestMemory. The guest may change the bytes meanwhile and afterwards: check the copy, not the
    original. Windows: denied (``E_ACCESSDENIED``) on a proxied host.
    """
    return read_guest_memory(handle(requestor), guestPhysicalAddress, byteCount)


def HdvWriteGuestMemory(
    requestor: HDV_DEVICE, guestPhysicalAddress: int, buffer: bytes | bytearray | memoryview
) -> None:
    """Copy to guest RAM; all of it or nothing. A ``dma_write`` row. Any thread, from Start's return to Stop.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    guestPhysicalAddress : int
        Any alignment.
    buffer : bytes-like
        What is written; its length is C's ``byteCount``.

    Raises
    ------
    HdvError
        As of :func:`HdvReadGuestMemory`.

    Notes
    -----
    HDV API, HdvWriteGuestMemory.
    """
    write_guest_memory(handle(requestor), guestPhysicalAddress, buffer)


def HdvCreateGuestMemoryAperture(
    requestor: HDV_DEVICE, guestPhysicalAddress: int, byteCount: int, writeProtected: bool
) -> memoryview:
    """Map guest RAM into this process: the same pages, not a copy. An ``aperture_map`` row; what is done to the bytes
    leaves none.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    guestPhysicalAddress : int
        Any alignment.
    byteCount : int
        Bytes, 1 to 4,294,967,295.
    writeProtected : bool
        Only for reading, which the page protection enforces.

    Returns
    -------
    memoryview
        The bytes. Volatile: the guest may change them between two reads. Destroy it with this same object.

    Raises
    ------
    GuestMemoryError
        As of :func:`HdvReadGuestMemory`.
    AccessError
        No bytes (``E_INVALIDARG``).
    HdvError
        More than 1024 apertures of one device (``ERROR_NOT_ENOUGH_QUOTA``).

    Notes
    -----
    HDV API, HdvCreateGuestMemoryAperture. A view kept past the aperture's end reads zeros (Windows: faults).
    """
    mapped = map_aperture(handle(requestor), guestPhysicalAddress, byteCount, writeProtected)
    return live_view(handle(requestor), mapped, byteCount, writeProtected)


def HdvDestroyGuestMemoryAperture(requestor: HDV_DEVICE, mappedAddress: memoryview | Any) -> None:
    """Unmap an aperture. An ``aperture_unmap`` row.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device that made it.
    mappedAddress : memoryview or cdata
        What :func:`HdvCreateGuestMemoryAperture` returned, or its address; not a slice that begins elsewhere.

    Raises
    ------
    HdvError
        No such aperture of this device (``ERROR_NOT_FOUND``).
    HandleError
        Not a live device: its apertures ended with it (``E_HANDLE``).

    Notes
    -----
    In the SDK's header, without a page. Windows: faults after the host's teardown.
    """
    if isinstance(mappedAddress, memoryview):
        # The number alone: a view that is still exported when the collector finds it crashes CPython 3.11.
        address = ffi.cast("void *", ffi.from_buffer("uint8_t[]", mappedAddress))
    else:
        address = handle(mappedAddress)
    check(function("HdvDestroyGuestMemoryAperture")(handle(requestor), address), "HdvDestroyGuestMemoryAperture")


def HdvDeliverGuestInterrupt(requestor: HDV_DEVICE, msiAddress: int, msiData: int) -> None:
    """Send a message-signalled interrupt. An ``interrupt`` row. Any thread; does not wait.

    Masks and pending bits are the device's business; :meth:`hdvlab.Device.interrupt` minds them.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    msiAddress : int
        Guest-physical address that the guest programmed, a multiple of 4.
    msiData : int
        32 bits.

    Raises
    ------
    GuestMemoryError
        Outside the interrupt window 0xfee00000-0xfeefffff (``ERROR_NOACCESS``), bus mastering off
        (``E_ACCESSDENIED``).
    StateError
        The device does not run (``ERROR_INVALID_STATE``).

    Notes
    -----
    HDV API, HdvDeliverGuestInterrupt.
    """
    deliver_guest_interrupt(handle(requestor), msiAddress, unsigned(msiData, 32, "msiData"))
