"""A client, as its host sees it: several of its requests may be under way at once."""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.host.call import Call
from hdvlab.host.wire import PROTOCOL_VERSION, Channel, GoneError, WireError, described_error

if TYPE_CHECKING:
    from hdvlab.host.process import Host

#: Requests of one client that may be under way at once.
MOST_AT_ONCE = 64
#: Events that wait for a client that does not read; more are dropped, and counted.
MOST_EVENTS = 2000


class Session:
    """Serves one connection.

    Whoever of its threads has taken a message lets the next one listen and then serves: a request that takes long (a
    command in the guest, a handler that hangs) holds nobody up but whoever asked. Events go out on a thread of their
    own, or ahead of the next reply, so that what a request led to is known before its answer.
    """

    def __init__(self, host: Host, connected: socket.socket, number: int) -> None:
        self._host = host
        self._channel = Channel(connected)
        self.number = number
        self.pid = 0
        """Of the client, as it says; 0 before it has said so."""
        self.is_welcome = False
        self._listening = threading.Lock()
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._over = False
        self._events: collections.deque[dict[str, Any]] = collections.deque()
        self._dropped = 0
        self._has_events = threading.Condition(self._guard)
        self._calls: dict[Any, Call] = {}
        self.owners: dict[int, object] = {}
        """In whose names this client's guest programs hold memory and vectors of the machine."""

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._push, name=f"hdvlab-events-{self.number}", daemon=True).start()
        with self._guard:
            self._add_thread()

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"hdvlab-client-{self.number}", daemon=True)
        self._threads.add(thread)
        self._idle += 1
        thread.start()

    # ---- requests ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while True:
                with self._listening:
                    if self._over:
                        return
                    message = self._next()
                    with self._guard:
                        self._idle -= 1
                        if message is None:
                            self._over = True
                        elif not self._idle and len(self._threads) < MOST_AT_ONCE:
                            self._add_thread()
                if message is None:
                    self._channel.hang_up()
                    return
                self._serve(message)
                with self._guard:
                    self._idle += 1
        finally:
            with self._guard:
                self._threads.discard(threading.current_thread())
                last = not self._threads
            if last:
                self.end()

    def _next(self) -> dict[str, Any] | None:
        try:
            return self._channel.receive()
        except WireError as error:
            self._host.note(f"client {self.number} was cut off: {error}")
            self._send({"id": None, "error": described_error(error)})
        except GoneError:
            pass
        except Exception as error:  # also where memory is short: the host goes on
            self._host.note(f"client {self.number} was cut off: {type(error).__name__}: {error}")
        return None

    def _serve(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        call = Call(self, number)
        reply: dict[str, Any] = {"id": number}
        with self._guard:
            if isinstance(number, int):
                self._calls[number] = call
        try:
            reply["result"] = self._answer(message, call)
        except BaseException as error:
            reply["error"] = described_error(error)
            if not isinstance(error, HdvError):
                self._host.note(f"request {message.get('request')!r:.40}: {reply['error']['text']}")
        finally:
            with self._guard:
                self._calls.pop(number, None)
        reply["generation"] = self._host.generation
        self._send(reply)

    def _answer(self, message: dict[str, Any], call: Call) -> Any:
        name, given = message.get("request"), message.get("with", {})
        if not isinstance(name, str) or not isinstance(given, dict):
            raise UsageError("a request has a name, and what it is asked with")
        if name == "hello":
            return self._welcome(**given)
        if name == "facts":  # whoever only looks is no client, and renews no lease
            return self._host.facts()
        if not self.is_welcome:
            raise StateError("the first request is hello")
        if name == "cancel":
            with self._guard:
                other = self._calls.get(given.get("id"))
            if other is not None:
                other.stop()
            return other is not None
        return self._host.answer(name, given, call)

    def _welcome(self, version: int = 0, pid: int = 0, **_: Any) -> dict[str, Any]:
        if version != PROTOCOL_VERSION:
            raise StateError(
                f"the host speaks version {PROTOCOL_VERSION} of its protocol, the client {version}; "
                "they are of different hdvlab versions: end the host and start it again"
            )
        self.pid, self.is_welcome = int(pid), True
        self._host.came(self)
        return self._host.facts()

    def _send(self, reply: dict[str, Any]) -> None:
        try:
            self._channel.send(*self._taken_events(), reply)
        except GoneError:
            return  # whoever asked is gone
        except Exception as error:  # the reply is no JSON, or too large
            self._host.note(f"a reply could not be sent: {type(error).__name__}: {error}")
            told = {"id": reply["id"], "error": described_error(error), "generation": self._host.generation}
            try:
                self._channel.send(told)
            except GoneError:
                return

    # ---- events ------------------------------------------------------------------------------------------------

    def tell(self, event: dict[str, Any]) -> None:
        """Let the client know, soon. Never waits for it."""
        with self._guard:
            if not self.is_welcome or self._over:
                return
            if len(self._events) >= MOST_EVENTS:
                self._dropped += 1
                return
            self._events.append(event)
            self._has_events.notify()

    def _taken_events(self) -> list[dict[str, Any]]:
        with self._guard:
            events = list(self._events)
            self._events.clear()
            if self._dropped:
                text = f"{self._dropped:,} lines of the host are not shown, because this client was busy; they are in "
                events.append({"event": "output", "stream": "stderr", "text": f"{text}{self._host.record.log}\n"})
                self._dropped = 0
        return events

    def _push(self) -> None:
        while True:
            with self._guard:
                self._has_events.wait_for(lambda: self._events or self._over)
                if self._over:
                    return
            try:
                self._channel.send(*self._taken_events())
            except GoneError:
                return

    # ---- the end -----------------------------------------------------------------------------------------------

    def say_goodbye(self, event: dict[str, Any]) -> None:
        """End the connection from the host's side; a client that does not read is not waited for long."""
        self.tell(event)
        self._channel.set_patience(0.5)
        with contextlib.suppress(GoneError):
            self._channel.send(*self._taken_events())
        self._channel.hang_up()

    def end(self) -> None:
        """Its last thread has ended."""
        with self._guard:
            self._over = True
            self._has_events.notify_all()
        self._host.left(self)
        self._channel.hang_up()
