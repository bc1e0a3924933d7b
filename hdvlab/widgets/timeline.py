"""The timeline panel: every access of a trace in lanes, zoomed and panned over any number of rows, live."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hdvlab.widgets.panel_widget import STATIC, PanelWidget
from hdvlab.widgets.row_text import describe_row
from hdvlab.widgets.timeline_picture import Rows, TimelinePicture
from hdvlab.widgets.timeline_window import Mode, Window

#: Rows summed up in one refresh: more are taken in by the next ones, and the panel says how far it is.
_PER_REFRESH = 4_000_000
_MOST_BINS = 2000


class Timeline(PanelWidget):
    """Every row of a lab's trace, or of any trace, over time.

    The kernel counts rows in bins of the stretch that is shown, and sends single rows where there are at most 3,000.
    What is brushed in the panel is chosen in all panels of the lab (:attr:`selection`), and what is chosen in others
    is drawn here.

    Parameters
    ----------
    source : Lab, Run or Trace
        What is shown.
    first, stop : int, optional
        Stretch to show: nanoseconds of the trace's time, or row numbers with ``by_row``. The whole trace if not given.
    by_row : bool
        Row numbers along the axis in place of time: the order in which things happened.
    follow : bool
        Keep the end of a growing trace in view.
    """

    _esm = STATIC / "timeline.js"
    _css = STATIC / "timeline.css"

    def __init__(
        self,
        source: Any,
        *,
        first: int | None = None,
        stop: int | None = None,
        by_row: bool = False,
        follow: bool = False,
        **state: Any,
    ) -> None:
        self._picture = TimelinePicture()
        self._bins = 1000
        self._sequence = 0
        self._is_stale = True
        super().__init__(source, **state)
        self._window = Window(by_row=by_row)
        if first is not None or stop is not None or follow:
            self._go(first, stop, by_row, follow)
        # The selection lives as long as the trace, and must not hold the panel that holds the trace.
        panel = weakref.ref(self)
        self._end_observing = self.selection.observe(lambda _, what, by: _choice_changed(panel(), what, by))

    def look(
        self, first: int | None = None, stop: int | None = None, *, by_row: bool = False, follow: bool = False
    ) -> None:
        """Show a stretch: nanoseconds of the trace's time, or row numbers with ``by_row``; an end not given is the
        trace's."""
        self.post(lambda: self._go(first, stop, by_row, follow))

    def _go(self, first: int | None, stop: int | None, by_row: bool, follow: bool) -> None:
        self._picture.update(self.trace)
        low, high = self._picture.bins.extent(by_row=by_row)
        mode: Mode = "follow" if follow else "whole" if first is None and stop is None else "fixed"
        first = first if first is not None else low
        stop = max(stop if stop is not None else high, first + 1)
        if follow and stop - first >= high - low:
            first = stop - max((high - low) // 4, 1)
        self._window = Window(first, stop, by_row, mode)
        self._is_stale = True

    @property
    def window(self) -> Window:
        """The stretch that is shown."""
        return self._window.placed(self._picture.bins) if len(self._picture.bins) else self._window

    def is_stale(self) -> bool:
        """Whether rows came, were chosen, or a stretch was asked for."""
        changed = self._picture.update(self.trace, _PER_REFRESH)
        return changed or self._is_stale

    def refresh(self) -> None:
        """Send the picture of the stretch."""
        if self._picture.trace is None:
            self._picture.update(self.trace, _PER_REFRESH)
        self._is_stale = not self._picture.bins.is_complete
        chosen = self.selection.rows
        header, buffer = self._picture.picture(self._window, self._bins, chosen)
        self.send_data({"kind": "picture", "sequence": self._sequence, **header}, [buffer])

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """What a person does in the panel."""
        kind = content.get("kind")
        if kind == "look":
            self._picture.update(self.trace, _PER_REFRESH)
            self._window = Window.from_request(dict(content), self._picture.origin)
            self._sequence = int(content.get("sequence", 0))
            bins = content.get("bins")
            if isinstance(bins, int):
                self._bins = min(max(bins, 16), _MOST_BINS)
            self.refresh()
        elif kind == "brush":
            window = Window.from_request(dict(content), self._picture.origin)
            lanes = content.get("lanes")
            self._choose(self._picture.brush(window, [int(lane) for lane in lanes] if lanes is not None else None))
        elif kind == "choose":
            row = content.get("row")
            self._choose(range(row, row + 1) if isinstance(row, int) else range(0))
        elif kind == "describe":
            row = content.get("row")
            if isinstance(row, int):
                self.send_data({"kind": "described", "row": row, "lines": describe_row(self.trace, row)})
        elif kind == "summary":
            self.send_data({"kind": "summary", "text": self._picture.summary(self._window)})

    def on_shown(self) -> None:
        """A view came on screen: it has nothing yet."""
        self._is_stale = True

    def text(self) -> str:
        """A line of characters for each lane, and the counts."""
        return self._write(TimelinePicture()) if self.is_closed else self.on_pump(lambda: self._write(self._picture))

    def _write(self, picture: TimelinePicture) -> str:
        # With what the panel will draw from: the rows of a long trace are summed up once, not twice.
        self._is_stale |= picture.update(self.trace)
        return picture.text(self._window)

    def ended(self) -> None:
        """Give back what the panel holds."""
        self._end_observing()
        self._picture = TimelinePicture()

    def _choose(self, rows: Rows) -> None:
        self.selection.set_rows(np.asarray(rows) if not isinstance(rows, range) else rows, by=self)
        self._is_stale = True
        self.refresh()


def _choice_changed(panel: Timeline | None, what: str, by: object) -> None:
    if panel is not None and what == "rows" and by is not panel:
        panel._is_stale = True
