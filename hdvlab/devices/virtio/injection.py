"""Requests of a disk that are to fail, because somebody wants to see what the driver does."""

from __future__ import annotations

import enum
import threading

from hdvlab.devices.virtio.spec import BlkStatus, BlkType
from hdvlab.errors import UsageError


class Injections:
    """The failures that are asked for. Asked by one thread, matched by another."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: list[list[int]] = []
        """Type, status, and how many are left."""

    def add(self, kind: int | str, status: int | str, count: int) -> None:
        """See :meth:`hdvlab.devices.virtio.Blk.fail`."""
        number, code = _parse(kind, BlkType, "type"), _parse(status, BlkStatus, "status")
        if not 0 <= code <= 0xFF:
            raise UsageError(f"status {code} does not fit 8 bits")
        if count < 1:
            raise UsageError(f"count={count}; 1 request or more can fail")
        with self._guard:
            self._waiting.append([number, code, count])

    def match(self, kind: int) -> int | None:
        """The status that a request is to end with, if any; it is used up."""
        with self._guard:
            for one in self._waiting:
                if one[0] == kind:
                    one[2] -= 1
                    if not one[2]:
                        self._waiting.remove(one)
                    return one[1]
        return None


def _parse(given: int | str, names: type[enum.IntEnum], what: str) -> int:
    if not isinstance(given, str):
        return int(given)
    name = given.strip().upper().replace(" ", "_")
    if name not in names.__members__:
        raise UsageError(f"no {what} {given!r}; there is {', '.join(one.lower() for one in names.__members__)}")
    return int(names[name])
