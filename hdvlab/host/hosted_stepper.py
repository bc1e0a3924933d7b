"""Breakpoints and stops of a host's machine, as :class:`hdvlab.stepping.stepper.Stepper` has those of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hdvlab.errors import HdvError, HResult, StateError
from hdvlab.stepping import Breakpoint, Control, Request, Stop
from hdvlab.stepping.control import Action

if TYPE_CHECKING:
    from hdvlab.host.connection import Connection
    from hdvlab.trace.mapped import MappedTrace


class HostedStepper(Control):
    """Knows what is held from what the host tells, and asks it for everything else.

    Parameters
    ----------
    runs : callable
        Whether a guest may make accesses that nobody here waits for.
    """

    def __init__(self, runs: Callable[[], bool]) -> None:
        super().__init__()
        self._connection: Connection | None = None
        self._trace: MappedTrace | None = None
        self._runs = runs
        self._guard = threading.Lock()
        self._newest = -1
        self._held: list[Stop] = []
        self._known: set[tuple[int, int]] = set()
        """Ticket and row of what was held last: tickets count from 1 again when the machine is switched on again."""
        self._set: list[dict[str, Any]] = []

    def attach(self, connection: Connection, trace: MappedTrace) -> None:
        """Ask for what is held and set; from now on the host tells."""
        self._connection, self._trace = connection, trace
        self.take(connection.call("stops"))

    def _call(self, request: str, **given: Any) -> Any:
        if self._connection is None:
            raise StateError("not attached to a host")
        return self._connection.call(request, **given)

    def take(self, state: dict[str, Any]) -> None:
        """What the host told; never waits for the host. Old news is left alone."""
        with self._guard:
            if state["changes"] <= self._newest:
                return
            self._newest = state["changes"]
            was = ([stop.ticket for stop in self._held], self._set)
            self._held = [Stop.from_dict(one, self._trace) for one in state["stops"]]
            self._set = state["breakpoints"]
            new = [stop for stop in self._held if (stop.ticket, stop.row) not in self._known]
            self._known = {(stop.ticket, stop.row) for stop in self._held}
            is_news = was != ([stop.ticket for stop in self._held], self._set)
        self.tell(new)
        if is_news:
            self._told()

    def why_held(self, known: set[int]) -> str:
        """At what the guest is held that is not among ``known``; "" where at nothing."""
        return self.held() if self.tickets() - known else ""

    def begin_watching(self) -> None:
        """The host tells."""

    def guest_runs(self) -> bool:
        """See :meth:`Control.guest_runs`."""
        return self._runs()

    def add(self, request: Request) -> Breakpoint:
        """See :meth:`Control.add`; conditions are text."""
        return Breakpoint.from_dict(self._call("add_breakpoint", asked=request.to_dict()), self)

    def remove(self, number: int) -> None:
        """See :meth:`Control.remove`."""
        self._call("remove_breakpoint", number=number)

    def remove_hidden(self) -> None:
        """See :meth:`Control.remove_hidden`."""
        if self._connection is not None and self._connection.gone is None:
            self._call("remove_hidden")

    def check_alive(self) -> None:
        """See :meth:`Control.check_alive`."""
        if self._connection is not None and (gone := self._connection.gone) is not None:
            raise type(gone)(gone.message, gone.hresult)

    def set_enabled(self, number: int, enabled: bool) -> None:
        """See :meth:`Control.set_enabled`."""
        self._call("enable_breakpoint", number=number, enabled=enabled)

    def list_breakpoints(self) -> list[Breakpoint]:
        """See :meth:`Control.list_breakpoints`; as they were when the host is gone."""
        try:
            self.take(self._call("stops"))
        except HdvError as error:
            if error.hresult != HResult.HCS_E_SERVICE_DISCONNECT:
                raise
        with self._guard:
            return [Breakpoint.from_dict(one, self) for one in self._set]

    def read_stops(self) -> list[Stop]:
        """See :meth:`Control.read_stops`: what the host told last."""
        if self._connection is None or self._connection.gone is not None:
            return []
        with self._guard:
            return list(self._held)

    def release(self, ticket: int, action: Action, value: int = 0) -> None:
        """See :meth:`Control.release`."""
        self.take(self._call("release_stop", ticket=ticket, action=action, value=value))

    def arm(self, count: int) -> None:
        """See :meth:`Control.arm`."""
        self._call("arm_step", count=count)

    def set_limit(self, seconds: float | None) -> None:
        """The longest hold, in seconds; None: for ever."""
        self._call("limit_holds", seconds=seconds)
