"""The arguments of each verb: a function of the verb's name adds them to its parser; a file for each group of verbs."""

from __future__ import annotations

from hdvlab.commands.arguments.access import lspci, peek, poke, read, regs, whatif, write
from hdvlab.commands.arguments.argument import nothing, rest
from hdvlab.commands.arguments.checking import check, check_folder
from hdvlab.commands.arguments.machine import attach, boot, host, lab, sh, start, vm, vm_shell
from hdvlab.commands.arguments.picture import panel, plot, plot_file, theme
from hdvlab.commands.arguments.plugging import c, config, load, plug, unplug
from hdvlab.commands.arguments.recording import guest, mark, record, run
from hdvlab.commands.arguments.rows import convert, save, trace, trace_file
from hdvlab.commands.arguments.stepping import break_, log, next_, override, step, trigger, unbreak

__all__ = [
    "attach",
    "boot",
    "break_",
    "c",
    "check",
    "check_folder",
    "config",
    "convert",
    "guest",
    "host",
    "lab",
    "load",
    "log",
    "lspci",
    "mark",
    "next_",
    "nothing",
    "override",
    "panel",
    "peek",
    "plot",
    "plot_file",
    "plug",
    "poke",
    "read",
    "record",
    "regs",
    "rest",
    "run",
    "save",
    "sh",
    "start",
    "step",
    "theme",
    "trace",
    "trace_file",
    "trigger",
    "unbreak",
    "unplug",
    "vm",
    "vm_shell",
    "whatif",
    "write",
]
