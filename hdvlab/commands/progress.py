"""A bar of text for what lasts longer than a second, and none for the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from hdvlab.trace.progress import listening

#: Seconds that something may take without a bar.
PATIENCE = 1.0
_WIDTH = 24
_LEAST = 0.1


class LateBar:
    """One line that is drawn over itself, from when :data:`PATIENCE` is over; it is wiped at the end.

    Parameters
    ----------
    stream : TextIO, optional
        Where to; stderr if not given. One that is neither a terminal nor a notebook's gets nothing.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        # A notebook's stream is no terminal, but its front end draws over a line all the same.
        self._draws = self._stream.isatty() or type(self._stream).__module__.startswith("ipykernel")
        self._began = self._drawn = time.monotonic()
        self._length = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """So much is done."""
        now = time.monotonic()
        if not self._draws or now - self._began < PATIENCE or now - self._drawn < _LEAST or total <= 0:
            return
        self._drawn = now
        filled = _WIDTH * min(done, total) // total
        line = f"{what} [{'#' * filled}{' ' * (_WIDTH - filled)}] {100 * done // total} %"
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def close(self) -> None:
        """Wipe the line."""
        if self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()
            self._length = 0


@contextmanager
def late_bar() -> Iterator[None]:
    """Inside, work on traces shows how far it is once it lasts."""
    bar = LateBar()
    try:
        with listening(bar):
            yield
    finally:
        bar.close()
