"""A bar of text for what lasts longer than a second, and none for the rest."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from hdvlab.trace.progress import listener, listening

#: Seconds that something may take without a bar.
PATIENCE = 1.0
_WIDTH = 24
_LEAST = 0.1
#: Seconds between two drawings of a line that nobody tells how far it is.
_TICK = 0.5


class LateBar:
    """One line that is drawn over itself, from when :data:`PATIENCE` is over; it is wiped at the end.

    Parameters
    ----------
    what : str
        What is being done: shown with the seconds it has taken, until somebody tells how far it is. Without it nothing
        is drawn before that.
    stream : TextIO, optional
        Where to; stderr if not given. One that is neither a terminal nor a notebook's gets nothing.
    """

    def __init__(self, what: str = "", stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        # A notebook's stream is no terminal, but its front end draws over a line all the same.
        is_notebooks = type(self._stream).__module__.startswith("ipykernel")
        self._draws = _somebody_looks() if is_notebooks else self._stream.isatty()
        self._began = self._drawn = time.monotonic()
        self._length = 0
        self._what, self._share = what, ""
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None
        if what and self._draws:
            # Whoever does the work may be in C, or wait for another process: the clock is a thread of its own.
            self._ticker = threading.Thread(target=self._tick, name="hdvlab-progress", daemon=True)
            self._ticker.start()

    def __call__(self, what: str, done: int, total: int) -> None:
        """So much is done. From any thread."""
        now = time.monotonic()
        if not self._draws or total <= 0:
            return
        filled = _WIDTH * min(done, total) // total
        with self._guard:
            self._what = what
            self._share = f"[{'#' * filled}{' ' * (_WIDTH - filled)}] {100 * min(done, total) // total} %"
            if now - self._drawn >= _LEAST:
                self._draw(now)

    def _tick(self) -> None:
        if self._over.wait(PATIENCE):
            return
        while True:
            with self._guard:
                self._draw(time.monotonic())
            if self._over.wait(_TICK):
                return

    def _draw(self, now: float) -> None:
        if now - self._began < PATIENCE or self._over.is_set():
            return
        self._drawn = now
        line = f"{self._what} {self._share}" if self._share else f"{self._what}, {now - self._began:.0f} s"
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def wipe(self) -> None:
        """Take the line away, for a line of another's; it comes again."""
        with self._guard:
            if self._length:
                self._stream.write("\r" + " " * self._length + "\r")
                self._stream.flush()
                self._length = 0

    def close(self) -> None:
        """Wipe the line; it does not come again."""
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()
        self.wipe()


def _somebody_looks() -> bool:
    """Whether a person is at the notebook: who executes pages without one (nbclient, nbconvert) asks for no input."""
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", True))


@contextmanager
def late_bar(what: str = "") -> Iterator[LateBar]:
    """Inside, work shows how far it is once it lasts, or how long it has lasted where it does not tell.

    Parameters
    ----------
    what : str
        What is being done. Without it only work that tells shows.
    """
    outer = listener()
    if isinstance(outer, LateBar):  # work within work: one line
        yield outer
        return
    bar = LateBar(what)
    try:
        with listening(bar):
            yield bar
    finally:
        bar.close()
