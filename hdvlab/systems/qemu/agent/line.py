"""The serial line to the agent: a socket, a thread that reads it, one that writes it, and what got lost on it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hdvlab.errors import BackendError, HdvError, StateError
from hdvlab.systems.qemu.agent.protocol import FRAME_MAX, VERSION, Frame, Kind, Parser, pack

#: Frames that wait for a guest that takes none, when no more answers to what it sends are queued.
_WAITING_MAX = 256


@dataclass(frozen=True)
class Greeting:
    """What the agent says of itself.

    Attributes
    ----------
    version : int
        Of the protocol.
    start : int
        Differs from one start of the agent to the next.
    boot_id : str
        Linux' own; differs from one boot to the next.
    """

    version: int
    start: int
    boot_id: str


class Line:
    """Frames to and from the agent.

    Nothing that is sent blocks the sender: a guest that is held takes nothing off its port.

    Parameters
    ----------
    path : path
        QEMU's UNIX socket of the serial port.
    on_frame : callable
        Takes every frame of an agent that has greeted; called on the reading thread.
    on_loss : callable
        Takes the error that every request in flight ends with: the guest was reset, the VM is gone, a frame was lost.
        Called on the reading thread.
    """

    def __init__(self, path: Path, on_frame: Callable[[Frame], None], on_loss: Callable[[HdvError], None]) -> None:
        self.heard = time.monotonic()
        """When the last byte came, seconds of ``time.monotonic``."""
        self.greeting: Greeting | None = None
        """Of the agent that answers now; None while none does."""
        self.ended: HdvError | None = None
        """Why the line is at its end."""
        self._on_frame, self._on_loss = on_frame, on_loss
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._nonce = 0
        self._sent = self._expected = 0
        self._parser = Parser()
        self._noise = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(os.fspath(path))
        except OSError:
            self._socket.close()
            raise
        self._threads = [
            threading.Thread(target=work, name=f"hdvlab-agent-{name}", daemon=True)
            for name, work in (("reader", self._read), ("writer", self._write))
        ]
        for thread in self._threads:
            thread.start()
        self.greet()

    def greet(self) -> None:
        """Ask the agent for its greeting; all that it does for anybody ends with that."""
        with self._changed:
            self.greeting = None
            self._nonce = int.from_bytes(os.urandom(4), "little") | 1
            self._sent = 0
            self._queue.clear()
            # The zeros end a frame that somebody before us was in the middle of.
            self._put(Kind.HELLO, 0, struct.pack("<I", self._nonce), before=bytes(FRAME_MAX))

    def send(self, kind: Kind, request: int, payload: bytes = b"") -> None:
        """Queue a frame. After a loss it goes nowhere: its request has failed by then."""
        with self._changed:
            if kind in (Kind.PING, Kind.PONG) and len(self._queue) >= _WAITING_MAX:
                return  # a guest that asks and does not listen: there is no end of answers to it
            if self.greeting is not None and self.ended is None:
                self._put(kind, request, payload)

    def _put(self, kind: Kind, request: int, payload: bytes, before: bytes = b"") -> None:
        self._queue.append(before + pack(kind, request, self._sent, payload))
        self._sent += 1
        self._changed.notify_all()

    def wait_greeting(self, timeout: float) -> Greeting | None:
        """The greeting, as soon as it is there; None if it does not come in ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.greeting or self.ended, timeout)
            if self.ended is not None:
                raise self.ended
            return self.greeting

    def close(self) -> None:
        """End both threads. Idempotent."""
        self._end(StateError("the agent's line was closed; connect again"))
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._socket.close()

    def _end(self, why: HdvError) -> None:
        with self._changed:
            if self.ended is not None:
                return
            self.ended, self.greeting = why, None
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._on_loss(why)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self.ended)
                if self.ended is not None:
                    return
                data = self._queue.popleft()
            try:
                self._socket.sendall(data)
            except OSError:
                return  # the reading thread sees the end, and says so

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                self._end(StateError("the VM is gone: QEMU closed the agent's line; boot it again"))
                return
            self.heard = time.monotonic()
            for frame in self._parser.feed(data):
                self._take(frame)
            if self._parser.skipped != self._noise and self.greeting is not None:
                self._noise = self._parser.skipped
                self.send(Kind.PING, 0)  # the answer's sequence number tells whether a frame was in what was skipped

    def _take(self, frame: Frame) -> None:
        if frame.kind == Kind.HELLO:
            self._take_greeting(frame)
            return
        if self.greeting is None:
            return
        if frame.sequence != self._expected & 0xFFFF or frame.kind == Kind.LOST:
            self._lose(BackendError("the line to the guest's agent was disturbed and bytes are missing; do it again"))
            return
        self._expected += 1
        if frame.kind == Kind.PING:
            self.send(Kind.PONG, frame.request, frame.payload)
        elif frame.kind != Kind.PONG:
            self._on_frame(frame)

    def _take_greeting(self, frame: Frame) -> None:
        if len(frame.payload) < 12:
            return
        version, nonce, start = struct.unpack_from("<III", frame.payload)
        if version != VERSION:
            self._end(
                BackendError(
                    f"the guest's agent speaks version {version}, this is {VERSION}; boot the VM again with it"
                )
            )
        elif nonce == 0:
            self.reset()
        elif nonce == self._nonce:
            with self._changed:
                self._expected = 1
                self._noise = self._parser.skipped
                self.greeting = Greeting(version, start, frame.payload[12:].decode("ascii", "replace"))
                self._changed.notify_all()

    def reset(self) -> None:
        """The guest was reset: what ran in it ends with an error, and the agent's next greeting is awaited."""
        self._lose(StateError("the guest was reset; what ran in it is gone"))

    def _lose(self, why: HdvError) -> None:
        self.greet()
        self._on_loss(why)
