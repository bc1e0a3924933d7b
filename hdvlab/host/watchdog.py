"""Watches for handlers that hang: the server has answered the guest in their place, and here they are dealt with.

First the stack of the thread is told, as a fault. After a grace an exception is raised in it, which ends a loop in
Python. What is blocked in a call into C cannot be ended so; that is told, and the VM lives on without that device.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from hdvlab.device import Fault
from hdvlab.errors import DeviceError, HdvError, HResult

#: Seconds between two looks.
LOOK = 0.25
#: Seconds from the first report to the exception, and from each try to the next.
GRACE = 2.0


class HandlerStopped(DeviceError):
    """Raised in a handler that did not return in time (``ERROR_TIMEOUT``)."""

    default_hresult = HResult.ERROR_TIMEOUT

    def __init__(self, message: str = "", hresult: int | None = None, operation: str = "") -> None:
        super().__init__(message or "the handler did not return in time, and was stopped", hresult, operation)


class Watched(Protocol):
    """A machine's devices, as far as they may hang."""

    def hung(self) -> dict[str, int]:
        """Device name to the thread (``pthread_t``, 0 = not known) of each that owes an answer."""

    def report(self, name: str, fault: Fault) -> None:
        """Keep a fault of a device, and tell it."""


@dataclass
class _Case:
    """One handler that hangs."""

    thread: int
    since: float
    tries: int = 0


class Watchdog:
    """A thread that looks. Parameters in seconds."""

    def __init__(self, watched: Watched, *, look: float = LOOK, grace: float = GRACE) -> None:
        self._watched = watched
        self._look = look
        self._grace = grace
        self._cases: dict[str, _Case] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hdvlab-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ending.wait(self._look):
            try:
                self.look()
            except HdvError:  # the machine went off under it
                continue

    def look(self) -> None:
        """Deal with what hangs now."""
        now = time.monotonic()
        hung = self._watched.hung()
        for name in [name for name in self._cases if name not in hung]:
            over = self._cases.pop(name)
            if over.tries:
                _throw(over.thread, None)  # what was not raised yet would hit a later handler
        for name, thread in hung.items():
            case = self._cases.get(name)
            if case is None or case.thread != thread:
                self._cases[name] = _Case(thread, now)
                self._tell(name, thread, "a handler does not return; the guest is answered all ones in its place")
            elif now - case.since >= self._grace * (case.tries + 1) and case.tries < 3:
                self._end(name, case)

    def _end(self, name: str, case: _Case) -> None:
        case.tries += 1
        if case.tries < 3 and case.thread in sys._current_frames():
            # SystemExit for a handler that takes the first for one of its own errors: `except Exception: continue`.
            _throw(case.thread, HandlerStopped if case.tries == 1 else SystemExit)
            return
        case.tries = 3
        text = "it is blocked in a call that cannot be interrupted; the VM lives on, and reads all ones of this device"
        self._tell(name, case.thread, text)

    def _tell(self, name: str, thread: int, what: str) -> None:
        frame = sys._current_frames().get(thread)
        stack = _own_stack(frame) if frame is not None else "it runs no Python: compiled code, or a call into C\n"
        error = HandlerStopped(what)
        fault = Fault(name, "hung handler", int(HResult.ERROR_TIMEOUT), error, f"{what}\n{stack}", -1)
        self._watched.report(name, fault)


def _own_stack(frame: FrameType) -> str:
    """The stack, from the author's own code on."""
    entries = list(traceback.walk_stack(frame))[::-1]
    own = [
        number
        for number, (one, _) in enumerate(entries)
        if not one.f_globals.get("__name__", "").startswith(("hdvlab.hdv.", "hdvlab.device."))
    ]
    shown = entries[own[0] :] if own else entries
    return "".join(traceback.StackSummary.extract(iter(shown)).format())


def _throw(thread: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in a thread, soon; None takes back what has not been raised yet."""
    value = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)
