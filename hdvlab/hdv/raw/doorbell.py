"""Doorbells under HDV's own names."""

# ruff: noqa: N802, N803 - HDV's names

from __future__ import annotations

from typing import Any

from hdvlab.errors import check
from hdvlab.hdv.raw.arguments import descriptor, enumerator, function, handle, unsigned
from hdvlab.hdv.raw.types import HDV_DEVICE

__all__ = [
    "HdvRegisterDoorbell",
    "HdvRegisterDoorbellPage",
    "HdvUnregisterDoorbell",
    "HdvUnregisterDoorbellPage",
]


def _key(requestor: HDV_DEVICE, bar: int, offset: int, value: int, flags: int) -> tuple[Any, ...]:
    flags = int(flags) & 0xFFFFFFFFFFFFFFFF  # a compiler may have extended ANY_VALUE's sign
    return (
        handle(requestor),
        enumerator(bar, "BarIndex"),
        unsigned(offset, 64, "BarOffset"),
        unsigned(value, 64, "TriggerValue"),
        flags,
    )


def HdvRegisterDoorbell(
    requestor: HDV_DEVICE,
    BarIndex: int,
    BarOffset: int,
    TriggerValue: int,
    Flags: int,
    DoorbellEvent: Any,
) -> None:
    """Let guest writes to a place signal an event; such a write reaches no callback, its value is thrown away.

    Several doorbells may sit on one offset with different values or sizes. Any thread, from HdvCreateDeviceInstance to
    Stop; it rings while the device runs.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    BarIndex : BarSelector
        The BAR.
    BarOffset : int
        Bytes from the BAR's start.
    TriggerValue : int
        The value that rings it, unless ``Flags`` has ``TRIGGER_ANY_VALUE``.
    Flags : DoorbellFlags
        One ``TRIGGER_SIZE_*`` and perhaps ``TRIGGER_ANY_VALUE``; 64 bits, of which the low 32 count.
    DoorbellEvent : int or object with fileno()
        An eventfd. The library keeps a duplicate.

    Raises
    ------
    HdvError
        Registered already (``ERROR_ALREADY_EXISTS``), too many (``ERROR_NOT_ENOUGH_QUOTA``), a host for a proxy
        (``E_ACCESSDENIED``).
    AccessError
        Outside the BAR, a size or value that cannot be (``E_INVALIDARG``).
    StateError
        The device has been stopped (``ERROR_INVALID_STATE``).
    HandleError
        Not a live device, or no event (``E_HANDLE``).

    Notes
    -----
    HDV API, HdvRegisterDoorbell. Windows: the event is a Win32 event, to be kept open.
    """
    key = _key(requestor, BarIndex, BarOffset, TriggerValue, Flags)
    event = descriptor(DoorbellEvent, "DoorbellEvent")
    check(function("HdvRegisterDoorbell")(*key, event), f"HdvRegisterDoorbell BAR{int(BarIndex)}+{BarOffset:#x}")


def HdvUnregisterDoorbell(requestor: HDV_DEVICE, BarIndex: int, BarOffset: int, TriggerValue: int, Flags: int) -> None:
    """Take a doorbell away; its writes reach the callback again.

    Parameters
    ----------
    requestor, BarIndex, BarOffset, TriggerValue, Flags
        The same as when it was registered.

    Raises
    ------
    HdvError
        No such doorbell (``ERROR_NOT_FOUND``).
    HandleError
        Not a live device (``E_HANDLE``).

    Notes
    -----
    HDV API, HdvUnregisterDoorbell.
    """
    key = _key(requestor, BarIndex, BarOffset, TriggerValue, Flags)
    check(function("HdvUnregisterDoorbell")(*key), f"HdvUnregisterDoorbell BAR{int(BarIndex)}+{BarOffset:#x}")


def HdvRegisterDoorbellPage(requestor: HDV_DEVICE, BarIndex: int, PageIndex: int, DoorbellEvent: Any) -> None:
    """Let every guest write to a page of a BAR signal an event; its value is thrown away.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    BarIndex : BarSelector
        The BAR.
    PageIndex : int
        The page, of 4096 bytes, from the BAR's start.
    DoorbellEvent : int or object with fileno()
        An eventfd.

    Raises
    ------
    HdvError
        As of :func:`HdvRegisterDoorbell`.
    BackendUnavailableError
        The library does not export the function (``E_NOTIMPL``).

    Notes
    -----
    In the SDK's header of 2019 only; Windows still exports it.
    """
    bar, page = enumerator(BarIndex, "BarIndex"), unsigned(PageIndex, 64, "PageIndex")
    hresult = function("HdvRegisterDoorbellPage")(
        handle(requestor), bar, page, descriptor(DoorbellEvent, "DoorbellEvent")
    )
    check(hresult, f"HdvRegisterDoorbellPage BAR{bar}, page {page}")


def HdvUnregisterDoorbellPage(requestor: HDV_DEVICE, BarIndex: int, PageIndex: int) -> None:
    """Take a page's doorbell away.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    BarIndex : BarSelector
        The BAR.
    PageIndex : int
        The page, of 4096 bytes, from the BAR's start.

    Raises
    ------
    HdvError
        No such doorbell (``ERROR_NOT_FOUND``).
    BackendUnavailableError
        The library does not export the function (``E_NOTIMPL``).

    Notes
    -----
    In the SDK's header of 2019 only; Windows still exports it.
    """
    bar, page = enumerator(BarIndex, "BarIndex"), unsigned(PageIndex, 64, "PageIndex")
    hresult = function("HdvUnregisterDoorbellPage")(handle(requestor), bar, page)
    check(hresult, f"HdvUnregisterDoorbellPage BAR{bar}, page {page}")
