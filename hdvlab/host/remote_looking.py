"""Looking at many places of a host's machine: each is one message, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence

from hdvlab.host.connection import Connection
from hdvlab.host.wire import unpacked
from hdvlab.lab.looking import Piece, Place


class RemoteLooking:
    """What :class:`hdvlab.lab.looking.LookingLab` does, at the host."""

    connection: Connection

    def peek_many(self, places: Sequence[Place]) -> list[int | str]:
        """See :meth:`hdvlab.lab.looking.LookingLab.peek_many`."""
        return list(self.connection.call("peek_many", places=[list(place) for place in places])) if places else []

    def ram_peek(self, address: int, size: int) -> list[Piece]:
        """See :meth:`hdvlab.lab.looking.LookingLab.ram_peek`."""
        told = self.connection.call("ram_peek", address=address, size=size)
        return [(one["address"], unpacked(one["data"]) if "data" in one else one["why"]) for one in told]
