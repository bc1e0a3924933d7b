"""The heat map panel: how often each address of a BAR, or of guest memory, was touched, over time, live."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hdvlab.errors import UsageError
from hdvlab.widgets.heat_picture import HeatPicture, Look
from hdvlab.widgets.panel_widget import STATIC, PanelWidget
from hdvlab.widgets.timeline_window import Window

#: Rows counted in one refresh: more are taken in by the next ones, and the panel says how far it is.
_PER_REFRESH = 4_000_000
_MOST_BINS = 1000


class HeatMap(PanelWidget):
    """How often each address was touched, over time.

    Accesses to one BAR of a device, or to the guest memory that its DMA touches; an access counts in every cell that it
    touches. What is clicked or brushed is chosen in all panels of the lab (:attr:`selection`).

    Parameters
    ----------
    source : Lab, Run or Trace
        What is shown.
    place : str, optional
        Which addresses, as the panel's list of places writes it: ``"blink BAR0"``, ``"blink guest memory (DMA)"``. The
        first that was touched if not given.
    follow : bool
        Keep the end of a growing trace in view.
    """

    _esm = STATIC / "heatmap.js"
    _css = STATIC / "heatmap.css"

    def __init__(self, source: Any, *, place: str | None = None, follow: bool = False, **state: Any) -> None:
        self._picture = HeatPicture()
        self._sequence = 0
        self._is_stale = True
        super().__init__(source, **state)
        if place is not None:
            self._picture.update(self.trace)
            self._picture.look = replace(self._picture.look, place=self._find_place(place))
        if follow:
            self._picture.update(self.trace)
            low, high = self._picture.bins.extent()
            self._picture.look = replace(
                self._picture.look, window=Window(high - (high - low) // 4, high, mode="follow")
            )
        # The selection lives as long as the trace, and must not hold the panel that holds the trace.
        panel = weakref.ref(self)
        self._end_observing = self.selection.observe(lambda _, what, by: _choice_changed(panel(), what, by))

    def _find_place(self, label: str) -> Any:
        labels = [place.label for place in self._picture.places]
        if label not in labels:
            raise UsageError(f"nothing touched {label!r} in this trace; it has {', '.join(labels) or 'no accesses'}")
        return self._picture.places[labels.index(label)]

    @property
    def picture(self) -> HeatPicture:
        """What is counted and shown."""
        return self._picture

    def is_stale(self) -> bool:
        """Whether rows came, were chosen or counted, or something else was asked for."""
        changed = self._picture.update(self.trace, _PER_REFRESH)
        return changed or self._is_stale

    def refresh(self) -> None:
        """Send the picture."""
        if self._picture.trace is None:
            self._picture.update(self.trace, _PER_REFRESH)
        self._is_stale = False
        header, buffer = self._picture.picture(self.selection.rows)
        self.send_data({"kind": "picture", "sequence": self._sequence, **header}, [buffer])

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """What a person does in the panel."""
        kind = content.get("kind")
        if kind == "look":
            self._look(content)
        elif kind == "choose":
            self._choose(content)
        elif kind == "clear":
            self.selection.set_rows(range(0), by=self)
            self.refresh()
        elif kind == "summary":
            self.send_data({"kind": "summary", "text": self._picture.summary()})

    def on_shown(self) -> None:
        """A view came on screen: it has nothing yet."""
        self._is_stale = True

    def text(self) -> str:
        """The picture in characters."""
        if not self.is_closed:
            return self.on_pump(lambda: self._write(self._picture))
        picture = HeatPicture()
        picture.look = self._picture.look
        return self._write(picture)

    def _write(self, picture: HeatPicture) -> str:
        # With what the panel will draw from: the rows of a long trace are added up once, not twice.
        self._is_stale |= picture.update(self.trace)
        return picture.text()

    def ended(self) -> None:
        """Give back what the panel holds; what it looked at is kept for its text."""
        self._end_observing()
        look, self._picture = self._picture.look, HeatPicture()
        self._picture.look = look

    def _look(self, content: Mapping[str, Any]) -> None:
        picture = self._picture
        picture.update(self.trace, _PER_REFRESH)
        number, bins = content.get("place"), content.get("bins")
        place = picture.look.place
        if isinstance(number, int) and 0 <= number < len(picture.places):
            place = picture.places[number]
        is_same = place == picture.look.place or picture.look.place is None
        low, high = (_address(content.get(name)) for name in ("low", "high"))
        base = picture.base if is_same else 0
        if not is_same or high <= low:
            low = high = base = 0  # all that was touched
        picture.look = Look(
            place,
            Window.from_request(dict(content), 0),
            max(base + low, 0),
            min(max(base + high, 0), 1 << 64),
            bool(content.get("reads", True)),
            bool(content.get("writes", True)),
            min(max(bins, 16), _MOST_BINS) if isinstance(bins, int) else picture.look.bins,
        )
        self._sequence = int(content.get("sequence", 0))
        picture.update(self.trace, _PER_REFRESH)
        self.refresh()

    def _choose(self, content: Mapping[str, Any]) -> None:
        window = Window.from_request(dict(content), 0)
        base = self._picture.base
        low, high = (base + _address(content.get(name)) for name in ("low", "high"))
        rows = self._picture.choose(window.first, window.stop, max(low, 0), max(high, 1))
        self.selection.set_rows(rows, by=self)
        place = self._picture.look.place or next(iter(self._picture.places), None)
        if place is not None and place.bar < 0 and len(rows):
            self.selection.set_address(low, by=self)
        self.refresh()


def _address(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) <= 1 << 64 else 0


def _choice_changed(panel: HeatMap | None, what: str, by: object) -> None:
    if panel is not None and what == "rows" and by is not panel:
        panel._is_stale = True
