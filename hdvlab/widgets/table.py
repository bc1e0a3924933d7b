"""The trace table: every row of a trace, live, of ten as of ten million."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hdvlab.analysis.row_filter import RowFilter
from hdvlab.errors import UsageError
from hdvlab.trace.schema import E_PENDING
from hdvlab.widgets.panel_widget import STATIC, PanelWidget
from hdvlab.widgets.pump import PUMP
from hdvlab.widgets.row_index import RowIndex
from hdvlab.widgets.selection import Selection
from hdvlab.widgets.table_window import pack_rows

if TYPE_CHECKING:
    from hdvlab.trace.frame import Rows

Array = np.ndarray[Any, Any]

#: Most rows in one answer: a few screens.
MOST_ROWS = 500

_TEXT_ROWS = 20


@dataclass
class _Wanted:
    """What a view shows: rows from a place on, or the last ones."""

    start: int
    count: int
    follow: bool
    sent: tuple[int, int] = (-1, -1)
    records: bytes = b""
    waits: bool = False
    """Whether a row in it is still being served."""


class TraceTable(PanelWidget):
    """The rows of a trace, in a table that scrolls over all of them; made by :func:`hdvlab.widgets.table`.

    Parameters
    ----------
    source : Lab, Run or Trace
        What is shown. A recording that goes on is followed.
    kind, device, register, value, text : str
        Which rows; see :mod:`hdvlab.analysis.row_filter` for what may be written.

    Examples
    --------
    >>> table = hdvlab.widgets.table(lab, kind="mmio")
    >>> table                           # shows it
    >>> table.filter(register="CTRL.EN==1")
    >>> table.selected                  # the rows chosen in it, as a frame
    """

    _esm = STATIC / "table.js"
    _css = STATIC / "table.css"

    def __init__(self, source: Any, **chosen: str) -> None:
        self._wanted: dict[str, _Wanted] = {}
        self._told = (-1, -1, False)
        self._named = -1
        self._dirty = False
        self._runs = False
        self._anchor = 0
        self._scanned = threading.Condition()
        super().__init__(source)
        self._index = RowIndex(self.trace, _row_filter(chosen))
        self._unobserve = self.selection.observe(self._selection_changed)

    # ---- for people --------------------------------------------------------------------------------------------

    @property
    def filters(self) -> RowFilter:
        """What chooses the rows."""
        return self._index.filter

    def filter(self, **chosen: str) -> None:
        """Show the rows that are meant, of those there are and of those to come; without arguments all.

        Parameters
        ----------
        kind, device, register, value, text : str
            See :mod:`hdvlab.analysis.row_filter`.

        Raises
        ------
        UsageError
            Something cannot be read, or is not in the trace.
        """
        index = RowIndex(self.trace, _row_filter(chosen))
        self.on_pump(lambda: self._use(index))

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until the filter has looked at every row there is; returns how many rows it leaves.

        Raises
        ------
        TimeoutError
            It has not, after ``timeout`` seconds.
        """
        self.on_pump(self._look)
        with self._scanned:
            if not self._scanned.wait_for(lambda: self._index.is_complete or self.is_closed, timeout):
                raise TimeoutError(f"{self._index.scanned:,} rows are looked at after {timeout:g} s; wait once more")
        return len(self._index)

    def jump(self, row: int) -> None:
        """Show a row in the middle of each view, or the next one that the filter leaves."""
        self.on_pump(lambda: self._found("", row))

    def matching(self, decode: bool = False) -> Rows:
        """The rows that the filter leaves as a frame; ``decode`` adds names."""
        from hdvlab.trace.decode import df_decoded
        from hdvlab.trace.frame import df_rows

        self.wait()

        def taken() -> Any:
            view = self._index.view
            return view.taken(self._index.positions(0, len(self._index))) if self.filters else view

        view = self.on_pump(taken)
        frame = df_rows(view.columns, view.rows, self.trace.attributes(view.columns))
        return df_decoded(frame, self.trace.tables) if decode else frame  # type: ignore[return-value]

    @property
    def selected(self) -> Rows:
        """The rows that are chosen here, or in another panel of the lab, as a frame with names."""
        return self.selection.frame(decode=True)

    def text(self) -> str:
        """The last rows that the filter leaves."""
        return f"{self._headline()}\n{self._last().to_string(index_names=False)}"

    def html(self) -> str:
        """The last rows that the filter leaves, as a table."""
        from html import escape

        return f"<p>{escape(self._headline())}</p>{self._last().to_html(border=0, notebook=True)}"

    def _headline(self) -> str:
        return f"Trace table: {len(self._index):,} of {len(self.trace):,} rows ({self.filters}); the last {_TEXT_ROWS}:"

    def _last(self) -> Any:
        from hdvlab.trace.decode import df_decoded
        from hdvlab.trace.frame import FORMATTERS, OF_TEXT, df_rows, without_text

        self.wait()
        count = len(self._index)
        view = self._index.view.taken(self._index.positions(max(count - _TEXT_ROWS, 0), _TEXT_ROWS))
        frame = df_decoded(df_rows(view.columns, view.rows, {}), self.trace.tables)
        shown = ["t_ns", "kind", "origin", "name", "register", "address", "size", "value", "fields", "status", "cause"]
        texts = frame.index[frame["kind"].isin(OF_TEXT)]
        frame = without_text(frame[shown]).astype(object)
        frame.loc[texts, "fields"] = [self.trace.text(row) for row in texts]
        for name, formatter in FORMATTERS.items():
            if name in frame:
                frame[name] = [formatter(one) for one in frame[name]]
        return frame

    # ---- the browser's requests --------------------------------------------------------------------------------

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """See ``widgets/src/table.ts`` for the messages."""
        view = str(content.get("view", ""))
        match content["kind"]:
            case "hello":
                self._tell_filter()
                self._tell_names()
            case "window":
                count = min(int(content["count"]), MOST_ROWS)
                self._wanted[view] = _Wanted(int(content["start"]), count, bool(content["follow"]))
                self._look()
                self._send_window(view, int(content.get("ask", -1)))
            case "filter":
                try:
                    self._use(RowIndex(self.trace, _row_filter(content["filter"])))
                except UsageError as error:
                    self.send_data({"kind": "refused", "view": view, "name": error.operation, "text": error.message})
            case "find":
                self._found(view, int(content["row"]))
            case "select":
                self._select(content["mode"], int(content["place"]))

    def _use(self, index: RowIndex) -> None:
        self._index = index
        self._anchor = 0
        self._tell_filter()
        self._dirty = True
        self._look()
        if self.visible:
            self.refresh()

    def _look(self) -> None:
        """Look at a piece of what there is, and have the pump come back for the rest."""
        if self._runs or self.is_closed:
            return
        more = self._index.advance()
        with self._scanned:
            self._scanned.notify_all()
        if more:
            self._runs = True
            PUMP.post(self._look_on)

    def _look_on(self) -> None:
        self._runs = False
        self._guarded(self._look)

    def _found(self, view: str, row: int) -> None:
        self._look()
        place = self._index.place(row)
        found = self._index.rows(place, place + 1)
        told = {"kind": "found", "view": view, "asked": row, "place": place}
        self.send_data({**told, "row": int(found[0]) if len(found) else -1})

    def _select(self, mode: str, place: int) -> None:
        if not 0 <= place < len(self._index):
            return
        if mode == "range":
            first, last = sorted((self._anchor, place))
            rows = self._index.rows(first, last + 1)
        else:
            self._anchor = place
            row = int(self._index.rows(place, place + 1)[0])
            rows = range(row, row + 1)
            if mode == "toggle":
                rows = np.setxor1d(_numbers(self.selection.rows), [row])
        self.selection.set_rows(rows, by=self)

    # ---- what is sent ------------------------------------------------------------------------------------------

    def on_view_hidden(self, view: str) -> None:
        """It says anew what it wants when it comes back."""
        self._wanted.pop(view, None)

    def is_stale(self) -> bool:
        """Whether rows came, a shown one was answered, or the filter or the selection found others."""
        self._look()
        return self._dirty or self._told != self._totals() or any(one.waits for one in self._wanted.values())

    def refresh(self) -> None:
        """Send each view what changed of what it shows, and how many rows there are."""
        self._dirty, dirty = False, self._dirty
        if self._named != len(self.trace.tables.devices):
            self._tell_names()
        self._told, told = self._totals(), self._told
        for view, wanted in self._wanted.items():
            place = self._place(wanted)
            # What does not follow has the same rows as before, unless they were not there yet or not answered.
            if dirty or wanted.waits or wanted.sent != place:
                self._send_window(view, told=told)
            elif told != self._told:
                self.send_data({"kind": "totals", "view": view, **self._counts()})

    def _totals(self) -> tuple[int, int, bool]:
        return len(self._index), len(self._index.view), self._index.is_complete

    def _counts(self) -> dict[str, Any]:
        total, rows, _ = self._totals()
        return {"total": total, "rows": rows, "scanned": self._index.scanned if self.filters else rows}

    def _place(self, wanted: _Wanted) -> tuple[int, int]:
        """First place and number of rows that a view is to have."""
        total = len(self._index)
        start = max(total - wanted.count, 0) if wanted.follow else max(min(wanted.start, total), 0)
        return start, min(wanted.count, total - start)

    def _send_window(self, view: str, ask: int = -1, told: Any = None) -> None:
        wanted = self._wanted[view]
        start, count = wanted.sent = self._place(wanted)
        positions = self._index.positions(start, count)
        seen = self._index.view
        rows = positions + seen.rows.start if isinstance(seen.rows, range) else seen.rows[positions]
        records, texts = pack_rows(self.trace, seen, positions, _contains(self.selection.rows, rows))
        wanted.waits = bool((seen.columns["status"][positions] == E_PENDING).any())
        if ask < 0 and wanted.records == records and self._told == told:
            return  # a guest that is held is shown once
        wanted.records = records
        message = {"kind": "window", "view": view, "ask": ask, "start": start, "texts": texts, **self._counts()}
        self.send_data(message, [records])

    def _tell_filter(self) -> None:
        self.send_data({"kind": "filter", "filter": dataclasses.asdict(self.filters), **self._counts()})

    def _tell_names(self) -> None:
        devices = self.trace.tables.devices
        self._named = len(devices)
        maps = [bar.registers for one in devices for bar in one.bars.values()]
        names = [register.name for registers in maps for register in registers or ()]
        told = {"devices": list(dict.fromkeys(one.name for one in devices)), "registers": list(dict.fromkeys(names))}
        self.send_data({"kind": "names", **told})

    def _selection_changed(self, selection: Selection, what: str, by: object) -> None:
        if what == "rows":
            self.post(self._show_selection)

    def _show_selection(self) -> None:
        self._dirty = True
        if self.visible:
            self.refresh()
            self.send_data({"kind": "selected", "count": len(self.selection.rows)})

    def ended(self) -> None:
        """Called when the panel is closed."""
        self._unobserve()


def _row_filter(chosen: Mapping[str, Any]) -> RowFilter:
    known = [one.name for one in dataclasses.fields(RowFilter)]
    if wrong := [name for name in chosen if name not in known]:
        raise UsageError(f"rows are chosen by {', '.join(known)}, not by {wrong[0]}")
    return RowFilter(**{name: str(text or "") for name, text in chosen.items()})


def _numbers(rows: range | Array) -> Array:
    return np.arange(rows.start, rows.stop) if isinstance(rows, range) else rows


def _contains(rows: range | Array, asked: Array) -> Array:
    """Which of ``asked`` are among ``rows``, which ascend."""
    if isinstance(rows, range):
        return (asked >= rows.start) & (asked < rows.stop)
    if not len(rows):
        return np.zeros(len(asked), dtype=bool)
    at = np.minimum(np.searchsorted(rows, asked), len(rows) - 1)
    found: Array = rows[at] == asked
    return found
