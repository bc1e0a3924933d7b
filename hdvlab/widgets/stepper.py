"""The stepper panel: what is held, how it may go on, and where else to stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.stepping.breakpoint import Request
from hdvlab.stepping.typed_value import check_value, parse_value
from hdvlab.widgets.bench import HasTrace
from hdvlab.widgets.looking_widget import LookingWidget
from hdvlab.widgets.panel_widget import STATIC
from hdvlab.widgets.stop_text import breakpoint_told, stop_told

if TYPE_CHECKING:
    from hdvlab.registers import RegisterMap
    from hdvlab.stepping import Breakpoints, Control, Stop

#: Seconds between two looks where nothing was told: counts of tracepoints grow without a word.
_SLOW = 1.0


class HasMaps(Protocol):
    """A device in a slot."""

    @property
    def maps(self) -> dict[int, RegisterMap]: ...


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
    def __getitem__(self, name: str) -> HasMaps: ...


class StepperPanel(LookingWidget):
    """Stops, breakpoints, and the buttons that let the guest go on. What is held is chosen in the other panels too.

    Buttons come back at once: what comes next, a stop or the end of the program, is shown when it comes. While it is
    on screen stops are shown here and not printed.

    Parameters
    ----------
    lab : Lab
        Whose; it is not kept alive.
    """

    _esm = STATIC / "stepper.js"
    _css = STATIC / "stepper.css"

    def __init__(self, lab: Steppable, **state: Any) -> None:
        self._sent: dict[str, Any] | None = None
        self._shown: set[tuple[int, int]] = set()
        self._is_changed = True
        self._due = 0.0
        self._awaits = ""
        self._passing: int | None = None
        """Number of the breakpoint behind Next, until something has stopped."""
        self._over = ""
        self._told: list[tuple[Stop, dict[str, Any]]] = []
        self._ends: list[Callable[[], object]] = []
        super().__init__(lab, **state)

    # ---- looking -----------------------------------------------------------------------------------------------

    def on_shown(self) -> None:
        """See :meth:`PanelWidget.on_shown`."""
        stepper: Control = self.lab.stepper
        self._ends = [stepper.viewed(), stepper.on_change(self._change), stepper.pending.on_end(self._ended)]
        self._change()

    def on_hidden(self) -> None:
        """See :meth:`PanelWidget.on_hidden`."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def ended(self) -> None:
        """See :meth:`PanelWidget.ended`."""
        self.on_hidden()

    def _change(self) -> None:
        self._is_changed = True

    def _ended(self, run: Any, error: BaseException | None) -> None:
        name = getattr(run, "name", "") or "the guest program"
        self._over = repr(run).strip("<>") if error is None else f"{name} failed: {type(error).__name__}: {error}"
        self._change()

    def is_stale(self) -> bool:
        """When the lab says that something changed, and now and then."""
        return self._is_changed or time.monotonic() >= self._due

    def refresh(self) -> None:
        """See :meth:`LookingWidget.refresh`."""
        self._due = time.monotonic() + _SLOW
        super().refresh()

    def fetch(self) -> dict[str, Any]:
        """See :meth:`LookingWidget.fetch`."""
        lab: Steppable = self.lab
        self._is_changed = False  # before the look: what comes while it is under way is looked at again
        known = self._told  # a stop is as it was when it was stopped
        self._told = [
            next((one for one in known if one[0] == stop), None) or (stop, stop_told(stop)) for stop in lab.stops
        ]
        return {
            "running": lab.running,
            "stops": [told for _, told in self._told],
            "breakpoints": [breakpoint_told(one) for one in lab.breakpoints],
            "over": self._over,
        }

    def take(self, seen: dict[str, Any]) -> None:
        """See :meth:`LookingWidget.take`."""
        new = [stop for stop in seen["stops"] if (stop["ticket"], stop["row"]) not in self._shown]
        self._shown = {(stop["ticket"], stop["row"]) for stop in seen["stops"]}
        if new or not seen["running"]:
            self._awaits = ""
            if self._passing is not None:
                self.run_aside(self._forget_next)
        seen = {**seen, "awaits": self._awaits}
        if seen != self._sent:
            self._sent = seen
            self.send_data({"kind": "state", **seen})
        if new:
            self._choose(new[0])

    def _choose(self, stop: Mapping[str, Any]) -> None:
        if stop["row"] >= 0:
            self.selection.set_rows(range(stop["row"], stop["row"] + 1), by=self)

    # ---- what the browser asks ---------------------------------------------------------------------------------

    def on_request(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        """See :meth:`PanelWidget.on_request`."""
        kind = content.get("kind")
        if kind == "look":
            self._sent = None
            self.refresh()
        elif kind == "choose":
            for stop in (self._sent or {}).get("stops", ()):
                if stop["ticket"] == content.get("ticket"):
                    self._choose(stop)
        elif kind == "act":
            self._do(lambda: self.act(str(content.get("action")), **_given(content)))
        elif kind == "break":
            self._do(lambda: self.set_breakpoint(content))
        elif kind in ("remove", "enable", "disable"):
            number, change = int(content["number"]), str(kind)
            self._do(lambda: getattr(self.lab.breakpoints[number], change)())
        else:
            raise UsageError(f"the stepper knows no request {kind!r:.40}")

    def _do(self, work: Callable[[], object]) -> None:
        """What asks the lab, which may be in another process; what it leads to is shown."""
        self.forget_failure()
        self.run_aside(work, lambda _: self._change())

    def act(self, action: str, ticket: int | None = None, value: str = "", count: int = 1, where: str = "") -> None:
        """What a button does; comes back as soon as the guest goes on.

        Parameters
        ----------
        action : {"continue", "step", "next", "override", "skip", "retry", "cancel"}
            What to do; "cancel" takes back a step or next that has met nothing yet.
        ticket : int, optional
            The stop that is meant; else the oldest, and for "continue" all.
        value : str
            For override: ``0x1f``, or a field, ``EN=1``.
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
        held = stepper.stops
        if action in ("step", "next", "cancel"):
            self._pass(stepper, held, action, count, where)
            return
        chosen = held[:1] if ticket is None else [one for one in held if one.ticket == ticket]
        if not chosen:
            raise StateError("this access has gone on meanwhile" if ticket is not None else "nothing is held")
        if action == "override":
            typed = parse_value(value, chosen[0], lambda name: self.lab[name].maps, _number)
            check_value(typed, chosen[0])
            self._go(lambda: stepper.release(chosen[0].ticket, "override", typed))
        elif action == "continue" and ticket is None:
            self._go(lambda: stepper.release_all(held))
        elif action in ("continue", "skip", "retry"):
            self._go(lambda: stepper.release(chosen[0].ticket, action))  # type: ignore[arg-type]  # it is one of them
        else:
            raise UsageError(f"the stepper knows no action {action!r:.40}")

    def _go(self, release: Callable[[], object]) -> None:
        before, self._over = self._over, ""
        try:
            release()
        except BaseException:
            self._over = before
            raise

    def _pass(self, stepper: Control, held: list[Stop], action: str, count: int, where: str) -> None:
        """Go on until the next access, or the next one to a place."""
        self._forget_next()
        if action == "cancel":
            stepper.arm(0)
            self._awaits = ""
            return
        if action == "step":
            if count < 1:
                raise UsageError(f"step takes how many accesses, 1 or more, not {count!r}")
            stepper.arm(count)
            awaited = "the next access" if count == 1 else f"the {count:,}th access from now"
        else:
            self._passing = stepper.add(Request(where, once=True, hidden=True)).number
            awaited = where
        self._awaits = awaited
        self._go(lambda: stepper.release_all(held))

    def _forget_next(self) -> None:
        number, self._passing = self._passing, None
        if number is not None:
            with contextlib.suppress(HdvError):  # it is gone when it has stopped something
                self.lab.stepper.remove(number)

    def set_breakpoint(self, content: Mapping[str, Any]) -> None:
        """Set what the form says."""
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
        number = int(text.strip(), 0)
    except ValueError:
        raise UsageError(f"{text!r:.40} is no number; write 12, 0x1f, 0b101 or a field: EN=1") from None
    if number < 0:
        raise UsageError(f"{text} is negative; write the bits, for example {number & 0xFFFFFFFF:#x}")
    return number
