"""How a set-up tells what it does: a callable takes steps; one of them draws a bar of text."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

#: Called with what is being done, and how many bytes of how many are done; both 0 where that has no measure.
Progress = Callable[[str, int, int], None]

_WIDTH = 24
_LEAST_S = 0.1


def silent(step: str, done: int, total: int) -> None:
    """A progress that tells nobody."""


class TextBar:
    """One line that is drawn over itself; where the stream is neither a terminal nor a notebook, a line per step.

    Parameters
    ----------
    stream : TextIO, optional
        Where to; stderr if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        # A notebook's stream is no terminal, but its front-end draws over a line all the same.
        self._redraws = self._stream.isatty() or type(self._stream).__module__.startswith("ipykernel")
        self._step = ""
        self._length = 0
        self._drawn = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        """Draw; at most ten times a second within a step."""
        new = step != self._step
        if not self._redraws:
            if new:
                self._step = step
                print(f"hdvlab: {step}", file=self._stream, flush=True)
            return
        now = time.monotonic()
        if not new and now - self._drawn < _LEAST_S and done < total:
            return
        if new and self._step:
            self._stream.write("\n")
            self._length = 0
        self._step, self._drawn = step, now
        line = step
        if total:
            filled = _WIDTH * min(done, total) // total
            line = f"{step} [{'#' * filled}{' ' * (_WIDTH - filled)}] {done / 1e6:.0f} of {total / 1e6:.0f} MB"
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def close(self) -> None:
        """End the line."""
        if self._redraws and self._step:
            self._stream.write("\n")
            self._stream.flush()
        self._step, self._length = "", 0
