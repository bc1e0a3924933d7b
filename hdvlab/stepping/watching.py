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

    def look(self, known: set[int]) -> None:
        """Tell of new stops; ``known`` has the tickets of those that were told."""


def watch_gate(gate: Gate, owner: weakref.ref[Watcher]) -> None:
    """Until the machine is off, or the lab forgotten."""
    known: set[int] = set()
    while not gate.ended:
        changed = gate.wait(LOOK)
        watcher = owner()
        if watcher is None:
            return
        if changed:
            try:
                watcher.look(known)
            except Exception:
                traceback.print_exc(file=sys.stderr)
        del watcher
