"""How far a long piece of work is, told to whoever listens in this thread.

::

    with listening(tell):
        trace.save(path)        # calls tell("writing rows", 1048576, 10000000)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import BinaryIO

#: Called with what is being done, and how many of how many are done.
Told = Callable[[str, int, int], None]

_listener: ContextVar[Told | None] = ContextVar("hdvlab_progress", default=None)


@contextmanager
def listening(told: Told) -> Iterator[None]:
    """Inside, work of this thread tells ``told`` how far it is."""
    token = _listener.set(told)
    try:
        yield
    finally:
        _listener.reset(token)


def listener() -> Told | None:
    """Who listens in this thread."""
    return _listener.get()


def tell(what: str, done: int, total: int) -> None:
    """So much is done; nothing where nobody listens."""
    told = _listener.get()
    if told is not None:
        told(what, done, total)


class Watched:
    """A stream whose reading tells how far it is."""

    def __init__(self, stream: BinaryIO, what: str, size: int) -> None:
        self._stream, self._what, self._size = stream, what, size
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """As the stream's own."""
        data = self._stream.read(size)
        self._done += len(data)
        tell(self._what, min(self._done, self._size), self._size)
        return data
