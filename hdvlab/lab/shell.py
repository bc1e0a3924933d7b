"""A shell command in a VM's guest: what it said, how it ended, and its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hdvlab.lab.run import Recorded, Run

if TYPE_CHECKING:
    from hdvlab.systems.qemu.agent import Running

#: Seconds of one look at a command that runs.
_LOOK = 0.05


class ShellRun(Run):
    """A stretch of the lab's trace while a command ran in the guest.

    Attributes
    ----------
    command : str
        What was run.
    status : int, optional
        Its exit status, 0 to 255; None while it runs, or where its end is not known.
    output : bytes
        What it wrote to standard output and standard error, in order.
    """

    def __init__(self, lab: Recorded, name: str, command: str) -> None:
        super().__init__(lab, name)
        self.command = command
        self.status: int | None = None
        self.output = b""

    @property
    def text(self) -> str:
        """The output as text; bytes that are no UTF-8 are shown as such."""
        return self.output.decode(errors="backslashreplace")

    @property
    def held(self) -> str:
        """At what the guest is held, so that the command has not ended; "" where it is not."""
        return self._lab.held() if self.stop is None else ""

    def __repr__(self) -> str:
        end = "its end is not known" if self.status is None else f"status {self.status}"
        end = self.held or end
        return f"{super().__repr__()[:-1]}; {end}>"


class ShellWait:
    """A command in the guest, waited for a little at a time, so that a stop is seen meanwhile.

    Parameters
    ----------
    running : Running
        What was begun in the guest.
    run : ShellRun
        Takes what comes of it.
    timeout : float, optional
        Seconds; then it is killed. Where the guest is held they do not run.
    on_output : callable, optional
        Takes output as it comes.
    """

    def __init__(
        self, running: Running, run: ShellRun, timeout: float | None, on_output: Callable[[bytes], None] | None
    ) -> None:
        self._running = running
        running.through_stops = True
        self._run = run
        self._left = timeout
        self._on_output = on_output

    def is_running(self) -> bool:
        """Whether it goes on; looks for a moment."""
        began = time.monotonic()
        is_done = self._running.poll(_LOOK, self._on_output)
        self._run.output = self._running.output
        if self._left is not None:
            self._left -= time.monotonic() - began
        return not is_done and (self._left is None or self._left > 0)

    def finish(self) -> None:
        """Take its end; raises what it failed with."""
        try:
            done = self._running.wait(None if self._left is None else max(0.0, self._left), self._on_output)
            self._run.status, self._run.output = done.status, done.output
        finally:
            self._run.end()

    def stop(self) -> None:
        """End it in the guest, as Ctrl-C does."""
        self._running.interrupt(self._on_output)
        self._run.end()
