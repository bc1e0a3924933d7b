"""Breakpoints and stops of a machine in this process."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from hdvlab._core import lib
from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.stepping.breakpoint import Breakpoint, Request
from hdvlab.stepping.condition import Expression, Message, known_names, make_condition
from hdvlab.stepping.control import ACTIONS, Action, Control
from hdvlab.stepping.gate import Gate, Rule
from hdvlab.stepping.hit import AFTER, Access, Hit
from hdvlab.stepping.place import READS, Place, Slot, find_place
from hdvlab.stepping.printing import Printer
from hdvlab.stepping.stop import Stop
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import Kind, Origin

#: Values that a breakpoint remembers of places, so that it knows what changed.
_MOST_VALUES = 4096
#: Seconds of one wait for the gate: when the watching thread sees that its lab is gone.
_LOOK = 1.0


class Bench(Protocol):
    """A lab, as far as stepping needs one."""

    trace: Recorder

    def slots(self) -> list[Any]:
        """What is plugged in: :class:`~hdvlab.stepping.place.Slot` each."""

    def keep_rows(self, name: str, start: int, stop: int) -> None:
        """Rows ``start`` up to ``stop``, which may not all be there yet, are a named run from now on."""

    def is_posted(self, kind: Kind) -> bool:
        """Whether the guest does not wait for accesses of a kind."""


@dataclass
class _Armed:
    """A breakpoint, and what stands for it in the gate."""

    shown: Breakpoint
    place: Place
    condition: Callable[[Hit], Any] | None
    message: Message | None
    natives: dict[int, Rule] = field(default_factory=dict)
    last: dict[tuple[int, int, int], int] = field(default_factory=dict)
    counted: tuple[int, int] = (0, 0)
    """Hits and stops of entries that are gone."""
    kept_to: int = -1


class Stepper(Control):
    """See :class:`~hdvlab.stepping.control.Control`. The gate is that of the machine while it is on.

    Breakpoints outlive the machine's power and new code of devices: names are looked up again.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = weakref.ref(bench)
        self._guard = threading.RLock()
        self._armed: dict[int, _Armed] = {}
        self._by_native: dict[int, _Armed] = {}
        self._next_number = 1
        self._gate: Gate | None = None
        self._thread: threading.Thread | None = None
        self._shown: dict[int, Stop] = {}
        self._errors: dict[tuple[int, int], str] = {}
        self._limit: float | None = 1200.0
        self._step = 0
        self._printer = Printer()
        self._changes: list[Callable[[], None]] = []
        self.cells_run_here = True
        """Whether the main thread runs the person's cells: it is never held, for nobody could let it go."""
        self._told_own_thread: set[int] = set()

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
            self._shown.clear()
            for one in self._armed.values():
                one.natives.clear()
            if self._step:
                gate.step(self._step)
                self._step = 0
            if self._armed or self._callbacks or self._changes:
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
            thread.join(5 * _LOOK)
        self.pending.clear()
        self._printer.flush()
        self.tell([])

    def let_go(self, device: str | None = None) -> None:
        """Hold nothing any more: the machine is about to go off, and breakpoints are set again when it is on again; or
        let only go what a device that is about to be taken out has to serve."""
        gate = self._gate
        if gate is None:
            return
        if device is not None:
            self._skip(gate, {stop.ticket for stop in self.read_stops() if stop.device == device})
            return
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

    def _count(self, one: _Armed) -> None:
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
        place = _found(request, slots)
        condition = make_condition(request.when, place, slots)
        message = None if request.log is None else Message(request.log, known_names(place, slots))
        with self._guard:
            number = 0 if request.hidden else self._next_number
            while request.hidden and number in self._armed:
                number -= 1  # of their own, so that what people see counts from 1 without gaps
            self._next_number += not request.hidden
            shown = Breakpoint(number, request, _owner=self)
            one = self._armed[number] = _Armed(shown, place, condition, message)
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
        with self._guard:
            one = self._armed.pop(number, None)
            if one is None:
                raise UsageError(f"there is no breakpoint {number}; %hdv breaks lists them")
            self._refresh(one)
            self._disarm(one)
        self._told()

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

    def _refresh(self, one: _Armed) -> None:
        hits, stops = one.counted
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
                    one.place = _found(request, slots)
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

    def _arm(self, one: _Armed, slots: list[Slot]) -> None:
        if self._gate is None:
            return
        device = next((slot.index for slot in slots if slot.name == one.place.device), -1)
        wanted = list(_rules(one, device, self.cells_run_here))
        if list(one.natives.values()) == wanted:
            return
        self._count(one)
        self._disarm(one)
        off = 0 if one.shown.enabled else lib.HDVLAB_BREAK_DISABLED
        for rule in wanted:
            native = self._gate.add(rule, max(0, one.shown.request.ignore - one.counted[0]))
            one.natives[native] = rule
            self._by_native[native] = one
            if off:
                self._gate.set_flags(native, rule.flags | off)

    def _disarm(self, one: _Armed) -> None:
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
        slot = next((slot for slot in bench.slots() if slot.index == access.device), None)
        key = (access.device, access.bar, access.address)
        hit = Hit(access, slot, one.last.get(key))
        try:
            if not self._matches(one, hit, key):
                return False
            if one.message is not None:
                text = one.message(hit)
                bench.trace.mark(f"log {one.shown.number}: {text}", access.row)
                self._printer.say(text)
        except Exception as error:  # a person's expression: whatever it raises is shown
            said = f"{type(error).__name__}: {error}"
            one.shown.note = f"failed: {said}"
            if not request.stops:
                self._printer.say(f"{one.shown.kind} {one.shown.number} ({one.shown.text}) failed: {said}")
                return False
            self._errors[access.row, access.phase] = said
        if request.is_trigger:
            self._trigger(one, access, bench)
        if request.once and not request.stops:
            self._over(one)
        if request.stops and self._is_own_thread():
            self._tell_own_thread(one, hit)
            return False
        return True

    @staticmethod
    def _matches(one: _Armed, hit: Hit, key: tuple[int, int, int]) -> bool:
        wanted = one.condition is None or bool(one.condition(hit))
        if one.shown.request.changed and one.place.field and hit.register is not None:
            now = hit.field(one.place.field)
            register = hit.register
            before = one.last.get(key)
            wanted = wanted and before is not None and now != register.fields[one.place.field].extract(before)
        if len(one.last) < _MOST_VALUES or key in one.last:
            one.last[key] = hit.value
        return wanted

    def _trigger(self, one: _Armed, access: Access, bench: Bench) -> None:
        request = one.shown.request
        row = access.row if access.row >= 0 else len(bench.trace)
        if request.record is not None:
            bench.trace.suspend(request.record == "stop")
            word = "on" if request.record == "start" else "paused"
            self._printer.say(f"trigger {one.shown.number} ({one.shown.text}): recording is {word}, from row {row:,}")
        if request.keep is not None and row > one.kept_to:
            before, after = request.keep
            one.kept_to = row + after
            name = f"trigger{one.shown.number}-{row}"
            bench.keep_rows(name, max(0, row - before), row + after + 1)
            self._printer.say(f"trigger {one.shown.number} ({one.shown.text}): rows are kept as {name}")

    def _over(self, one: _Armed) -> None:
        with self._guard:
            self._armed.pop(one.shown.number, None)
            self._disarm(one)

    def _is_own_thread(self) -> bool:
        return self.cells_run_here and threading.current_thread() is threading.main_thread()

    def _tell_own_thread(self, one: _Armed, hit: Hit) -> None:
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
                self._shown.setdefault(access.ticket, self._described(access))
        return [self._shown[access.ticket] for access in held]

    def _described(self, access: Access) -> Stop:
        bench = self._lab()
        one = self._by_native.get(access.breakpoint)
        slot = next((slot for slot in bench.slots() if slot.index == access.device), None)
        hit = Hit(access, slot)
        stored = hit.stored
        file_line = self._source(access, bench)
        is_after = access.phase == AFTER
        return Stop(
            ticket=access.ticket,
            breakpoint=0 if one is None else max(0, one.shown.number),
            reason="step" if one is None else one.shown.text,
            phase="after" if is_after else "before",
            row=access.row,
            kind=access.kind.name,
            origin=access.origin.name,
            device=hit.device,
            place=hit.place,
            action=hit.action,
            bar=access.bar,
            address=access.address,
            size=access.size,
            register="" if hit.register is None else hit.register.name,
            value=hit.value,
            fields=hit.describe(hit.value),
            stored=stored,
            stored_fields="" if stored is None else hit.describe(stored),
            status=access.status if is_after else 0,
            source=file_line[0],
            file=file_line[1],
            line=file_line[2],
            posted=access.origin is Origin.guest and bench.is_posted(access.kind),
            is_inside=access.is_inside,
            error=self._errors.pop((access.row, access.phase), ""),
            trace=bench.trace,
        )

    @staticmethod
    def _source(access: Access, bench: Bench) -> tuple[str, str, int]:
        """The driver's line: of the access, or of the one in whose callback it is."""
        sources = bench.trace.tables.sources
        pc = access.pc
        if not pc and access.row >= 0:
            view = bench.trace.view()
            with contextlib.suppress(HdvError):
                cause = int(view.columns["cause"][view.position(access.row)])
                pc = int(view.columns["pc"][view.position(cause)]) if cause >= 0 else 0
        line = sources.get(pc)
        return ("", "", 0) if line is None else (str(line), line.file, line.line)

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

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called whenever something is held, let go, set or taken out."""
        self._changes.append(callback)
        self.begin_watching()

    def _told(self) -> None:
        for callback in self._changes:
            callback()

    def begin_watching(self) -> None:
        """See :meth:`Control.begin_watching`."""
        with self._guard:
            if self._gate is not None:
                self._watch()

    def _watch(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            given = (self._gate, weakref.ref(self))
            self._thread = threading.Thread(target=_watch_gate, args=given, name="hdvlab-stops", daemon=True)
            self._thread.start()

    def look(self, known: set[int], overdue: int) -> int:
        """Something changed: tell of new stops, and of holds that the limit ended."""
        gate = self._gate
        if gate is None:
            return overdue
        stops = self.read_stops()
        new = [stop for stop in stops if stop.ticket not in known]
        for stop in new:
            known.add(stop.ticket)
            one = self._armed.get(stop.breakpoint)
            if one is not None and one.shown.request.once:
                one.counted = (one.counted[0] + 1, one.counted[1] + 1)
                self._over(one)
        self.tell(new)
        self._told()
        count = gate.overdue()
        if count > overdue:
            minutes = "" if self._limit is None else f" for {self._limit:,g} s"
            print(
                f"nobody let the guest go on{minutes}, so it goes on by itself; the marks in the trace say where",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        return count


def _watch_gate(gate: Gate, owner: weakref.ref[Stepper]) -> None:
    """Until the machine is off, or the lab forgotten."""
    known: set[int] = set()
    overdue = 0
    while not gate.ended:
        changed = gate.wait(_LOOK)
        stepper = owner()
        if stepper is None:
            return
        if changed:
            try:
                overdue = stepper.look(known, overdue)
            except Exception:
                traceback.print_exc(file=sys.stderr)
        del stepper


def _found(request: Request, slots: list[Slot]) -> Place:
    return find_place(request.where, slots, access=request.access, device=request.device, kind=request.kind)


def _rules(one: _Armed, device: int, cells_run_here: bool) -> list[Rule]:
    """What stands for a breakpoint in the gate. A read has a value only when it is answered."""
    request, place = one.shown.request, one.place
    changed_field = request.changed and bool(place.field)
    flags = lib.HDVLAB_BREAK_ONCE if request.once else 0
    if request.changed and not changed_field:
        flags |= lib.HDVLAB_BREAK_CHANGED
    if one.condition is not None or one.message is not None or request.is_trigger or changed_field:
        flags |= lib.HDVLAB_BREAK_ASK
    if not request.stops:
        flags |= lib.HDVLAB_BREAK_PASS
    elif cells_run_here:
        flags |= lib.HDVLAB_BREAK_ASK  # which thread it is
    reads, others = place.kinds & READS, place.kinds - READS
    speaks_of_it = isinstance(one.condition, Expression) and one.condition.needs_value
    needs_value = bool(place.mask) or request.changed or one.message is not None or speaks_of_it
    parts = [(place.kinds, request.after)]
    if needs_value and not request.after:
        parts = [(kinds, after) for kinds, after in ((reads, True), (others, False)) if kinds]
    return [
        Rule(kinds, flags | (lib.HDVLAB_BREAK_AFTER if after else 0), device, place.bar, place.first, place.last,
             place.value, place.mask)
        for kinds, after in parts
    ]  # fmt: skip
