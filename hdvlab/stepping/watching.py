"""The thread that waits for stops."""

from __future__ import annotations

import sys
import traceback
import weakref
from typing import Protocol

from hdvlab.stepping.gate import Gate

#: Seconds of one wait for the gate: when it is seen that the lab is gone.
LOOK = 1.0


class Watcher(Protocol):
    """Who is told that something changed."""

    def look(self, known: set[int], overdue: int) -> int:
        """Tell of new stops; ``known`` and what is returned are for the next look."""


def watch_gate(gate: Gate, owner: weakref.ref[Watcher]) -> None:
    """Until the machine is off, or the lab forgotten."""
    known: set[int] = set()
    overdue = 0
    while not gate.ended:
        changed = gate.wait(LOOK)
        watcher = owner()
        if watcher is None:
            return
        if changed:
            try:
                overdue = watcher.look(known, overdue)
            except Exception:
                traceback.print_exc(file=sys.stderr)
        del watcher
