"""One function per verb, the lab as its first argument. The magics and the command line are thin doors to them.

Results are objects that show themselves: frames, axes, numbers, texts. The functions are found when they are first
used, so that the command line answers quickly and ``hdvlab doctor`` works where the compiled library does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hdvlab.commands.current import close_lab, current_lab, existing_lab, new_lab, use_lab

if TYPE_CHECKING:
    from hdvlab.commands.access import peek, poke, read, whatif, write
    from hdvlab.commands.building import config
    from hdvlab.commands.c_device import c, load_device
    from hdvlab.commands.checking import check, check_folder
    from hdvlab.commands.device_host import attach, detach, host, hosts
    from hdvlab.commands.files import load, open_file, save
    from hdvlab.commands.look import faults, lspci, panel, regs
    from hdvlab.commands.obtaining import vm_parts, vm_setup
    from hdvlab.commands.picture import plot, theme
    from hdvlab.commands.plugging import plug, unplug
    from hdvlab.commands.power import start, stop
    from hdvlab.commands.recording import find_driver, guest, record, run
    from hdvlab.commands.rows import mark, trace
    from hdvlab.commands.state import overview, status
    from hdvlab.commands.stepping import breaks, log, override, retry, skip, step, trigger, unbreak
    from hdvlab.commands.versions import about
    from hdvlab.commands.virtual_machine import boot, existing_vm_lab, guest_program, sh, vm

__all__ = [
    "about",
    "attach",
    "boot",
    "breaks",
    "c",
    "check",
    "check_folder",
    "close_lab",
    "config",
    "current_lab",
    "detach",
    "existing_lab",
    "existing_vm_lab",
    "faults",
    "find_driver",
    "guest",
    "guest_program",
    "host",
    "hosts",
    "load",
    "load_device",
    "log",
    "lspci",
    "mark",
    "new_lab",
    "open_file",
    "override",
    "overview",
    "panel",
    "peek",
    "plot",
    "plug",
    "poke",
    "read",
    "record",
    "regs",
    "retry",
    "run",
    "save",
    "sh",
    "skip",
    "start",
    "status",
    "step",
    "stop",
    "theme",
    "trace",
    "trigger",
    "unbreak",
    "unplug",
    "use_lab",
    "vm",
    "vm_parts",
    "vm_setup",
    "whatif",
    "write",
]

_HOMES = {
    "versions": ("about",),
    "access": ("peek", "poke", "read", "whatif", "write"),
    "virtual_machine": ("boot", "existing_vm_lab", "guest_program", "sh", "vm"),
    "building": ("config",),
    "c_device": ("c", "load_device"),
    "checking": ("check", "check_folder"),
    "device_host": ("attach", "detach", "host", "hosts"),
    "files": ("load", "open_file", "save"),
    "look": ("faults", "lspci", "panel", "regs"),
    "obtaining": ("vm_parts", "vm_setup"),
    "picture": ("plot", "theme"),
    "plugging": ("plug", "unplug"),
    "power": ("start", "stop"),
    "recording": ("find_driver", "guest", "record", "run"),
    "rows": ("mark", "trace"),
    "state": ("overview", "status"),
    "stepping": ("break", "breaks", "continue", "log", "next", "override", "retry", "skip", "step", "trigger",
                 "unbreak"),
}  # fmt: skip
#: Verbs whose functions cannot, or should not, be called so in Python.
_SPELT = {"break": "break_", "continue": "continue_", "next": "next_"}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hdvlab.commands' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hdvlab.commands.{_HOME_OF[name]}"), _SPELT.get(name, name))
