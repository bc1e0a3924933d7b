"""Looking at many places of a machine in one go. No handler runs, nothing changes, no row is left.

Panels look ten times a second; where the machine is in a device host, each of these is one message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hdvlab.device import CannotPeekError
from hdvlab.errors import HdvError, HResult
from hdvlab.guest.bus import PAGE_SIZE

if TYPE_CHECKING:
    from hdvlab.lab.plugged import Plugged

#: Device name, BAR, offset in bytes, bytes.
Place = tuple[str, int, int, int]
#: First byte of a stretch of RAM, and its bytes, or why it cannot be looked at.
Piece = tuple[int, bytes | str]


class LookingLab:
    """A lab whose machine is in this process, as far as looking goes."""

    if TYPE_CHECKING:

        @property
        def machine(self) -> Any: ...
        def __contains__(self, name: object) -> bool: ...
        def __getitem__(self, name: str) -> Plugged: ...

    def peek_many(self, places: Sequence[Place]) -> list[int | str]:
        """The stored value of each place, or why it cannot be looked at.

        Parameters
        ----------
        places : sequence of (str, int, int, int)
            Device name, BAR, offset and size in bytes (1, 2, 4 or 8).
        """
        found: list[int | str] = []
        refused: dict[str, str] = {}
        for device, bar, offset, size in places:
            if device not in refused and device not in self:
                refused[device] = f"{device} is not plugged in"
            if device in refused:
                found.append(refused[device])
                continue
            try:
                found.append(self[device].peek(bar, offset, size))
            except HdvError as error:
                found.append(error.message)
                if isinstance(error, CannotPeekError) or error.hresult == HResult.ERROR_INVALID_STATE:
                    refused[device] = error.message  # it is so for all of its registers
        return found

    def ram_peek(self, address: int, size: int) -> list[Piece]:
        """Guest RAM, in stretches: what is no RAM is told, and never read.

        Parameters
        ----------
        address : int
            Guest-physical.
        size : int
            Bytes; the range may reach past RAM, and wraps nowhere.

        Raises
        ------
        StateError
            The machine is off.
        """
        machine = self.machine
        return list(_pieces(machine, address, min(size, (1 << 64) - address)))


def _pieces(machine: Any, address: int, size: int) -> Iterator[Piece]:
    """The whole range if it is RAM, else page by page."""
    whole = _piece(machine, address, size)
    if isinstance(whole[1], bytes) or size <= PAGE_SIZE - address % PAGE_SIZE:
        yield whole
        return
    end = address + size
    while address < end:
        length = min(PAGE_SIZE - address % PAGE_SIZE, end - address)
        yield _piece(machine, address, length)
        address += length


def _piece(machine: Any, address: int, size: int) -> Piece:
    try:
        return address, machine.ram_read(address, size)
    except HdvError as error:
        if error.hresult != HResult.ERROR_NOACCESS:
            return address, error.message
        return address, "no RAM is here" if machine.ram_size else "no RAM that a VM shares is here"
