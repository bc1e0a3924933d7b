"""What the code of devices prints: into the host's log, and to whoever is attached."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from hdvlab.host.process import Host


#: Characters of a line without an end that are kept back.
_LINE_MAX = 4096


class Output(io.TextIOBase):
    """Stands in the place of ``sys.stdout`` or ``sys.stderr``; lines are passed on whole."""

    def __init__(self, host: Host, stream: str, log: TextIO) -> None:
        self._host = host
        self._stream = stream
        self._log = log
        self._part: dict[int, str] = {}
        self._guard = threading.Lock()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Take text; what does not end a line waits for the rest of it."""
        thread = threading.get_ident()
        with self._guard:
            whole, newline, rest = (self._part.pop(thread, "") + text).rpartition("\n")
            if len(rest) > _LINE_MAX:
                whole, newline, rest = whole + newline + rest, "", ""
            if rest:
                self._part[thread] = rest
        if whole or newline:
            self._pass_on(whole + newline)
        return len(text)

    def flush(self) -> None:
        """Pass on what this thread has begun."""
        with self._guard:
            rest = self._part.pop(threading.get_ident(), "")
        if rest:
            self._pass_on(rest)

    def _pass_on(self, text: str) -> None:
        self._host.tell({"event": "output", "stream": self._stream, "text": text})
        try:
            self._log.write(text)
            self._log.flush()
        except (OSError, ValueError):  # a full disk does not stop a device; who is attached has seen it
            return
