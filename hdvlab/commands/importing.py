"""Imports that Ctrl-C does not cut in two: half of pandas or matplotlib stays broken until the kernel is restarted."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def import_whole(*names: str) -> None:
    """Import packages; a Ctrl-C meanwhile counts when they are there.

    What cannot be imported is left to whoever uses it, who says what is missing.
    """
    lacking = [name for name in names if name not in sys.modules]
    if not lacking:
        return
    with _interrupted_later():
        for name in lacking:
            try:
                importlib.import_module(name)
            except Exception:  # who uses it gets the same error, and can say what to do
                return


@contextmanager
def _interrupted_later() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        # None is a handler that Python did not set; it cannot be put back, and the default is what Ctrl-C means.
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
    if came:
        raise KeyboardInterrupt
