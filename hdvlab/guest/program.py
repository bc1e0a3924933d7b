"""A guest program: a Python function that runs as the guest, in a thread of its own."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

from hdvlab.errors import GuestInterrupted, StateError
from hdvlab.guest.guest import Guest
from hdvlab.guest.outcome import Outcome

#: How long a stopped program may take to end before the lab gives up on it, seconds.
STOP_GRACE = 2.0


class _Last(BaseException):
    """Thrown by a thread into itself at its end."""


def _throw(thread: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in a thread, soon; None takes back what has not been raised yet."""
    value = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)


class Program(Outcome):
    """A guest program in this process; ``on_end`` is called on its thread when it has ended."""

    def __init__(self, function: Callable[..., Any], guest: Guest, arguments: tuple[Any, ...]) -> None:
        super().__init__(getattr(function, "__name__", repr(function)))
        self._returned = False
        self._guest = guest
        self._function = function
        self._arguments = arguments
        self.on_end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=f"hdvlab-guest-{self.name}", daemon=True)
        # Not the thread's own state: Ctrl-C in Thread.join may mark a thread as ended that runs (CPython 3.11).
        self._begun, self._done = threading.Event(), threading.Event()
        self._door = threading.Lock()
        """Held where something is thrown into the thread, or no longer may be."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._begun.set()
            self._call()
        except (GuestInterrupted, SystemExit):  # a stop may come before the function and behind its end
            if not self._returned and self.error is None:
                self.error = GuestInterrupted(f"{self.name} was stopped")
        while not self._done.is_set():
            with contextlib.suppress(GuestInterrupted, SystemExit), self._door:
                _throw(threading.get_ident(), None)  # what is on its way would hit the interpreter's own code
                self._done.set()
        # CPython 3.11 goes on looking for the exception that was taken back, and with a profiler or debugger it does so
        # for ever; one that arrives ends that.
        with contextlib.suppress(_Last):
            _throw(threading.get_ident(), _Last)
            while True:
                pass

    def _call(self) -> None:
        began = time.perf_counter()
        try:
            self.value, self._returned = self._function(self._guest, *self._arguments), True
        except BaseException as error:
            stopped = isinstance(error, SystemExit) and self._guest.stopped.is_set()
            self.error = GuestInterrupted(f"{self.name} was stopped") if stopped else error
        finally:
            self.seconds = time.perf_counter() - began
            self._guest.close()
            self.on_end()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._done.is_set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; on Ctrl-C stop the program first. False when ``timeout`` seconds were not enough."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            # Short waits: the interpreter answers Ctrl-C between them.
            while not self._done.wait(0.05):
                if deadline is not None and time.monotonic() > deadline:
                    return False
        except KeyboardInterrupt:
            self.stop()
            raise
        return True

    def stop(self) -> None:
        """Stop the program from outside: waits and Python code end at once with GuestInterrupted.

        Raises
        ------
        StateError
            It did not end, because it is inside a call that Python cannot interrupt.
        """
        began = time.monotonic()
        self._guest.stopped.set()
        while self.running:
            late = time.monotonic() - began
            if late > STOP_GRACE:
                self._guest.cut_off()
                raise StateError(
                    f"{self.name} does not stop: it catches everything, or is in a call that Python cannot interrupt. "
                    "It is cut off from the machine; restart the kernel to be rid of its thread"
                )
            self._guest.bus.cancel()
            # SystemExit for a program that takes the first for one of its own errors: `except Exception: continue`.
            kind = GuestInterrupted if late < STOP_GRACE / 4 else SystemExit
            with self._door:
                if self.running and self._begun.is_set() and self._thread.ident is not None:
                    _throw(self._thread.ident, kind)
            self._done.wait(0.1)
        self._guest.close()  # if the stop came while it did so itself
        self.on_end()
