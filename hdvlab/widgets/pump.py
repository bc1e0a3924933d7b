"""The one thread that works for panels: it answers the browser's requests and refreshes what is on screen."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

#: Shortest time between two refreshes of a panel, in seconds.
PERIOD = 0.1


class Refreshed(Protocol):
    """A panel, as the pump sees it."""

    def tick(self) -> bool:
        """Refresh if there is something new; False = nobody sees the panel any more."""


class Pump:
    """A thread that is there only while there is something to do.

    Everything that panels keep is touched on this thread only, and only this thread sends to the browser: traits and
    comms are not made for several.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], object]] = deque()
        self._panels: list[Refreshed] = []
        self._thread: threading.Thread | None = None
        self._busy = False

    def post(self, job: Callable[[], object]) -> None:
        """Have a short function called on the pump's thread, soon. It must not raise."""
        with self._changed:
            self._jobs.append(job)
            self._wake()

    def show(self, panel: Refreshed) -> None:
        """Refresh a panel from now on, at most ten times a second."""
        with self._changed:
            if panel not in self._panels:
                self._panels.append(panel)
                self._wake()

    def hide(self, panel: Refreshed) -> None:
        """Refresh a panel no more."""
        with self._changed:
            if panel in self._panels:
                self._panels.remove(panel)
                self._wake()

    def settle(self, timeout: float) -> bool:
        """Wait until everything that was posted is done; False = it is not after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout)

    @property
    def on_pump(self) -> bool:
        """Whether this is the pump's thread."""
        return threading.current_thread() is self._thread

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hdvlab-pump", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._jobs and (not self._panels or time.monotonic() < due):
                    if not self._panels:
                        self._thread = None
                        return
                    self._changed.wait(max(due - time.monotonic(), 0.0))
                jobs, self._jobs = self._jobs, deque()
                panels = list(self._panels)
                self._busy = True
            for job in jobs:
                job()
            began = time.monotonic()
            if began >= due:
                for panel in panels:
                    if not panel.tick():
                        self.hide(panel)
                ended = time.monotonic()
                # What is slow to refresh gets half of this thread's time at most.
                due = max(began + PERIOD, ended + (ended - began))


#: The pump of this process.
PUMP = Pump()
os.register_at_fork(after_in_child=PUMP._begin)  # the thread is not in the child, nor is the browser
