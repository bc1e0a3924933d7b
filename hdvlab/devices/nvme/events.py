"""Asynchronous events: told through requests that the guest leaves with the controller.

Ref: NVM Express Base Specification 1.4c, section 5.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.devices.nvme.command import Command, CommandError
from hdvlab.devices.nvme.spec import ErrorEvent, EventType, LogPage, Status

if TYPE_CHECKING:
    from hdvlab.devices.nvme.controller import Controller

#: Requests that may be outstanding (AERL + 1).
LIMIT = 4

#: Events that wait for a request; more are dropped, the log pages tell all the same.
_WAITING = 16


class AsyncEvents:
    """Events and requests find each other here. A type is told once until its log page is read."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._requests: list[int] = []
        self._events: list[int] = []
        self._masked: set[int] = set()

    def request(self, command: Command) -> None:
        """An Asynchronous Event Request: held until there is something to tell."""
        if len(self._requests) >= LIMIT:
            raise CommandError(Status.ASYNC_EVENT_LIMIT_EXCEEDED)
        self._requests.append(command.cid)
        self._match()

    def abort(self, cid: int) -> bool:
        """Take a request back; whether it was there."""
        if cid not in self._requests:
            return False
        self._requests.remove(cid)
        self._controller.complete(0, 0, cid, Status.ABORTED)
        return True

    def error(self, event: ErrorEvent) -> None:
        """An error that belongs to no command."""
        self.tell(EventType.ERROR, event, LogPage.ERROR_INFORMATION)

    def tell(self, kind: EventType, information: int, log: LogPage) -> None:
        """Something happened."""
        if kind in self._masked or len(self._events) >= _WAITING:
            return
        self._masked.add(kind)
        self._events.append(kind | information << 8 | log << 16)
        self._match()

    def log_read(self, log: int) -> None:
        """The guest read a log page without Retain Asynchronous Event: events of its type are told again."""
        kinds = {LogPage.ERROR_INFORMATION: EventType.ERROR, LogPage.SMART: EventType.SMART}
        kind = kinds.get(LogPage(log), EventType.NOTICE) if log in LogPage._value2member_map_ else None
        self._masked.discard(kind if kind is not None else -1)

    def _match(self) -> None:
        while self._requests and self._events:
            self._controller.complete(self._events.pop(0), 0, self._requests.pop(0))
