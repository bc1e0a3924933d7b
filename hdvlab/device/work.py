"""Work a device does outside a guest's access: later (timers) or elsewhere (threads), with the cause taken along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hdvlab._core import lib
from hdvlab.errors import HandleError, HResult, StateError, check


class DeviceLock:
    """Entered, its thread runs as if in a callback of the device: alone, and guarded against re-entry.

    A thread that is inside already, in a handler or in another ``with``, goes on as it is.
    """

    def __init__(self, device: Any, cause: int = -1) -> None:
        self._device = device
        self._cause = cause
        self._held = threading.local()
        """``entered``: for each ``with`` that this thread is in, whether it was the one that entered."""

    def __enter__(self) -> None:
        entered = self._held.__dict__.setdefault("entered", [])
        if lib.hdvlab_device_inside(self._device) == 0:
            entered.append(False)
            return
        before = lib.hdvlab_cause()
        cause = before if before >= 0 else self._cause
        try:
            # In slices, so that Ctrl-C reaches a thread that waits for a device that hangs.
            while (hresult := lib.hdvlab_device_enter(self._device, 100, cause)) == HResult.ERROR_BUSY.signed:
                pass
            check(hresult, "lock", "the device is not running")
            entered.append(True)
        except BaseException:  # Ctrl-C may come when the device was entered already
            if lib.hdvlab_device_inside(self._device) == 0:
                lib.hdvlab_device_leave(self._device)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held.entered.pop():
            lib.hdvlab_device_leave(self._device)


class Work:
    """The timers and threads of one powered-on device."""

    def __init__(self, device: Any, on_failure: Callable[[str, BaseException], int]) -> None:
        self.device = device
        self._on_failure = on_failure
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self.stopping = threading.Event()

    def _start(self, thread: threading.Thread) -> None:
        thread.daemon = True
        with self._guard:
            if self.stopping.is_set():
                return
            self._threads = {t for t in self._threads if t.is_alive()}  # also timers that were cancelled
            self._threads.add(thread)
            thread.start()

    def _run(self, what: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            function(*arguments)
        except (StateError, HandleError) as error:
            if not self.stopping.is_set():  # else: the machine went off under it, as machines do
                self._on_failure(what, error)
        except BaseException as error:
            self._on_failure(what, error)
        finally:
            with self._guard:
                self._threads.discard(threading.current_thread())

    def after(self, seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> threading.Timer:
        """Run ``function`` under the device's lock once ``seconds`` have passed, unless the device stops before."""
        cause = lib.hdvlab_cause()

        def locked() -> None:
            with DeviceLock(self.device, cause):
                function(*arguments)

        timer = threading.Timer(seconds, self._run, (f"after({seconds:g} s)", locked, ()))
        timer.name = "hdvlab-timer"
        self._start(timer)
        return timer

    def spawn(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> threading.Thread:
        """Run ``function`` in a thread of its own, without the lock."""
        cause = lib.hdvlab_cause()

        def caused() -> None:
            lib.hdvlab_set_cause(cause)
            function(*arguments)

        thread = threading.Thread(target=self._run, args=("spawn", caused, ()), name="hdvlab-device")
        self._start(thread)
        return thread

    def count(self) -> tuple[int, int]:
        """Timers and threads that are under way."""
        with self._guard:
            alive = [thread for thread in self._threads if thread.is_alive()]
        timers = sum(isinstance(thread, threading.Timer) for thread in alive)
        return timers, len(alive) - timers

    def stop(self) -> None:
        """Cancel timers, tell threads to end. Does not wait: the caller may hold the lock they wait for."""
        self.stopping.set()
        with self._guard:
            threads = list(self._threads)
        for thread in threads:
            if isinstance(thread, threading.Timer):
                thread.cancel()

    def join(self, timeout: float) -> list[threading.Thread]:
        """Wait for the threads to end; those that have not within ``timeout`` seconds."""
        with self._guard:
            # One without a number was never started: Ctrl-C came first.
            threads = [t for t in self._threads if t is not threading.current_thread() and t.ident is not None]
        for thread in threads:
            thread.join(timeout)
        return [thread for thread in threads if thread.is_alive()]


def current_cause() -> int:
    """The row that rows of this thread name as their cause: of the access being served; -1 = none."""
    return int(lib.hdvlab_cause())


def set_cause(row: int) -> None:
    """Say that what this thread does from now on comes from ``row``, which may be of another thread's; -1 = none.

    For a thread of :meth:`hdvlab.Device.spawn` that serves what several accesses asked for.
    """
    lib.hdvlab_set_cause(row)
