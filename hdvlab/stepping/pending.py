"""What was begun and is not over, because the guest is held: a guest program, a shell command, the start of a VM."""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

#: Seconds between two looks at whether something has ended, while nothing is held and while something is.
_LOOK, _HELD = 0.05, 0.5


class Pending:
    """One of them.

    Parameters
    ----------
    run : Run or Vm
        What takes its result.
    is_running : callable
        Whether it is not over; may look for a moment.
    finish : callable
        Takes what came of it, and raises what it failed with.
    """

    def __init__(self, run: Any, is_running: Callable[[], bool], finish: Callable[[], object]) -> None:
        self.run = run
        self._is_running = is_running
        self._finish = finish
        self._lock = threading.Lock()
        self._is_over = False
        self._is_finished = False
        self._failed: Exception | None = None

    def is_running(self) -> bool:
        """Whether it is not over."""
        with self._lock:  # whoever waits and whoever minds may both ask
            if not self._is_over:
                try:
                    self._is_over = not self._is_running()
                except Exception as error:  # the VM or the host is gone: that is its end
                    self._is_over, self._failed = True, error
            return not self._is_over

    def finish(self) -> None:
        """Take what came of it; raises what it failed with."""
        with self._lock:
            if not self._is_finished:
                try:
                    if self._failed is None:
                        self._finish()
                except Exception as error:  # whoever asks again gets it again
                    self._failed = error
                self._is_finished = True
        if self._failed is not None:
            raise self._failed


#: Told what has ended while nobody waited for it, and what it failed with.
OnEnd = Callable[[Any, BaseException | None], object]


class PendingRuns:
    """Those of one lab, oldest first.

    Whoever waits takes the result of what ends. Where nobody does, since a button or another kernel let the guest go on
    or the longest hold was over, a thread takes it, so that it reaches its run all the same; ``resume`` tells of it
    until something else is begun.
    """

    def __init__(self, is_held: Callable[[], bool]) -> None:
        self._is_held = is_held
        self._changed = threading.Condition()
        self._all: list[Pending] = []
        self._ended: list[Pending] = []
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._callbacks: list[OnEnd] = []
        self.announces: Callable[[], bool] = lambda: True
        """Whether a failure that nobody waits for is printed."""

    def __len__(self) -> int:
        return len(self._all) + len(self._ended)

    def __iter__(self) -> Any:
        return iter(list(self._all))

    def add(self, one: Pending) -> None:
        """It goes on when the guest does."""
        with self._changed:
            self._ended.clear()
            self._all.append(one)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_mind, args=(weakref.ref(self),), name="hdvlab-pending", daemon=True
                )
                self._thread.start()

    def clear(self) -> None:
        """The machine is off: nothing of it can go on."""
        with self._changed:
            self._all.clear()
            self._ended.clear()
            self._changed.notify_all()

    def waits(self) -> contextlib.AbstractContextManager[None]:
        """While in it, somebody waits, and takes what ends with :meth:`take`."""
        return _Waits(self)

    def take(self, one: Pending) -> bool:
        """Whether it is the caller's to finish; else somebody has taken it, or the machine is off."""
        with self._changed:
            is_there = one in self._all
            if is_there:
                self._all.remove(one)
            return is_there

    def take_ended(self) -> Pending | None:
        """The oldest that ended while nobody waited, once."""
        with self._changed:
            return self._ended.pop(0) if self._ended else None

    def on_end(self, callback: OnEnd) -> Callable[[], None]:
        """Have ``callback(run, error)`` called when something ends that nobody waits for; the result ends that."""
        self._callbacks.append(callback)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return end

    def look(self) -> bool:
        """Take the results of what has ended and nobody waits for; False = nothing is left to mind."""
        with self._changed:
            if not self._all:
                self._thread = None
                return False
            known = [] if self._waiting else list(self._all)
        for one in known:
            if one.is_running():
                continue
            with self._changed:
                if self._waiting or one not in self._all:
                    continue
                self._all.remove(one)
                self._ended.append(one)
            self._finish(one)
        return True

    def rest(self) -> tuple[threading.Condition, float]:
        """What to wait for before the next look, and how long at most, in seconds."""
        return self._changed, _HELD if self._waiting or self._is_held() else _LOOK

    def wake(self) -> None:
        """Something was let go: it may end soon."""
        with self._changed:
            self._changed.notify_all()

    def _finish(self, one: Pending) -> None:
        error: BaseException | None = None
        try:
            one.finish()
        except Exception as failed:  # its own; it is kept there too
            error = failed
        if error is not None and self.announces():
            name = getattr(one.run, "name", "") or "what was pending"
            with contextlib.suppress(OSError, ValueError):  # nobody may be looking
                print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        for callback in list(self._callbacks):
            callback(one.run, error)


class _Waits(contextlib.AbstractContextManager[None]):
    def __init__(self, runs: PendingRuns) -> None:
        self._runs = runs

    def __enter__(self) -> None:
        with self._runs._changed:
            self._runs._waiting += 1

    def __exit__(self, *_: object) -> None:
        with self._runs._changed:
            self._runs._waiting -= 1
            self._runs._changed.notify_all()


def _mind(known: weakref.ref[PendingRuns]) -> None:
    while (runs := known()) is not None and runs.look():
        changed, seconds = runs.rest()
        del runs  # a lab that is forgotten is not kept by what is pending in it
        with changed:
            changed.wait(seconds)
