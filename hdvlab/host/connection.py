"""A client's connection to its host: calls from any thread, and what the host tells unasked."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdvlab.errors import BackendError, HdvError
from hdvlab.host.places import open_private
from hdvlab.host.record import Record
from hdvlab.host.wire import PROTOCOL_VERSION, Channel, GoneError, WireError, rebuilt_error, unpacked

_CREDENTIALS = 12  # bytes of struct ucred
#: How often a waiting call looks up, so that Ctrl-C is answered everywhere, seconds.
_SLICE = 0.2


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


class _Call:
    """One that waits for its answer, and for what comes before it."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


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
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._listen, name=f"hdvlab-host-{record.name}", daemon=True)
        self._thread.start()
        try:
            self.facts: dict[str, Any] = self.call("hello", version=PROTOCOL_VERSION, pid=os.getpid())
        except BaseException:
            self.close()
            raise

    def call(self, request: str, /, *, on_progress: Callable[[bytes], None] | None = None, **given: Any) -> Any:
        """Ask, and wait for the answer. Ctrl-C gives the request up, also at the host.

        ``on_progress`` takes what the host sends before the answer, as it comes.

        Raises
        ------
        HdvError
            What it failed with at the host, or GoneError.
        """
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
            reply = self._awaited(waiting, on_progress)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self._send({"id": 0, "request": "cancel", "with": {"id": number}})
            raise
        finally:
            with self._guard:
                self._calls.pop(number, None)
        self._tell()
        if "error" in reply:
            raise rebuilt_error(reply["error"])
        return reply.get("result")

    def _awaited(self, waiting: _Call, on_progress: Callable[[bytes], None] | None) -> dict[str, Any]:
        while True:
            try:
                message = waiting.messages.get(timeout=_SLICE)
            except queue.Empty:
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
