"""A person at a notebook, whose hosts and VMs do not outlive the test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator

from hdvlab.host.guard import end_orphan
from hdvlab.host.record import Record, records

from ..kernels import PATIENCE, Kernel

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class User(Kernel):
    """Types cells, and reads what comes."""

    def said(self, cell: str) -> str:
        """Everything that a cell showed; it did not fail."""
        text, errors = self.shown(cell)
        assert not errors, (cell, text, errors)
        return text

    def failed(self, cell: str) -> str:
        """How a cell failed, as the notebook shows it: that is one line."""
        text, errors = self.shown(cell)
        assert len(errors) == 1, (cell, text, errors)
        assert "\n" not in errors[0]
        return errors[0]

    def shown(self, cell: str) -> tuple[str, list[str]]:
        """What a cell printed or returned, and its errors."""
        text, errors = "", []
        for one in self.run(cell):
            if one["type"] == "stream":
                text += one["text"]
            elif one["type"] == "error":
                errors.append(_COLOURS.sub("", "\n".join(one["traceback"])))
            else:
                text += one["data"]["text/plain"]
        return text, errors


def host_of(name: str) -> Record:
    """The newest host of a name."""
    return [one for one in records() if one.name == name][-1]


@contextlib.contextmanager
def nothing_stays() -> Iterator[None]:
    """Ends every host of this test, and its VM."""
    try:
        yield
    finally:
        for record in records():
            if record.is_alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.pid, signal.SIGTERM)
                deadline = time.monotonic() + PATIENCE
                while record.is_alive and time.monotonic() < deadline:
                    time.sleep(0.01)
            end_orphan(record)
