"""What is chosen in a lab's panels: they share it, so that a row chosen in one is shown by all."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from hdvlab.trace.source import HasTrace, trace_of

if TYPE_CHECKING:
    from hdvlab.trace.frame import Rows
    from hdvlab.trace.trace import Trace

Array = np.ndarray[Any, Any]

#: Called with the selection, what changed ("rows", "register" or "address"), and who changed it. On any thread; short.
Observer = Callable[["Selection", str, object], object]


class Selection:
    """Rows, a register and an address that the panels of one trace show as chosen."""

    def __init__(self, trace: Trace) -> None:
        self._trace = weakref.ref(trace)
        self._lock = threading.Lock()
        self._observers: list[Observer] = []
        self._rows: range | Array = range(0)
        self._register: tuple[int, int, int] | None = None
        self._address: int | None = None

    @property
    def rows(self) -> range | Array:
        """Row numbers, ascending: a range, or an int64 array."""
        return self._rows

    @property
    def register(self) -> tuple[int, int, int] | None:
        """Device number, BAR and offset of a register."""
        return self._register

    @property
    def address(self) -> int | None:
        """An address in guest memory."""
        return self._address

    def set_rows(self, rows: range | Iterable[int] | Array, by: object = None) -> None:
        """Choose rows by their numbers; an empty range chooses none."""
        if not (isinstance(rows, range) and rows.step == 1):
            rows = np.unique(np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64))
        self._change("rows", rows, by)

    def set_register(self, device: int, bar: int, offset: int, by: object = None) -> None:
        """Choose a register."""
        self._change("register", (device, bar, offset), by)

    def set_address(self, address: int | None, by: object = None) -> None:
        """Choose an address in guest memory."""
        self._change("address", address, by)

    def clear(self, by: object = None) -> None:
        """Choose nothing."""
        self._change("rows", range(0), by)
        self._change("register", None, by)
        self._change("address", None, by)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have a function called at each change; the function that is returned ends that."""
        with self._lock:
            self._observers.append(observer)

        def end() -> None:
            with self._lock:
                if observer in self._observers:
                    self._observers.remove(observer)

        return end

    def frame(self, decode: bool = False) -> Rows:
        """The chosen rows as a frame; ``decode`` adds names, see :meth:`hdvlab.trace.trace.Trace.frame`.

        Raises
        ------
        ReferenceError
            The trace is gone; a selection does not keep it.
        """
        from hdvlab.trace.decode import df_decoded
        from hdvlab.trace.frame import df_rows

        trace = self._trace()
        if trace is None:
            raise ReferenceError("the trace of this selection is gone")
        view, rows = trace.view(), self.rows
        numbers = np.arange(rows.start, rows.stop) if isinstance(rows, range) else rows
        places = view.positions(numbers)
        chosen = view.taken(places[places >= 0])
        frame = df_rows(chosen.columns, chosen.rows, trace.attributes(chosen.columns))
        return df_decoded(frame, trace.tables) if decode else frame  # type: ignore[return-value]

    def _change(self, what: str, value: Any, by: object) -> None:
        with self._lock:
            setattr(self, f"_{what}", value)
            observers = list(self._observers)
        for observer in observers:
            observer(self, what, by)

    def __repr__(self) -> str:
        return f"<Selection: {len(self.rows):,} rows, register {self.register}, address {self.address}>"


_SELECTIONS: weakref.WeakKeyDictionary[Trace, Selection] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def selection_of(source: Trace | HasTrace) -> Selection:
    """The selection that all panels of a lab share, or all panels of a trace that is no lab's."""
    trace = trace_of(source)
    with _LOCK:
        if trace not in _SELECTIONS:
            _SELECTIONS[trace] = Selection(trace)
        return _SELECTIONS[trace]
