"""Commands and files in the guest, through the agent that runs in it."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from hdvlab.errors import BackendError, GuestTimeoutError, HdvError, StateError, UsageError
from hdvlab.systems.qemu.agent.line import Greeting, Line
from hdvlab.systems.qemu.agent.protocol import CHUNK, COMMAND_MAX, REQUESTS, Frame, Kind, Outcome
from hdvlab.systems.qemu.agent.running import Completed, Running

#: Seconds between two tries to reach QEMU's socket.
_RETRY = 0.05


class Agent:
    """The agent in the guest, at the far end of a serial port. Any thread may use it; requests run side by side.

    Parameters
    ----------
    path : path
        UNIX socket of the serial port: ``-chardev socket,id=agent,path=…,server=on,wait=off -serial chardev:agent``.
    why_silent : callable, optional
        Asked when the guest is silent: says why, such as ``"the VM is paused"``, or ``""`` where it should not be.
    silence : float
        Seconds without any answer after which a guest that has no reason to be silent is given up.
    is_stopped : callable, optional
        Whether a breakpoint holds the guest: then its silence is waited for.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        why_silent: Callable[[], str] | None = None,
        silence: float = 30.0,
        is_stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.path = Path(path)
        self.why_silent: Callable[[], str] = why_silent or (lambda: "")
        self.silence = silence
        self.is_stopped: Callable[[], bool] = is_stopped or (lambda: False)
        self._line: Line | None = None
        self._lock = threading.Lock()
        self._running: dict[int, Running] = {}
        self._last = 0
        self._room = threading.Semaphore(REQUESTS)

    def connect(self, timeout: float = 60.0) -> Greeting:
        """Reach the agent: QEMU's socket, then its greeting, which it sends when Linux is up.

        Parameters
        ----------
        timeout : float
            Seconds for both.

        Raises
        ------
        GuestTimeoutError
            It did not come.
        StateError
            The VM ended meanwhile.
        """
        deadline = time.monotonic() + timeout
        self.close()
        while True:
            try:
                line = Line(self.path, self._take, self._fail)
                break
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if time.monotonic() >= deadline:
                    raise GuestTimeoutError(
                        f"nobody listens at {self.path}: {error.strerror}; start the VM", None, "connect to the agent"
                    ) from error
            time.sleep(_RETRY)
        self._line = line
        try:
            return self._greeted(deadline, timeout)
        except BaseException:
            self.close()
            raise

    @property
    def connected(self) -> bool:
        """Whether the agent has greeted, and nothing was lost since."""
        return self._line is not None and self._line.greeting is not None

    @property
    def heard(self) -> float:
        """When the last byte came from the guest, seconds of ``time.monotonic``."""
        return self._line.heard if self._line is not None else 0.0

    @property
    def running(self) -> list[Running]:
        """Requests whose end nobody has seen: other threads' ones, and those left when the guest was held."""
        with self._lock:
            return list(self._running.values())

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run a shell command in the guest, as root, and wait for it. Ctrl-C ends it there.

        Programs that it leaves in the background are not waited for; send their output somewhere, the pipe closes.

        Parameters
        ----------
        command : str
            For ``/bin/sh -c``.
        stdin : bytes
            Its standard input.
        timeout : float, optional
            Seconds; for ever when not given.
        on_output : callable, optional
            Takes the output as it comes.

        Raises
        ------
        GuestTimeoutError
            It took longer than ``timeout`` and was killed, or the guest does not answer.
        StateError
            The guest is held (the command goes on with it, see :attr:`running`), was reset, or is gone.
        """
        return self.start(command, stdin=stdin).wait(timeout, on_output)

    def start(self, command: str, *, stdin: bytes = b"") -> Running:
        """Start a shell command, and do not wait."""
        text = command.encode()
        if len(text) > COMMAND_MAX or b"\0" in text:
            raise UsageError(f"a command has at most {COMMAND_MAX} bytes and none of them is 0; put it into a file")
        what = f"run {command if len(command) < 40 else command[:37] + '...'!r}"
        return self._start(Kind.RUN, struct.pack("<I", len(text)), what, text + stdin)

    def put(self, data: bytes, path: str, mode: int = 0o644, *, timeout: float | None = None) -> None:
        """Write a file in the guest. It has its old content, or all of the new one.

        Parameters
        ----------
        data : bytes
            The content.
        path : str
            Absolute; folders are there already.
        mode : int
            Permissions.
        timeout : float, optional
            Seconds.
        """
        payload = struct.pack("<I", mode) + self._path(path)
        self._transfer(self._start(Kind.PUT, payload, f"put {path}", data), timeout)

    def get(self, path: str, *, timeout: float | None = None) -> bytes:
        """Read a file in the guest; ``timeout`` in seconds."""
        return self._transfer(self._start(Kind.GET, self._path(path), f"get {path}", b""), timeout)

    def ping(self, timeout: float = 10.0) -> Greeting:
        """What the agent says of itself, after it has answered; ``timeout`` in seconds."""
        line = self._need()
        self.run(":", timeout=timeout)
        return line.wait_greeting(0) or self._greeted(time.monotonic() + timeout, timeout)

    def guest_was_reset(self) -> None:
        """Somebody knows that the guest starts anew: what ran in it ends now. From any thread."""
        if (line := self._line) is not None:
            line.reset()

    def wait_greeting(self, timeout: float) -> bool:
        """Whether the agent has greeted, within ``timeout`` seconds; after a reset it does so anew."""
        return self._need().wait_greeting(timeout) is not None

    def close(self) -> None:
        """Leave the agent. What runs in the guest runs until the next one connects. Idempotent."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, kind: Kind, request: int, payload: bytes = b"") -> None:
        """Queue a frame, for :class:`Running`."""
        if self._line is not None:
            self._line.send(kind, request, payload)

    def forget(self, running: Running) -> None:
        """Take a request off the list, for :class:`Running`."""
        with self._lock:
            if self._running.pop(running.number, None) is not None:
                self._room.release()

    def _need(self) -> Line:
        line = self._line
        if line is None:
            raise StateError("the agent is not connected; boot a VM", None, "use the guest's agent")
        return line

    def _greeted(self, deadline: float, timeout: float) -> Greeting:
        """The greeting of an agent that is there, or comes back from a reboot."""
        greeting = self._need().wait_greeting(max(0.0, deadline - time.monotonic()))
        if greeting is None:
            why = self.why_silent() or "look at its console: does Linux boot, and does its init start /agent?"
            raise GuestTimeoutError(f"no agent answered in {timeout:g} s: {why}", None, "connect to the agent")
        return greeting

    def _start(self, kind: Kind, payload: bytes, what: str, data: bytes) -> Running:
        line = self._need()
        if line.greeting is None:
            self._greeted(time.monotonic() + self.silence, self.silence)
        if not self._room.acquire(timeout=self.silence):
            raise StateError(f"{REQUESTS} requests are in flight in the guest; end one of them", None, what)
        with self._lock:
            while True:
                self._last = self._last % 0xFFFF + 1
                if self._last not in self._running:
                    break
            running = self._running[self._last] = Running(self, self._last, what, data)
        if kind == Kind.GET:
            self.send(kind, running.number, payload)
        else:
            self.send(kind, running.number, payload)
            running.feed()
        if line.greeting is None:  # lost between the look at it and here
            running.put(line.ended or StateError("the guest was reset; do it again"))
        return running

    def _transfer(self, running: Running, timeout: float | None) -> bytes:
        done = running.finish(timeout)
        if done.outcome == Outcome.FAILED:
            raise BackendError(f"{done.text} (in the guest)", None, running.what)
        return running.output

    @staticmethod
    def _path(path: str) -> bytes:
        encoded = os.fsencode(path)
        if not path.startswith("/") or len(encoded) > CHUNK - 4 or b"\0" in encoded:
            raise UsageError(f"{path!r} is no path in the guest; give it from / on")
        return encoded

    def _take(self, frame: Frame) -> None:
        with self._lock:
            running = self._running.get(frame.request)
        if running is not None:
            running.put(frame)

    def _fail(self, why: HdvError) -> None:
        with self._lock:
            running = list(self._running.values())
        for one in running:
            one.put(why)
