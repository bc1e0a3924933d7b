"""One request that is being served."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hdvlab.errors import GuestInterrupted
from hdvlab.host.wire import packed

if TYPE_CHECKING:
    from hdvlab.host.session import Session


class Call:
    """What a request's function knows of whoever asks."""

    def __init__(self, session: Session, number: object) -> None:
        self.session = session
        self._number = number
        self.stopped = threading.Event()
        """Set when the client does not want the answer any more: the stop button. Not when it is gone."""
        self._guard = threading.Lock()
        self._waiting = 0

    def progress(self, data: bytes) -> None:
        """Let the client have something before the answer; never waits for it."""
        self.session.tell({"event": "progress", "call": self._number, "data": packed(data)})

    def stop(self) -> None:
        """The client gives the request up."""
        self.stopped.set()
        with self._guard:
            if self._waiting:
                _throw(self._waiting, KeyboardInterrupt)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, the stop button ends what is waited for as Ctrl-C would.

        Raises
        ------
        GuestInterrupted
            It was pressed.
        """
        me = threading.get_ident()
        try:
            with self._guard:
                self._waiting = me
            if self.stopped.is_set():
                raise KeyboardInterrupt
            try:
                yield
            finally:
                with self._guard:
                    self._waiting = 0
                    if self.stopped.is_set():
                        _throw(me, None)  # what has not been raised yet would hit the next request
        except KeyboardInterrupt:
            raise GuestInterrupted("stopped") from None


def _throw(thread: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in a thread, soon; None takes back what has not been raised yet."""
    value = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)
