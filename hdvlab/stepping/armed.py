"""A breakpoint that is set, and what stands for it in the gate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hdvlab._core import lib
from hdvlab.stepping.breakpoint import Breakpoint, Request
from hdvlab.stepping.condition import Expression, Message
from hdvlab.stepping.gate import Rule
from hdvlab.stepping.hit import Hit
from hdvlab.stepping.place import READS, Place, Slot, find_place


@dataclass
class Armed:
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
    passed: int = 0
    """Hits that were let pass here, because they had to be asked about."""
    is_taken: bool = False
    """It is for once, and has been met."""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, takes: bool) -> bool:
        """Whether a hit counts: not one to ignore, nor a second of what is for once.

        ``takes``: what is for once is over with it.
        """
        request = self.shown.request
        with self.guard:
            if self.passed < request.ignore:
                self.passed += 1
                return False
            if request.once and self.is_taken:
                return False
            self.is_taken = takes
            return True


def find_asked(request: Request, slots: list[Slot]) -> Place:
    return find_place(request.where, slots, access=request.access, device=request.device, kind=request.kind)


def rules_of(one: Armed, device: int, cells_run_here: bool) -> list[Rule]:
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
    if len(parts) > 1 and (request.ignore or request.once):
        flags |= lib.HDVLAB_BREAK_ASK  # both count together
    return [
        Rule(kinds, flags | (lib.HDVLAB_BREAK_AFTER if after else 0), device, place.bar, place.first, place.last,
             place.value, place.mask)
        for kinds, after in parts
    ]  # fmt: skip
