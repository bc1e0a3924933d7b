"""The verbs by what a person wants of them: for the overview and for ``--help``, where a list of all is too long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Verbs that belong together, the ones that are wanted first first."""

    name: str
    purpose: str
    verbs: tuple[str, ...]

    def line(self, spelt: Callable[[str], str], known: set[str]) -> str:
        """Those of its verbs that are ``known``, as they are typed."""
        return ", ".join(spelt(verb) for verb in self.verbs if verb in known)


GROUPS = (
    Group("machine", "devices, power, the lab itself",
          ("plug", "unplug", "c", "load", "start", "stop", "close", "lab", "status")),
    Group("look", "without touching anything", ("regs", "peek", "whatif", "lspci", "faults", "panel")),
    Group("change", "as a driver, or past the bus", ("read", "write", "poke", "run", "guest")),
    Group("stop and step", "the guest waits, cells run",
          ("break", "continue", "step", "next", "override", "skip", "retry", "breaks", "unbreak", "log", "trigger")),
    Group("rows and pictures", "what happened",
          ("trace", "plot", "record", "mark", "save", "convert", "theme")),
    Group("VM", "a real Linux", ("boot", "sh", "vm")),
    Group("host", "labs that outlive the notebook", ("hosts", "attach", "detach", "host")),
    Group("teach", "a course and its exercises", ("check", "tour")),
    Group("this computer", "what is here, and what it is good for", ("doctor", "about", "bench", "config")),
)  # fmt: skip
