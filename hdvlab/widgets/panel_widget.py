"""The widget that every panel is: shown, hidden, refreshed, closed, and a text where there is no browser."""

from __future__ import annotations

import html
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import anywidget

from hdvlab.errors import StateError
from hdvlab.trace.source import trace_of
from hdvlab.trace.trace import Trace
from hdvlab.widgets.live import make_live
from hdvlab.widgets.pump import PUMP
from hdvlab.widgets.selection import Selection, selection_of

T = TypeVar("T")

#: Where the bundles are: ``static/<panel>.js`` and ``.css``.
STATIC = Path(__file__).with_name("static")

#: Seconds without a word after which a view counts as gone with its page. Views speak every minute, where the cell
#: that runs lets them.
_LEASE = 600.0


class PanelWidget(anywidget.AnyWidget):
    """Base of the panels. A subclass gives ``_esm`` and ``_css`` as paths and overrides what it needs.

    Threads: :meth:`on_request`, :meth:`is_stale` and :meth:`refresh` are called on the pump's thread only, so they need
    no locks between them; they must be short. What may take long or wait for a device goes through :meth:`run_aside`.
    Everything else may be called from anywhere.

    Parameters
    ----------
    source : Lab, Run or Trace
        What is shown. A lab is not kept alive by its panels.
    """

    def __init_subclass__(cls, **given: Any) -> None:
        # anywidget watches what is given as a file, by a function that keeps every widget of the class for ever.
        for name in ("_esm", "_css"):
            if isinstance(path := vars(cls).get(name), Path):
                setattr(cls, name, path.read_text(encoding="utf-8"))
        super().__init_subclass__(**given)

    _closed = True  # until it is made: also what could not be made is deleted, and closed by that

    def __init__(self, source: Any, **state: Any) -> None:
        self._trace = trace_of(source)
        self._source = weakref.ref(source)
        self._views: dict[str, float] = {}
        self._displays: list[Any] = []
        self._failed = ""
        super().__init__(**state)
        self._closed = False
        make_live(self)
        self.on_msg(self._arrived)

    # ---- for subclasses ----------------------------------------------------------------------------------------

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """A message of the browser; ``content["kind"]`` says which.

        Raises
        ------
        UsageError
            The panel knows no such message, or cannot do what it asks for; the panel shows it.
        """

    def is_stale(self) -> bool:
        """Whether :meth:`refresh` would send something."""
        return False

    def refresh(self) -> None:
        """Send what is new. Only looks: no handler of a device runs, no row is left."""

    def on_shown(self) -> None:
        """The first view came on screen."""

    def on_view_hidden(self, view: str) -> None:
        """A view left the screen."""

    def on_hidden(self) -> None:
        """The last view left the screen."""

    def text(self) -> str:
        """The panel as plain text."""
        return repr(self)

    def html(self) -> str:
        """The panel as HTML without a script, for notebooks that are only read."""
        return f"<pre>{html.escape(self.text())}</pre>"

    # ---- what they use -----------------------------------------------------------------------------------------

    @property
    def lab(self) -> Any:
        """The lab that is shown.

        Raises
        ------
        StateError
            It is gone.
        """
        lab = self._source()
        if lab is None:
            raise StateError("the lab of this panel is gone; make a panel of the one that there is")
        return lab

    @property
    def trace(self) -> Trace:
        """The rows that are shown."""
        return self._trace

    @property
    def selection(self) -> Selection:
        """What is chosen, in all panels of this lab."""
        return selection_of(self._trace)

    @property
    def visible(self) -> int:
        """How many views are on screen."""
        return len(self._views)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def send_data(self, content: Mapping[str, Any], buffers: Sequence[Any] = ()) -> None:
        """A message to every view: ``content["kind"]`` names its handler; what is bulky goes as buffers."""
        if not self._closed:
            self.send(dict(content), list(buffers))

    def post(self, job: Callable[[], object]) -> None:
        """Have a short function called on the pump's thread; what it raises is shown in the panel."""
        PUMP.post(lambda: self._guarded(job))

    def on_pump(self, job: Callable[[], T], timeout: float = 60.0) -> T:
        """The result of a short function that the pump's thread calls; waits for it."""
        if PUMP.on_pump:
            return job()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(job())
            except BaseException as error:  # it is the caller's
                done.set_exception(error)

        PUMP.post(run)
        return done.result(timeout)

    def run_aside(self, work: Callable[[], Any], then: Callable[[Any], object] | None = None) -> threading.Thread:
        """Do what may take long on a thread of its own; ``then`` gets the result on the pump's thread."""

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # whatever it is, it is shown
                self.post(lambda error=error: self.fail(error))  # type: ignore[misc]
            else:
                if then is not None:
                    self.post(lambda: then(result))

        thread = threading.Thread(target=run, name=f"hdvlab-panel-{type(self).__name__}", daemon=True)
        thread.start()
        return thread

    def fail(self, error: BaseException | str) -> None:
        """Show a failure in the panel, until it is dismissed there, something else fails, or :meth:`forget_failure`."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        if text != self._failed:
            self._failed = text
            self.send_data({"kind": "failed", "text": text})

    def forget_failure(self) -> None:
        """What failed is over: the person does something else."""
        if self._failed:
            self._failed = ""
            self.send_data({"kind": "failed", "text": ""})

    @property
    def failure(self) -> str:
        """What failed last; empty = nothing."""
        return self._failed

    # ---- life --------------------------------------------------------------------------------------------------

    def _arrived(self, _: object, content: Any, buffers: Sequence[memoryview]) -> None:
        # On whatever thread the kernel serves comms, maybe while a cell runs: nothing is done here.
        if isinstance(content, dict):
            self.post(lambda: self._serve(content, buffers))

    def _serve(self, content: dict[str, Any], buffers: Sequence[memoryview]) -> None:
        kind = content.get("kind")
        if self._closed:
            return
        if kind == "visible":
            self._see(str(content.get("view")), bool(content.get("on")))
        elif kind == "dismiss":
            self._failed = ""
        else:
            self.on_request(content, buffers)

    def _see(self, view: str, on: bool) -> None:
        were = len(self._views)
        if on:
            self._views[view] = time.monotonic()
        elif self._views.pop(view, None) is not None:
            self.on_view_hidden(view)
        if self._views and not were:
            PUMP.show(self)
            self.on_shown()
        elif were and not self._views:
            PUMP.hide(self)
            self.on_hidden()

    def tick(self) -> bool:
        """Called by the pump: refresh if there is something new. False = nobody sees this panel."""
        gone = [view for view, spoke in self._views.items() if time.monotonic() - spoke > _LEASE]
        for view in gone:
            self._see(view, False)
        if self._closed or not self._views:
            return False
        self._guarded(lambda: self.refresh() if self.is_stale() else None)
        return True

    def _guarded(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception as error:  # the pump must live, and the person must know
            self.fail(error)

    def close(self) -> None:
        """End the panel. Where it was shown, its last state stays as a picture that needs no kernel."""
        if self._closed:
            return
        displays, self._displays = self._displays, []
        try:
            for display in displays:
                display.update(self._texts(), raw=True)
        finally:
            self._closed = True
            PUMP.hide(self)
            self._views.clear()
            self.ended()
            super().close()
        self.__dict__.pop("_repr_mimebundle_", None)  # ipywidgets puts None there; ours still has a text to show

    def ended(self) -> None:
        """Called once, when the panel is closed: give back what it holds."""

    def _texts(self) -> dict[str, Any]:
        return {"text/plain": self.text(), "text/html": self.html()}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle = self._texts()
        if not self._closed:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            bundle["application/vnd.jupyter.widget-view+json"] = view
        return bundle

    def _ipython_display_(self, **_: Any) -> None:
        # By our own display, whose output can be replaced when the panel is closed.
        from IPython.display import display

        shown = display(self._repr_mimebundle_(), raw=True, display_id=not self._closed)
        if shown is not None:
            self._displays.append(shown)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.visible} views on screen"
        return f"<{type(self).__name__}: {self._trace!r}, {state}>"
