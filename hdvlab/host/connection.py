"""A client's connection to its host: calls from any thread, and what the host tells unasked."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdvlab.errors import BackendError, HdvError, StateError
from hdvlab.host.places import open_private
from hdvlab.host.record import Record
from hdvlab.host.wire import PROTOCOL_VERSION, Channel, GoneError, WireError, rebuilt_error, unpacked
from hdvlab.trace.schema import Origin

_CREDENTIALS = 12  # bytes of struct ucred
#: Seconds that a request which was given up may take to end at the host, so that what is said of it is true.
_LAST = 6.0
#: How often a waiting call looks up, so that Ctrl-C is answered everywhere, seconds.
_SLICE = 0.2


OnProgress = Callable[[bytes], None] | None


def connect(record: Record) -> socket.socket:
    """A socket that a host has accepted; its process is this user's.

    Raises
    ------
    GoneError
        Nobody listens.
    """
    path = Path(record.socket)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        directory = open_private(path.parent)
        try:
            connected.connect(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS)
        user = int.from_bytes(credentials[4:8], sys.byteorder)
        if user != os.geteuid():
            raise BackendError(f"{path} is served by user {user}; it is not used")
    except OSError as error:
        connected.close()
        if isinstance(error, HdvError):
            raise
        raise GoneError(f"host {record.name} does not answer: {error.strerror}; its log is {record.log}") from error
    return connected


#: Requests that a stop of the guest may keep waiting, which a person then hears of at once.
_HELD_UP = frozenset({"start", "stop", "plug", "unplug", "call_device", "device_access", "put", "get", "vm_action"})
#: The same where a person makes the access, not a guest program.
_HELD_UP_FOR_USER = frozenset({"read", "write", "config_read", "config_write"})


class _Call:
    """One that waits for its answer, and for what comes before it."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


class Ongoing:
    """A request that is waited for a little at a time."""

    def __init__(self, connection: Connection, number: int, waiting: _Call, on_progress: OnProgress) -> None:
        self._connection = connection
        self._number = number
        self._waiting = waiting
        self._on_progress = on_progress
        self._reply: dict[str, Any] | None = None

    def poll(self, seconds: float) -> bool:
        """Take what comes for so long; whether it is over."""
        if self._reply is None:
            self._reply = self._connection.take_until(self._waiting, self._on_progress, time.monotonic() + seconds)
        return self._reply is not None

    def result(self) -> Any:
        """Wait for the answer; raises what the request failed with."""
        while not self.poll(_SLICE):
            continue
        assert self._reply is not None
        return self._connection.answered(self._number, self._reply)

    def cancel(self) -> None:
        """Give it up, also at the host, and wait a few seconds until it has ended there."""
        self._connection.cancel(self._number)
        self.poll(_LAST)


def _is_held_up(request: str, given: dict[str, Any]) -> bool:
    return request in _HELD_UP or (request in _HELD_UP_FOR_USER and given.get("origin") == Origin.user)


