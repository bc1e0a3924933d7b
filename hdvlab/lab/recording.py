"""What every lab does with its recording, wherever its machine is."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hdvlab.errors import TraceError, TraceLossWarning
from hdvlab.lab.run import Run
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.widgets.dashboard import Dashboard


class RecordingLab:
    """A lab with a trace that grows, and named stretches of it."""

    trace: MappedTrace

    def __init__(self) -> None:
        self._told_of_loss = False
        self.runs: dict[str, Run | Trace] = {}
        """Named recordings, by :meth:`record` and ``run``, and traces loaded from files."""

    @contextlib.contextmanager
    def record(self, name: str = "") -> Iterator[Run]:
        """What happens inside ``with lab.record() as run:``, whoever did it, is ``run.frame()``."""
        run = Run(self, name)
        if name:
            self.runs[name] = run
        try:
            yield run
        finally:
            run.end()
            self._keep(run, name)
            self.warn_of_loss()

    def _keep(self, run: Run, name: str) -> None:
        """A run has ended; a lab whose host outlives it tells the host."""

    def held(self) -> str:
        """At what the guest is held; "" where nothing is."""
        return ""

    def warn_of_loss(self) -> None:
        """Tell, once, that the recording has stopped: the disk is full, or it has as many rows as it may."""
        if self._told_of_loss or not self.trace.stopped:
            return
        self._told_of_loss = True
        try:
            self.trace.check()
        except TraceError as error:
            warnings.warn(str(error), TraceLossWarning, stacklevel=3)

    def panel(self, *names: str) -> Dashboard:
        """The panels of this lab laid out together, live; ``lab.panel("registers", "table")`` only these.

        Parameters
        ----------
        *names : str
            status, stepper, registers, config, memory, timeline, table, heatmap; all when none is named. One alone,
            with settings of its own: ``hdvlab.widgets.registers(lab, "blink")``.
        """
        from hdvlab import widgets

        return widgets.dashboard(self, *names)

    def close(self) -> None:
        """The end of the lab, or of this view of it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
