"""The stepper panel: what is held, how it may go on, and where else to stop."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.widgets.bench import HasTrace
from hdvlab.widgets.looking_widget import LookingWidget
from hdvlab.widgets.panel_widget import STATIC

if TYPE_CHECKING:
    from hdvlab.stepping import Breakpoint, Breakpoints, Control, Stop

#: Lines of the driver that are shown before and behind its own.
_AROUND = 2


class Steppable(HasTrace, Protocol):
    """A lab whose guest can be stopped."""

    @property
    def running(self) -> bool: ...
    @property
    def stops(self) -> list[Stop]: ...
    @property
    def breakpoints(self) -> Breakpoints: ...
    @property
    def stepper(self) -> Control: ...


class StepperPanel(LookingWidget):
    """Stops, breakpoints, and the buttons that let the guest go on. What is held is chosen in the other panels too.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    """

    _esm = STATIC / "stepper.js"
    _css = STATIC / "stepper.css"

    def __init__(self, lab: Steppable, **state: Any) -> None:
        self._sent: dict[str, Any] | None = None
        self._shown = 0
        super().__init__(lab, **state)

    # ---- looking -----------------------------------------------------------------------------------------------

    def fetch(self) -> dict[str, Any]:
        """See :meth:`LookingWidget.fetch`."""
        lab: Steppable = self.lab
        return {
            "running": lab.running,
            "stops": [_told(stop) for stop in lab.stops],
            "breakpoints": [_set(one) for one in lab.breakpoints],
        }

    def take(self, seen: dict[str, Any]) -> None:
        """See :meth:`LookingWidget.take`."""
        if seen == self._sent:
            return
        self._sent = seen
        self.send_data({"kind": "state", **seen})
        first = seen["stops"][0] if seen["stops"] else None
        if first is not None and first["ticket"] != self._shown and first["row"] >= 0:
            self._shown = first["ticket"]
            self.selection.set_rows(range(first["row"], first["row"] + 1), by=self)

    # ---- what the browser asks ---------------------------------------------------------------------------------

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """See :meth:`PanelWidget.on_request`."""
        kind = content.get("kind")
        if kind == "look":
            self._sent = None
            self.refresh()
        elif kind == "act":
            self.run_aside(lambda: self.act(str(content.get("action")), **_given(content)), self._done)
        elif kind == "break":
            self.run_aside(lambda: self._set(content), self._done)
        elif kind in ("remove", "enable", "disable"):
            number, change = int(content["number"]), str(kind)
            self.run_aside(lambda: getattr(self.lab.breakpoints[number], change)(), self._done)
        else:
            raise UsageError(f"the stepper knows no request {kind!r:.40}")

    def _done(self, _: object) -> None:
        self.recover()
        self.refresh()

    def act(self, action: str, ticket: int | None = None, value: str = "", count: int = 1, where: str = "") -> Any:
        """What a button does; returns the next stop, the run that ended, or None, as ``lab.resume`` and so on do.

        Parameters
        ----------
        action : {"continue", "step", "next", "override", "skip", "retry"}
            What to do.
        ticket : int, optional
            The stop that is meant; else the oldest.
        value : str
            For override: a number as it is typed, ``0x1f``.
        count : int
            For step.
        where : str
            For next: a place.

        Raises
        ------
        StateError
            The stop has gone on meanwhile.
        UsageError
            The action or the value makes no sense for it; it stays held.
        """
        stepper: Control = self.lab.stepper
        if action == "step":
            return stepper.step(count)
        if action == "next":
            return stepper.next(where)
        stop = None if ticket is None else next((one for one in stepper.stops if one.ticket == ticket), None)
        if stop is None and ticket is not None:
            raise StateError("this access has gone on meanwhile")
        if action == "override":
            return stepper.override(_number(value), stop)
        acts = {"continue": stepper.resume, "skip": stepper.skip, "retry": stepper.retry}
        if action not in acts:
            raise UsageError(f"the stepper knows no action {action!r:.40}")
        return acts[action](stop)

    def _set(self, content: Mapping[str, Any]) -> None:
        self.lab.stepper.break_at(
            str(content.get("where", "")),
            access=str(content.get("access") or "rw"),
            when=str(content.get("when") or "") or None,
            after=bool(content.get("after")),
            once=bool(content.get("once")),
        )

    def text(self) -> str:
        """What is held, and the breakpoints."""
        try:
            lab: Steppable = self.lab
            stops = "\n\n".join(repr(stop) for stop in lab.stops) or "nothing is held"
            return f"{stops}\n\n{lab.breakpoints!r}"
        except HdvError as error:
            return error.message


def _given(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content[name] for name in ("ticket", "value", "count", "where") if content.get(name) is not None}


def _number(text: str) -> int:
    try:
        return int(text.strip().replace("_", ""), 0)
    except ValueError:
        raise UsageError(f"{text!r:.40} is no number; write 12, 0x1f or 0b101") from None


def _set(one: Breakpoint) -> dict[str, Any]:
    return {"number": one.number, "what": one.kind, "text": one.text, "state": one.state, "enabled": one.enabled}


def _told(stop: Stop) -> dict[str, Any]:
    """A stop for the browser; what may have 64 bits as text."""
    is_read_before = stop.kind.endswith("_read") and stop.phase == "before"
    return {
        "ticket": stop.ticket,
        "row": stop.row,
        "short": stop.short,
        "phase": stop.phase,
        "value": "" if is_read_before else f"{stop.value:#x}",
        "fields": "" if is_read_before else stop.fields,
        "stored": "" if stop.stored is None else f"{stop.stored:#x}  {stop.stored_fields}".rstrip(),
        "why": stop.reason if stop.breakpoint else "",
        "error": stop.error,
        "posted": stop.posted,
        "inside": stop.is_inside,
        "actions": list(stop.actions),
        "source": stop.source,
        "file": stop.file,
        "lines": _lines(stop),
    }


def _lines(stop: Stop) -> list[list[Any]]:
    """The driver's lines around the one that does it, where they are known here: ``[number, text]`` each."""
    if not stop.file or not stop.line:
        return []
    known = linecache.getlines(stop.file)
    first = max(1, stop.line - _AROUND)
    return [[first + n, text.rstrip()] for n, text in enumerate(known[first - 1 : stop.line + _AROUND])]
