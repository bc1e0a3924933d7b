"""Breakpoints and stops of a machine in this process."""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from typing import Any

from hdvlab._core import lib
from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.stepping.answers import Answers
from hdvlab.stepping.armed import Armed, find_asked, rules_of
from hdvlab.stepping.bench import Bench
from hdvlab.stepping.breakpoint import Breakpoint, Request
from hdvlab.stepping.condition import Message, known_names, make_condition
from hdvlab.stepping.control import ACTIONS, Action, Control
from hdvlab.stepping.describing import describe_stop
from hdvlab.stepping.gate import Gate
from hdvlab.stepping.hit import Access, Hit
from hdvlab.stepping.place import Slot
from hdvlab.stepping.printing import Printer
from hdvlab.stepping.stop import Stop
from hdvlab.stepping.watching import LOOK, watch_gate


class Stepper(Control):
    """See :class:`~hdvlab.stepping.control.Control`. The gate is that of the machine while it is on.

    Breakpoints outlive the machine's power and new code of devices: names are looked up again.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = weakref.ref(bench)
        self._guard = threading.RLock()
        self._armed: dict[int, Armed] = {}
        self._by_native: dict[int, Armed] = {}
        self._next_number = 1
        self._gate: Gate | None = None
        self._thread: threading.Thread | None = None
        self._shown: dict[int, Stop] = {}
        self._limit: float | None = 1200.0
        self._overdue = 0
        self._step = 0
        self._printer = Printer()
        self._answers = Answers(self._printer)
        self.cells_run_here = True
        """Whether the main thread runs the person's cells: it is never held, for nobody could let it go."""
        self._told_own_thread: set[int] = set()
        self._is_closed = False

    def close(self) -> None:
        """Nothing will be held any more: who waits for a stop is told."""
        self._is_closed = True
        self.tell([])

    def check_alive(self) -> None:
        """See :meth:`Control.check_alive`."""
        if self._is_closed:
            raise StateError("the lab is closed, so nothing will be held in it")

    def _lab(self) -> Bench:
        bench = self._bench()
        if bench is None:
            raise StateError("the lab is gone")
        return bench

    # ---- the machine comes and goes ------------------------------------------------------------------------------

    def attach(self, system: Any) -> Gate:
        """A machine is being switched on: breakpoints hold in it from now on. Whoever keeps it keeps the gate."""
        with self._guard:
            gate = self._gate = Gate(system, self)
            gate.set_limit(self._limit)
            self._overdue = 0
            self._shown.clear()
            for one in self._armed.values():
                one.natives.clear()
                one.is_taken = False  # it has not held, or it would be gone
            if self._step:
                gate.step(self._step)
                self._step = 0
            if self._armed or self._callbacks or self._observers:
                self._watch()
        self.resolve()
        return gate

    def detach(self) -> None:
        """The machine is off; what it counted is kept."""
        with self._guard:
            for one in self._armed.values():
                self._count(one)
                one.natives.clear()
            self._by_native.clear()
            self._gate = None
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(5 * LOOK)
        self.pending.clear()
        self._printer.flush()
        self.tell([])
        self._told()

    def let_go(self, device: str | None = None) -> None:
        """Hold nothing any more: the machine is about to go off, and breakpoints are set again when it is on again; or
        let only go what a device that is about to be taken out has to serve."""
        gate = self._gate
        if gate is None:
            return
        if device is not None:
            self._skip(gate, {stop.ticket for stop in self.read_stops() if stop.device == device})
            return
        self._tell_overdue(gate)  # the watching thread may not have come to it
        with self._guard:
            with contextlib.suppress(HdvError):
                gate.step(0)
            for one in self._armed.values():
                self._count(one)
                for native in one.natives:
                    gate.remove(native)
                one.natives.clear()
            self._by_native.clear()
        self._skip(gate, {access.ticket for access in gate.stops()})

    @staticmethod
    def _skip(gate: Gate, tickets: set[int]) -> None:
        for ticket in tickets:
            for action in ("skip", "continue"):  # what cannot be skipped is continued
                with contextlib.suppress(HdvError):
                    gate.release(ticket, ACTIONS[action], 0)
                    break

    def _count(self, one: Armed) -> None:
        if self._gate is None:
            return
        for native in one.natives:
            hits, stops = self._gate.hits(native)
            one.counted = (one.counted[0] + hits, one.counted[1] + stops)

    # ---- breakpoints -------------------------------------------------------------------------------------------

    def add(self, request: Request) -> Breakpoint:
        """See :meth:`Control.add`.

        Raises
        ------
        UsageError
            The place, condition or message names what there is not.
        """
        bench = self._lab()
        slots: list[Slot] = bench.slots()
        place = find_asked(request, slots)
        condition = make_condition(request.when, place, slots)
        message = None if request.log is None else Message(request.log, known_names(place, slots))
        with self._guard:
            number = 0 if request.hidden else self._next_number
            while request.hidden and number in self._armed:
                number -= 1  # of their own, so that what people see counts from 1 without gaps
            self._next_number += not request.hidden
            shown = Breakpoint(number, request, _owner=self)
            one = self._armed[number] = Armed(shown, place, condition, message)
            try:
                self._arm(one, slots)
            except BaseException:
                del self._armed[number]
                raise
        if request.record == "start":
            bench.trace.suspend(True)
        self.begin_watching()
        self._told()
        return shown

    def remove(self, number: int) -> None:
        """See :meth:`Control.remove`."""
        self.read_stops()  # what it holds is described while it is known
        with self._guard:
            one = self._armed.pop(number, None)
            if one is None:
                raise UsageError(f"there is no breakpoint {number}; %hdv breaks lists them")
            self._refresh(one)
            self._disarm(one)
        self._told()

    def remove_hidden(self) -> None:
        """See :meth:`Control.remove_hidden`."""
        self.read_stops()
        with self._guard:
            for number in [number for number, one in self._armed.items() if one.shown.request.hidden]:
                self._disarm(self._armed[number])
                del self._armed[number]

    def set_enabled(self, number: int, enabled: bool) -> None:
        """See :meth:`Control.set_enabled`."""
        with self._guard:
            one = self._armed.get(number)
            if one is None:
                raise UsageError(f"there is no breakpoint {number}; %hdv breaks lists them")
            one.shown.enabled = enabled
            if self._gate is not None:
                for native, rule in one.natives.items():
                    self._gate.set_flags(native, rule.flags | (0 if enabled else lib.HDVLAB_BREAK_DISABLED))
        self._told()

    def list_breakpoints(self) -> list[Breakpoint]:
        """See :meth:`Control.list_breakpoints`."""
        with self._guard:
            chosen = [one for one in self._armed.values() if not one.shown.request.hidden]
            for one in chosen:
                self._refresh(one)
            return [one.shown for one in chosen]

    def _refresh(self, one: Armed) -> None:
        hits, stops = one.counted
        hits += one.passed
        if self._gate is not None:
            for native in one.natives:
                more = self._gate.hits(native)
                hits, stops = hits + more[0], stops + more[1]
        one.shown.hits, one.shown.stops = hits, stops

    def resolve(self) -> None:
        """Devices came, went, or have other registers: set every breakpoint where it is now."""
        bench = self._bench()
        if bench is None:
            return
        slots: list[Slot] = bench.slots()
        with self._guard:
            for one in list(self._armed.values()):
                before = one.shown.note
                request = one.shown.request
                try:
                    one.place = find_asked(request, slots)
                    one.condition = make_condition(request.when, one.place, slots)
                    if request.log is not None:
                        one.message = Message(request.log, known_names(one.place, slots))
                    one.shown.note = ""
                    self._arm(one, slots)
                except UsageError as error:
                    self._count(one)
                    self._disarm(one)
                    owner = one.place.device
                    gone = owner is not None and owner not in [slot.name for slot in slots]
                    one.shown.note = f"waits for {owner}" if gone else f"off: {error.message}"
                    if one.shown.note != before and not gone:
                        self._printer.say(f"{one.shown.kind} {one.shown.number} ({one.shown.text}) is {one.shown.note}")
        self._told()

    def _arm(self, one: Armed, slots: list[Slot]) -> None:
        if self._gate is None:
            return
        device = next((slot.index for slot in slots if slot.name == one.place.device), -1)
        wanted = list(rules_of(one, device, self.cells_run_here))
        if list(one.natives.values()) == wanted:
            return
        self._count(one)
        self._disarm(one)
        off = 0 if one.shown.enabled else lib.HDVLAB_BREAK_DISABLED
        for rule in wanted:
            is_asked = rule.flags & lib.HDVLAB_BREAK_ASK  # then hits to ignore are let pass where it is answered
            native = self._gate.add(rule, 0 if is_asked else max(0, one.shown.request.ignore - one.counted[0]))
            one.natives[native] = rule
            self._by_native[native] = one
            if off:
                self._gate.set_flags(native, rule.flags | off)

    def _disarm(self, one: Armed) -> None:
        for native in one.natives:
            self._by_native.pop(native, None)
            if self._gate is not None:
                self._gate.remove(native)
        one.natives.clear()

    # ---- what the gate asks --------------------------------------------------------------------------------------

    def is_wanted(self, native: int, access: Access) -> bool:
        """See :class:`~hdvlab.stepping.gate.Asked`; on the thread of the access."""
        one = self._by_native.get(native)  # no lock: a device may be inside, and whoever has the lock may look at it
        bench = self._bench()
        if one is None or bench is None:
            return False
        request = one.shown.request
        is_own = request.stops and self._is_own_thread()
        is_hit, hit = self._answers.answer(one, access, bench, takes=not is_own)
        if is_hit and request.once and not request.stops:
            self._over(one)
        if is_hit and is_own:
            self._tell_own_thread(one, hit)
            return False
        return is_hit

    def _over(self, one: Armed) -> None:
        with self._guard:
            if self._armed.get(one.shown.number) is one:
                del self._armed[one.shown.number]
            self._disarm(one)

    def _is_own_thread(self) -> bool:
        return self.cells_run_here and threading.current_thread() is threading.main_thread()

    def _tell_own_thread(self, one: Armed, hit: Hit) -> None:
        if one.shown.number in self._told_own_thread:
            return
        self._told_own_thread.add(one.shown.number)
        self._printer.say(
            f"breakpoint {one.shown.number}: {hit.action} (row {hit.row}) was not stopped: it came on the thread that "
            "runs your cells, where nobody could let it go on. A device host has threads of its own: %hdv host lab1"
        )

    def holds_own_thread(self, ticket: int) -> None:
        """A step has stopped the thread that runs cells: it goes on."""
        if self.cells_run_here and (gate := self._gate) is not None:
            self._printer.say("the step ended on the thread that runs your cells, where nobody could let it go on")
            with contextlib.suppress(HdvError):
                gate.release(ticket, ACTIONS["continue"], 0)

    # ---- what is held --------------------------------------------------------------------------------------------

    def read_stops(self) -> list[Stop]:
        """See :meth:`Control.read_stops`."""
        gate = self._gate
        if gate is None:
            return []
        held = gate.stops()
        for access in held:
            if access.ticket not in self._shown:
                one = self._by_native.get(access.breakpoint)
                error = self._answers.errors.pop((access.row, access.phase), "")
                self._shown.setdefault(access.ticket, describe_stop(access, one, error, self._lab()))
                if one is not None and one.shown.request.once:
                    self._over(one)
        return [self._shown[access.ticket] for access in held]

    def release(self, ticket: int, action: Action, value: int = 0) -> None:
        """See :meth:`Control.release`."""
        if self._gate is None:
            raise StateError("it is not held any more: the machine is off")
        self._gate.release(ticket, ACTIONS[action], value)
        self._told()

    def arm(self, count: int) -> None:
        """See :meth:`Control.arm`."""
        if self._gate is None:
            self._step = count  # when it is switched on
        else:
            self._gate.step(count)
        self.begin_watching()

    def set_limit(self, seconds: float | None) -> None:
        """The longest hold, in seconds; then the guest goes on, and a warning says so. None: for ever."""
        if self._gate is not None:
            self._gate.set_limit(seconds)
        self._limit = seconds

    # ---- watching ------------------------------------------------------------------------------------------------

    def begin_watching(self) -> None:
        """See :meth:`Control.begin_watching`."""
        with self._guard:
            if self._gate is not None:
                self._watch()

    def _watch(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            given = (self._gate, weakref.ref(self))
            self._thread = threading.Thread(target=watch_gate, args=given, name="hdvlab-stops", daemon=True)
            self._thread.start()

    def look(self, known: set[int]) -> None:
        """Something changed: tell of new stops, and of holds that the limit ended."""
        gate = self._gate
        if gate is None:
            return
        held = {stop.ticket for stop in self.read_stops()}
        new = [stop for ticket, stop in sorted(self._shown.items()) if ticket not in known]
        known.update(stop.ticket for stop in new)
        # Somebody may have been quicker, and let it go on: whoever wants to know of stops is told all the same.
        self.tell([stop for stop in new if stop.ticket not in held], is_over=True)
        self.tell([stop for stop in new if stop.ticket in held])
        self._told()
        self._tell_overdue(gate)

    def _tell_overdue(self, gate: Gate) -> None:
        with self._guard:
            count = gate.overdue()
            is_news, self._overdue = count > self._overdue, max(count, self._overdue)
        if is_news:
            how_long = "" if self._limit is None else f" for {self._limit:,g} s"
            text = f"nobody let the guest go on{how_long}, so it goes on by itself; marks in the trace say where"
            with contextlib.suppress(OSError, ValueError):  # nobody may be looking
                print(text, file=sys.stderr, flush=True)
