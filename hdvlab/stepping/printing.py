"""Lines that tracepoints print: as they come where they are few, counted where they are many."""

from __future__ import annotations

import collections
import contextlib
import threading

#: Seconds between two writes, and lines of one write.
_EVERY, _MOST = 0.1, 20


class Printer:
    """Prints on a thread of its own, so that an access waits for no terminal. What is not printed is counted and told.

    Every message is a row of the trace all the same.
    """

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._lines: collections.deque[str] = collections.deque()
        self._left_out = 0
        self._thread: threading.Thread | None = None
        self._ending = False

    def say(self, line: str) -> None:
        """A line, soon."""
        with self._guard:
            if len(self._lines) >= _MOST:
                self._left_out += 1
                return
            self._lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hdvlab-tracepoints", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._guard:
                lines, left_out = list(self._lines), self._left_out
                self._lines.clear()
                self._left_out = 0
                if not lines:  # nothing came for a while
                    self._thread = None
                    return
            if left_out:
                lines.append(f"... and {left_out:,} more, not printed; all are in the trace: %hdv trace --kind mark")
            with contextlib.suppress(OSError, ValueError):  # nobody may be looking
                print("\n".join(lines), flush=True)
            with self._guard:
                if not self._ending:
                    self._guard.wait_for(lambda: self._ending, _EVERY)

    def flush(self) -> None:
        """Print what there is; on return it is printed."""
        with self._guard:
            self._ending = True
            self._guard.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)
        self._ending = False
