"""What is done with a hit, on the thread of the access: conditions, messages of tracepoints, triggers."""

from __future__ import annotations

from hdvlab.stepping.armed import Armed
from hdvlab.stepping.bench import Bench
from hdvlab.stepping.hit import Access, Hit
from hdvlab.stepping.printing import Printer

#: Values that a breakpoint remembers of places, so that it knows what changed.
_MOST_VALUES = 4096


class Answers:
    """``errors`` has what conditions failed with, by row and phase, for the stops that came of it."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self.errors: dict[tuple[int, int], str] = {}

    def answer(self, one: Armed, access: Access, bench: Bench, takes: bool) -> tuple[bool, Hit]:
        """Whether an access is meant; what it leads to without a stop is done. ``takes``: see :meth:`Armed.admits`."""
        request = one.shown.request
        slot = next((slot for slot in bench.slots() if slot.index == access.device), None)
        key = (access.device, access.bar, access.address)
        hit = Hit(access, slot, one.last.get(key))
        try:
            if not self._matches(one, hit, key) or not one.admits(takes):
                return False, hit
            if one.message is not None:
                text = one.message(hit)
                bench.trace.mark(f"log {one.shown.number}: {text}", access.row)
                self._printer.say(text)
        except Exception as error:  # a person's expression: whatever it raises is shown
            said = f"{type(error).__name__}: {error}"
            one.shown.note = f"failed: {said}"
            if not request.stops:
                self._printer.say(f"{one.shown.kind} {one.shown.number} ({one.shown.text}) failed: {said}")
                return False, hit
            if not one.admits(takes):
                return False, hit
            self.errors[access.row, access.phase] = said
        if request.is_trigger:
            self._trigger(one, access, bench)
        return True, hit

    @staticmethod
    def _matches(one: Armed, hit: Hit, key: tuple[int, int, int]) -> bool:
        wanted = one.condition is None or bool(one.condition(hit))
        if one.shown.request.changed and one.place.field and hit.register is not None:
            now = hit.field(one.place.field)
            register = hit.register
            before = one.last.get(key)
            wanted = wanted and before is not None and now != register.fields[one.place.field].extract(before)
        if len(one.last) < _MOST_VALUES or key in one.last:
            one.last[key] = hit.value
        return wanted

    def _trigger(self, one: Armed, access: Access, bench: Bench) -> None:
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