class Connection:
    """Says hello, then takes requests.

    Parameters
    ----------
    record : Record
        Which host.
    on_event : callable
        Told of what the host tells, in order, on the thread of whoever asks something just then, else on the
        connection's own.
    """

    def __init__(self, record: Record, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.record = record
        self.generation = 0
        """Counts up whenever what is known of the host's devices is old."""
        self.gone: HdvError | None = None
        """Why there is no connection any more; None while there is one."""
        self._on_event = on_event
        self._channel = Channel(connect(record))
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._guard = threading.Lock()
        self._events: list[dict[str, Any]] = []
        self._end_told = ""
        self._end_wanted = ""
        self._telling = threading.RLock()
        self.on_stops: Callable[[dict[str, Any]], None] = lambda state: None
        """Told of what is held, at once, on the connection's own thread."""
        self.known_stops: Callable[[], set[int]] = set
        self.why_held: Callable[[set[int]], str] = lambda known: ""
        """Says at what the guest is held that is not among the known tickets."""
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._listen, name=f"hdvlab-host-{record.name}", daemon=True)
        self._thread.start()
        try:
            self.facts: dict[str, Any] = self.call("hello", version=PROTOCOL_VERSION, pid=os.getpid())
        except BaseException:
            self.close()
            raise

    def call(
        self,
        request: str,
        /,
        *,
        on_progress: OnProgress = None,
        sees_end: bool = False,
        gives_way: bool = False,
        **given: Any,
    ) -> Any:
        """Ask, and wait for the answer. Ctrl-C gives the request up, also at the host.

        ``on_progress`` takes what the host sends before the answer, as it comes. With ``sees_end`` one that is given up
        is waited for, for a few seconds, until the host has ended it; another Ctrl-C ends that wait. With
        ``gives_way``, and for what a person does to a device, StateError says so when the guest is held meanwhile.

        Raises
        ------
        HdvError
            What it failed with at the host, or GoneError.
        """
        number, waiting = self._begun(request, given)
        try:
            known = self.known_stops()
            while (reply := self.take_until(waiting, on_progress, time.monotonic() + _SLICE)) is None:
                if (gives_way or _is_held_up(request, given)) and (why := self.why_held(known)):
                    raise StateError(f"{request} has begun and is {why}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self.cancel(number)
                if sees_end:
                    self.take_until(waiting, on_progress, time.monotonic() + _LAST)
            raise
        finally:
            self._forget(number)
        return self.answered(number, reply)

    def begin(self, request: str, /, *, on_progress: OnProgress = None, **given: Any) -> Ongoing:
        """Ask without waiting; Ctrl-C while waiting gives nothing up."""
        return Ongoing(self, *self._begun(request, given), on_progress)

    def _begun(self, request: str, given: dict[str, Any]) -> tuple[int, _Call]:
        if os.getpid() != self._process:
            raise GoneError("this process was forked; attach to the host anew")
        waiting = _Call()
        with self._guard:
            if self.gone is not None:
                raise type(self.gone)(self.gone.message, self.gone.hresult)
            number = next(self._numbers)
            self._calls[number] = waiting
        try:
            self._send({"id": number, "request": request, "with": given})
        except BaseException:
            self._forget(number)
            raise
        return number, waiting

    def _forget(self, number: int) -> None:
        with self._guard:
            self._calls.pop(number, None)

    def cancel(self, number: int) -> None:
        """Tell the host that an answer is not wanted any more."""
        self._send({"id": 0, "request": "cancel", "with": {"id": number}})

    def answered(self, number: int, reply: dict[str, Any]) -> Any:
        """What came of a request; raises what it failed with."""
        self._forget(number)
        self._tell()
        if "error" in reply:
            raise rebuilt_error(reply["error"])
        return reply.get("result")

    def take_until(self, waiting: _Call, on_progress: OnProgress, deadline: float) -> dict[str, Any] | None:
        """The answer, passing on what comes before it; None where it does not come until then."""
        while True:
            left = deadline - time.monotonic()
            try:
                message = waiting.messages.get(timeout=max(0.0, min(_SLICE, left)))
            except queue.Empty:
                if left <= 0:
                    return None
                continue
            if message.get("event") != "progress":
                return message
            if on_progress is not None:
                on_progress(unpacked(message["data"]))

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(message)
        except GoneError as error:
            with self._guard:
                raise self.gone or error from None

    def _listen(self) -> None:
        error: HdvError | None = None
        try:
            while (message := self._channel.receive()) is not None:
                self._take(message)
        except (GoneError, WireError) as broken:
            error = broken
        with self._guard:
            if self.gone is None:
                self.gone = error if isinstance(error, WireError) else self._farewell()
                if not self._end_wanted:
                    self._events.append({"event": "gone", "reason": str(self.gone)})
            calls = list(self._calls.values())
        for one in calls:
            told = {"type": "BackendError", "message": str(self.gone), "hresult": self.gone.hresult}
            one.messages.put({"error": told})
        self._tell()

    def _farewell(self) -> GoneError:
        name = self.record.name
        if ended := self._end_wanted or self._end_told:
            return GoneError(f"host {name} has ended: {ended}; its trace is {self.record.trace}")
        return GoneError(
            f"host {name} is gone: it was killed or crashed, and the guest reads all ones. Its trace is whole, "
            f"{self.record.trace}; its log is {self.record.log}"
        )

    def _take(self, message: dict[str, Any]) -> None:
        self.generation = max(self.generation, int(message.get("generation", 0)))
        if message.get("event") == "progress":
            with self._guard:
                waiting = self._calls.get(message.get("call", 0))
            if waiting is not None:
                waiting.messages.put(message)
            return
        if message.get("event") == "stops":
            self.on_stops(message["state"])
            return
        if "event" in message:
            with self._guard:
                if message["event"] == "ended":
                    self._end_told = str(message.get("reason"))
                    return  # told when the connection ends
                self._events.append(message)
                nobody_asks = not self._calls
            if nobody_asks:
                self._tell()
            return
        with self._guard:
            waiting = self._calls.get(message.get("id", 0))
        if waiting is not None:
            waiting.messages.put(message)

    def _tell(self) -> None:
        """Pass on what has been told, in order."""
        with self._telling:
            while True:
                with self._guard:
                    if not self._events:
                        return
                    event = self._events.pop(0)
                self._on_event(event)

    def expect_end(self, reason: str) -> None:
        """The host is about to end because this client wants it: that is no news."""
        with self._guard:
            self._end_wanted = reason

    def join(self, timeout: float = 30.0) -> None:
        """Wait until the host has ended the connection."""
        self._thread.join(timeout)

    def close(self) -> None:
        """End the connection; the host lives on."""
        with self._guard:
            if self.gone is None:
                self.gone = GoneError(f"detached from host {self.record.name}; %hdv attach {self.record.name}")
        self._channel.hang_up()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._channel.close()
