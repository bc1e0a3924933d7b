"""What was asked of the agent and is not done yet."""

from __future__ import annotations

import contextlib
import queue
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdvlab.errors import BackendError, GuestTimeoutError, HdvError, StateError
from hdvlab.systems.qemu.agent.protocol import CHUNK, WINDOW, Frame, Kind, Outcome

if TYPE_CHECKING:
    from hdvlab.systems.qemu.agent.agent import Agent

#: Seconds: how long the line is silent before the agent is asked whether it is there, and before it is asked why not.
_ASK, _HELD = 1.0, 3.0
#: Seconds that a command has to end after SIGINT, before SIGKILL; and to end after that.
_GRACE = 2.0
#: Bytes of output, or of a file, that are taken into this computer's memory at most.
OUTPUT_MAX = 256 << 20


@dataclass(frozen=True)
class Completed:
    """A shell command that ended.

    Attributes
    ----------
    status : int
        Exit status; 128 + number when a signal ended it, as a shell says it.
    output : bytes
        Standard output and standard error, in the order they were written.
    """

    status: int
    output: bytes


@dataclass(frozen=True)
class Done:
    """How a request ended."""

    outcome: int
    value: int
    text: str


class Running:
    """A request in flight. One thread at a time waits for it.

    Attributes
    ----------
    what : str
        What messages call it.
    """

    def __init__(self, agent: Agent, number: int, what: str, data: bytes) -> None:
        self.what, self.number = what, number
        self._agent = agent
        self._data, self._at, self._credit, self._ended = data, 0, WINDOW, False
        self._events: queue.SimpleQueue[Frame | HdvError] = queue.SimpleQueue()
        self._output = bytearray()
        self._received = 0
        self._done: Done | None = None
        self._failed: HdvError | None = None
        self._began = self._asked = time.monotonic()
        self.through_stops = False
        """Whether it waits where a breakpoint holds the guest; else that is an error, as with any other silence."""

    def put(self, event: Frame | HdvError) -> None:
        """Take what came for it; on the reading thread."""
        if isinstance(event, Frame):
            before, self._received = self._received, self._received + len(event.payload) + 16
            if self._received > OUTPUT_MAX:
                if before <= OUTPUT_MAX:
                    self.kill(signal.SIGKILL)
                    self._events.put(BackendError(
                        f"more than {OUTPUT_MAX >> 20} MiB came from the guest, and it was ended; write it to a file "
                        "there, and take what you need of it"
                    ))  # fmt: skip
                return
        self._events.put(event)

    def feed(self) -> None:
        """Send as much of its data as the agent has given credit for."""
        while self._at < len(self._data) and self._credit:
            part = self._data[self._at : self._at + min(CHUNK, self._credit)]
            self._agent.send(Kind.DATA, self.number, part)
            self._at += len(part)
            self._credit -= len(part)
        if self._at == len(self._data) and not self._ended:
            self._ended = True
            self._agent.send(Kind.END, self.number)

    def kill(self, number: int = signal.SIGINT) -> None:
        """Send a signal to a command's process group, or give a transfer up."""
        self._agent.send(Kind.SIGNAL, self.number, bytes([number]))

    def wait(self, timeout: float | None = None, on_output: Callable[[bytes], None] | None = None) -> Completed:
        """Wait for a command.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever when not given.
        on_output : callable, optional
            Takes the output as it comes.

        Raises
        ------
        GuestTimeoutError
            It took longer than ``timeout``, and was killed; or the guest does not answer at all.
        StateError
            The guest is held, was reset, or is gone.
        """
        done = self.finish(timeout, on_output)
        if done.outcome == Outcome.FAILED:
            raise BackendError(f"the guest could not run it: {done.text}", None, self.what)
        return Completed(done.value + (128 if done.outcome == Outcome.SIGNALLED else 0), bytes(self._output))

    @property
    def output(self) -> bytes:
        """What has come so far."""
        return bytes(self._output)

    def finish(self, timeout: float | None = None, on_output: Callable[[bytes], None] | None = None) -> Done:
        """Wait for the end of any request; ``timeout`` in seconds. Ctrl-C ends it in the guest too."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            done = self._until(deadline, on_output)
            if done is None:
                assert timeout is not None
                self._end(signal.SIGKILL, on_output)
                why = self._agent.why_silent()
                raise GuestTimeoutError(
                    f"not done in {timeout:g} s, and ended" + (f" ({why})" if why else "; give it a longer timeout"),
                    None,
                    self.what,
                )
            return done
        except KeyboardInterrupt:
            if self._end(signal.SIGINT, on_output) is None:
                self._end(signal.SIGKILL, on_output)
            raise
        finally:
            if self._done is not None or self._failed is not None:
                self._agent.forget(self)

    def poll(self, seconds: float, on_output: Callable[[bytes], None] | None = None) -> bool:
        """Take what comes for so long; whether it is done, or has failed: :meth:`wait` says how."""
        try:
            return self._until(time.monotonic() + seconds, on_output) is not None
        except HdvError as error:
            self._failed = error
            return True

    def interrupt(self, on_output: Callable[[bytes], None] | None = None) -> None:
        """End it in the guest, with SIGINT first."""
        try:
            if self._end(signal.SIGINT, on_output) is None:
                self._end(signal.SIGKILL, on_output)
        finally:
            if self._done is not None or self._failed is not None:
                self._agent.forget(self)

    def _end(self, number: int, on_output: Callable[[bytes], None] | None) -> Done | None:
        self.kill(number)
        with contextlib.suppress(HdvError):
            return self._until(time.monotonic() + _GRACE, on_output)
        return self._done

    def _until(self, deadline: float | None, on_output: Callable[[bytes], None] | None) -> Done | None:
        """Its end; None when that does not come before ``deadline``."""
        while self._done is None:
            if self._failed is not None:
                raise self._failed
            now = time.monotonic()
            left = _ASK if deadline is None else min(_ASK, deadline - now)
            if left <= 0 and self._events.empty():
                return None
            if self.through_stops and self._agent.is_stopped():  # held for as long as a person likes
                self._began = now
            self._check_alive(now, max(self._agent.heard, self._began))
            if now - max(self._agent.heard, self._asked) > _ASK / 2:  # it is looked once in _ASK
                self._asked = now
                self._agent.send(Kind.PING, 0)
            try:
                event = self._events.get(timeout=max(left, 0))
            except queue.Empty:
                continue
            if isinstance(event, HdvError):
                self._failed = type(event)(event.message, event.hresult, self.what)
            else:
                self._take(event, on_output)
        return self._done

    def _take(self, frame: Frame, on_output: Callable[[bytes], None] | None) -> None:
        if frame.kind == Kind.DATA:
            self._output += frame.payload
            if on_output is not None:
                on_output(frame.payload)
        elif frame.kind == Kind.CREDIT and len(frame.payload) == 4:
            self._credit += struct.unpack("<I", frame.payload)[0]
            self.feed()
        elif frame.kind == Kind.DONE and len(frame.payload) >= 5:
            outcome, value = struct.unpack_from("<Bi", frame.payload)
            self._done = Done(outcome, value, frame.payload[5:].decode("utf-8", "replace"))
        else:  # whoever is root in the guest may write to the port, too
            self._failed = BackendError(
                "what came is none of the agent's answers: something else in the guest writes to its serial port "
                "(/dev/ttyS1)",
                None,
                self.what,
            )

    def _check_alive(self, now: float, heard: float) -> None:
        silent = now - heard
        if silent < min(_HELD, self._agent.silence):
            return
        why = self._agent.why_silent()
        if why:
            raise StateError(why, None, self.what)
        if silent > self._agent.silence:
            raise GuestTimeoutError(
                f"the guest has not answered for {silent:.0f} s; look at its console, reset it or power it off",
                None,
                self.what,
            )

    def __repr__(self) -> str:
        return f"<{self.what}, {'done' if self._done else 'failed' if self._failed else 'running'}>"
