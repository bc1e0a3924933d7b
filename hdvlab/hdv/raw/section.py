"""Section-backed MMIO ranges under HDV's own names."""

# ruff: noqa: N802, N803 - HDV's names

from __future__ import annotations

from typing import Any

from hdvlab.errors import check
from hdvlab.hdv.raw.arguments import descriptor, enumerator, function, handle, unsigned
from hdvlab.hdv.raw.types import HDV_DEVICE

__all__ = ["HdvCreateSectionBackedMmioRange", "HdvDestroySectionBackedMmioRange"]


def HdvCreateSectionBackedMmioRange(
    requestor: HDV_DEVICE,
    barIndex: int,
    offsetInPages: int,
    lengthInPages: int,
    MappingFlags: int,
    sectionHandle: Any,
    sectionOffsetInPages: int,
) -> None:
    """Back pages of a BAR with memory: guest accesses there reach it and call nobody. A ``section_map`` row.

    From Start on, also while the guest runs: each of its accesses sees the range, or does not. On Windows it is not
    atomic for a guest that runs.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    barIndex : BarSelector
        The BAR.
    offsetInPages, lengthInPages : int
        Where in the BAR, in pages of 4096 bytes.
    MappingFlags : MmioMappingFlags
        ``HdvMmioMappingFlagNone`` (the guest may read), ``...Writeable``, ``...Executable``.
    sectionHandle : int or object with fileno()
        A memfd or a file. The library keeps a duplicate.
    sectionOffsetInPages : int
        Where in the section.

    Raises
    ------
    StateError
        The device has not been started, or is stopped (``ERROR_INVALID_STATE``).
    AccessError
        No pages, beyond the BAR or the file, another flag, not a file (``E_INVALIDARG``).
    HdvError
        Another section backs part of the range (``ERROR_ALREADY_EXISTS``); writable pages of a file that is open for
        reading only (``E_ACCESSDENIED``).
    HandleError
        Not a live device, or no descriptor (``E_HANDLE``).

    Notes
    -----
    HDV API, HdvCreateSectionBackedMmioRange. A file that can shrink is read and written through its descriptor, so
    that a shorter file fails the access and not the process; a memfd sealed against shrinking is mapped.
    """
    bar = enumerator(barIndex, "barIndex")
    hresult = function("HdvCreateSectionBackedMmioRange")(
        handle(requestor),
        bar,
        unsigned(offsetInPages, 64, "offsetInPages"),
        unsigned(lengthInPages, 64, "lengthInPages"),
        enumerator(MappingFlags, "MappingFlags"),
        descriptor(sectionHandle, "sectionHandle"),
        unsigned(sectionOffsetInPages, 64, "sectionOffsetInPages"),
    )
    check(hresult, f"HdvCreateSectionBackedMmioRange BAR{bar}, page {offsetInPages}")


def HdvDestroySectionBackedMmioRange(requestor: HDV_DEVICE, barIndex: int, offsetInPages: int) -> None:
    """Give a range back to the device's callbacks. A ``section_unmap`` row.

    Parameters
    ----------
    requestor : HDV_DEVICE
        The device.
    barIndex : BarSelector
        The BAR.
    offsetInPages : int
        Where the range began, in pages of 4096 bytes.

    Raises
    ------
    HdvError
        No range begins there (``ERROR_NOT_FOUND``).
    HandleError
        Not a live device (``E_HANDLE``).

    Notes
    -----
    HDV API, HdvDestroySectionBackedMmioRange.
    """
    bar, page = enumerator(barIndex, "barIndex"), unsigned(offsetInPages, 64, "offsetInPages")
    hresult = function("HdvDestroySectionBackedMmioRange")(handle(requestor), bar, page)
    check(hresult, f"HdvDestroySectionBackedMmioRange BAR{bar}, page {page}")
