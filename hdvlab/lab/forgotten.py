"""Machines whose lab was forgotten: they are switched off by a thread of their own.

A lab that is not closed may be found by the garbage collector on any thread, at any moment, also inside a device's
handler. Device code (Stop, Teardown) must not run there, so the collector only queues the machine here.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable

_Off = Callable[[], None]


def _nothing() -> None:
    """A lab was closed in good order."""


class _Closer:
    """The thread, there as long as labs are, and its queue."""

    def __init__(self) -> None:
        # Its put() may be called while the same thread is inside it, which is what a garbage collector does.
        self.queue: queue.SimpleQueue[_Off | None] = queue.SimpleQueue()
        self.guard = threading.Lock()
        self.process = os.getpid()
        self.labs = 0
        self.many = 8
        """Labs from which on garbage is looked for before another is made; twice as many as were left then."""
        self.thread: threading.Thread | None = None

    def begin(self) -> None:
        """There is one more lab."""
        with self.guard:
            self.labs += 1
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="hdvlab-closer", daemon=True)
                self.thread.start()

    def end(self, off: _Off) -> None:
        """There is one less; a fork's child leaves its parent's machines alone."""
        if os.getpid() == self.process:
            self.queue.put(off)
            self.queue.put(None)

    def _work(self) -> None:
        while True:
            off = self.queue.get()
            if off is not None:
                try:
                    off()
                except BaseException:
                    traceback.print_exc(file=sys.stderr)
                continue
            with self.guard:
                self.labs -= 1
                if not self.labs:
                    self.thread = None
                    return


_closer = _Closer()


def _of_this_process() -> _Closer:
    global _closer
    if _closer.process != os.getpid():
        _closer = _Closer()
    return _closer


def make_room() -> None:
    """Before another lab is made: if there are many, see which of them are forgotten, and wait until they are off.

    They are in circles that only the collector finds, and it runs by numbers of objects, not by what they hold.
    """
    closer = _of_this_process()
    if closer.labs >= closer.many:
        gc.collect()
        settle()
        closer.many = max(8, 2 * closer.labs)


def when_forgotten(owner: object, off: _Off) -> Callable[[], object]:
    """Have ``off`` called, on the closing thread, once nobody refers to ``owner`` any more.

    ``off`` must not refer to ``owner``. Returns what says that the owner was closed in good order, once. Nothing
    happens at the interpreter's end.
    """
    closer = _of_this_process()
    finalizer = weakref.finalize(owner, closer.end, off)
    finalizer.atexit = False
    closer.begin()

    def closed() -> None:
        if finalizer.detach() is not None:
            closer.end(_nothing)

    return closed


def settle(timeout: float = 10.0) -> bool:
    """Wait until the machines that are queued by now are off; False when that takes longer than ``timeout`` seconds."""
    closer = _of_this_process()
    thread = closer.thread
    if thread is None or thread is threading.current_thread():
        return thread is None
    done = threading.Event()
    closer.queue.put(done.set)
    deadline = time.monotonic() + timeout
    while not done.wait(0.02):
        if not thread.is_alive():  # the last lab ended meanwhile, and what is queued is this
            return True
        if time.monotonic() > deadline:
            return False
    return True
