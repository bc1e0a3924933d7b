"""What happened while something ran: a program's end, and its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.schema import E_PENDING, Kind
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.trace.frame import Rows


_LONGEST = 90  # of what a program returned, as text


class Recorded(Protocol):
    """Whoever has a trace that grows: a lab, wherever its machine is."""

    @property
    def trace(self) -> MappedTrace: ...
    def held(self) -> str:
        """At what the guest is held; "" where nothing is."""


class AnyProgram(Protocol):
    """A guest program, in this process or in a device host; see :class:`hdvlab.guest.Program`."""

    name: str
    error: BaseException | None
    seconds: float

    @property
    def value(self) -> Any: ...
    @property
    def running(self) -> bool: ...
    def join(self, timeout: float | None = None) -> bool: ...
    def stop(self) -> None: ...
    def result(self) -> Any: ...


class Run:
    """A stretch of the lab's trace: from ``start`` to where it ended.

    ``frame()`` and ``trace`` are its rows; ``value`` is what the program returned, if it was a program.
    """

    def __init__(self, lab: Recorded, name: str = "", program: AnyProgram | None = None) -> None:
        self._lab = lab
        self.name = name
        self.program = program
        self.start = len(lab.trace)
        self.stop: int | None = None

    def end(self) -> None:
        """The stretch ends here."""
        if self.stop is None:
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
        last = len(self._lab.trace)
        return max(0, (last if self.stop is None else min(last, self.stop)) - self.start)

    @property
    def held(self) -> str:
        """At what its program is held, so that it has not ended; "" where it is not."""
        return self._lab.held() if self.program is not None and self.program.running else ""

    def __repr__(self) -> str:
        name = self.name or "recording"
        rows = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        counts = np.bincount(self.trace.columns()["kind"], minlength=len(Kind))
        counts = counts[: len(Kind)]
        counts[Kind.lost] = self.trace.columns()["value"][self.trace.columns()["kind"] == Kind.lost].sum()
        kinds = ", ".join(f"{count:,} {Kind(kind).name}" for kind, count in enumerate(counts) if count)
        kind, status = (self.trace.columns()[name] for name in ("kind", "status"))
        told = np.isin(kind, (Kind.fault, Kind.lost))  # they speak of other rows
        failed = int(np.count_nonzero((status < 0) & (status != E_PENDING) & ~told))
        if failed:
            rows += f", {failed:,} failed"
        end = ""
        if self.program is not None:
            end = repr(self.program)[1:-1].removeprefix(self.program.name).replace(" returned None after", "")
            end = f";{end}" if len(end) <= _LONGEST else f";{end[:_LONGEST]}…"
            if held := self.held:
                end = f"; {held}"
        return f"<{name}: {rows}{f' ({kinds})' if kinds else ''}{end}>"
