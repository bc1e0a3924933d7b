"""A guest program that runs in a host, as :class:`hdvlab.guest.Program` is one that runs here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hdvlab.guest.outcome import Outcome
from hdvlab.host.connection import Connection
from hdvlab.host.wire import rebuilt_error


class Shown:
    """A value that stayed in the host, because JSON cannot carry it: it shows itself as it does there."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class HostedProgram(Outcome):
    """``value``, ``error`` and ``seconds`` are known once it has been waited for."""

    def __init__(self, connection: Connection, number: int, name: str) -> None:
        super().__init__(name)
        self._connection = connection
        self.number = number
        self.on_end: Callable[[int | None], None] = lambda stop: None
        self._ended = False

    def take(self, told: dict[str, Any]) -> None:
        """What the host told of it."""
        self.seconds = told["seconds"]
        if told["running"] or self._ended:
            return
        self._ended = True
        self.error = rebuilt_error(told["error"]) if told["error"] is not None else None
        self.value = Shown(told["shown"]) if told["shown"] else told["value"]
        self.on_end(told["stop"])

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return not self.join(0.0)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end; whether it has ended. Ctrl-C stops it."""
        if not self._ended:
            self.take(self._connection.call("wait_program", number=self.number, timeout=timeout))
        return self._ended

    def stop(self) -> None:
        """Stop it."""
        self.take(self._connection.call("stop_program", number=self.number))

    def end_with(self, told: dict[str, Any]) -> None:
        """What the host told of its end; raises what it raised."""
        self.take(told)
        self.result()
