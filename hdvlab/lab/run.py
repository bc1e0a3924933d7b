"""What happened while something ran: a program's end, and its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.guest import Program
    from hdvlab.lab.lab import Lab
    from hdvlab.trace.frame import Rows


class Run:
    """A stretch of the lab's trace: from ``start`` to where it ended.

    ``frame()`` and ``trace`` are its rows; ``value`` is what the program returned, if it was a program.
    """

    def __init__(self, lab: Lab, name: str = "", program: Program | None = None) -> None:
        self._lab = lab
        self.name = name
        self.program = program
        self.start = len(lab.trace)
        self.stop: int | None = None

    def end(self) -> None:
        """The stretch ends here."""
        self.stop = len(self._lab.trace)

    @property
    def trace(self) -> Trace:
        """The rows, as a trace; they share the lab's memory."""
        return self._lab.trace[self.start : self.stop]

    def frame(self, decode: bool = False) -> Rows:
        """The rows as a DataFrame; see :meth:`hdvlab.trace.Trace.frame`."""
        return self.trace.frame(decode)

    @property
    def value(self) -> Any:
        """What the program returned."""
        return None if self.program is None else self.program.value

    def __len__(self) -> int:
        return (len(self._lab.trace) if self.stop is None else self.stop) - self.start

    def __repr__(self) -> str:
        what = repr(self.program)[1:-1] if self.program is not None else self.name or "recording"
        return f"<{what}: {len(self):,} rows>"
