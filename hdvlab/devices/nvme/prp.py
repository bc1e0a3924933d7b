"""Physical region pages: where in guest memory a command's data is.

Ref: NVM Express Base Specification 1.4c, section 4.3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hdvlab.devices.nvme.command import CommandError
from hdvlab.devices.nvme.spec import Status


def walk(read: Callable[[int, int], bytes], prp1: int, prp2: int, length: int, page_size: int) -> list[tuple[int, int]]:
    """The runs of guest memory that two PRP entries, and the lists they lead to, stand for.

    Parameters
    ----------
    read : callable
        ``read(address, size)`` copies guest memory; used for PRP lists.
    prp1, prp2 : int
        The command's entries.
    length : int
        Bytes of data, 1 or more.
    page_size : int
        Bytes of a memory page (CC.MPS).

    Returns
    -------
    list of (int, int)
        Guest-physical address and bytes, in order; pages that follow one another are one run.

    Raises
    ------
    CommandError
        Invalid PRP Offset: an entry points into a page where it must not, or is not on a dword.
    """
    if prp1 & 3:
        raise CommandError(Status.INVALID_PRP_OFFSET, location=24)
    first = min(length, page_size - prp1 % page_size)
    left = length - first
    if not left:
        return [(prp1, first)]
    if left <= page_size:
        entries: list[int] = [prp2]
    else:
        entries = _list(read, prp2, -(-left // page_size), page_size)
    runs: list[tuple[int, int]] = []
    start, size = prp1, first
    for entry in entries:
        if entry % page_size:
            raise CommandError(Status.INVALID_PRP_OFFSET, location=32)
        part = min(left, page_size)
        if entry == start + size:
            size += part
        else:
            runs.append((start, size))
            start, size = entry, part
        left -= part
    runs.append((start, size))
    return runs


def _list(read: Callable[[int, int], bytes], address: int, count: int, page_size: int) -> list[int]:
    """``count`` entries of a PRP list; the last entry of a page leads to the next list if more are needed.

    The first list may start anywhere on a qword, those it leads to start a page.
    """
    if address & 7:
        raise CommandError(Status.INVALID_PRP_OFFSET, location=32)
    entries: list[int] = []
    while True:
        room = (page_size - address % page_size) // 8
        needed = count - len(entries)
        here = min(room, needed)
        got = struct.unpack(f"<{here}Q", read(address, 8 * here))
        if needed <= room:
            entries += got
            return entries
        entries += got[:-1]
        address = got[-1]
        if address % page_size:
            raise CommandError(Status.INVALID_PRP_OFFSET, location=32)
