"""The one tree of commands: it parses, explains itself, completes and documents, for ``%hdv`` and for ``hdvlab``."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from hdvlab.commands import arguments
from hdvlab.commands.groups import GROUPS
from hdvlab.commands.nearest import nearest
from hdvlab.commands.number import parse_count, parse_number, parse_size, parse_slot
from hdvlab.errors import UsageError

Door = Literal["magic", "cell", "shell"]


class HelpWanted(Exception):
    """``--help`` was among the words; ``text`` is what to show."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises :class:`~hdvlab.errors.UsageError` with the nearest right word, and never exits."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings, add_help=False, allow_abbrev=False)
        self.add_argument("-h", "--help", action=_Help, nargs=0, default=argparse.SUPPRESS, help="show this")

    def error(self, message: str) -> NoReturn:
        """argparse's complaint, as ours."""
        missing = message.removeprefix("the following arguments are required: ")
        if missing != message:
            helps = {
                "/".join(action.option_strings) or str(action.metavar or action.dest): action.help
                for action in self._actions
            }
            first = missing.split(", ")[0]
            message = f"{self.prog} needs {missing.replace(', ', ' and ')}: {helps.get(first) or 'see --help'}"
        else:
            message = f"{message.removeprefix('argument ')}; {self._more()}"
        raise UsageError(message)

    def _more(self) -> str:
        return f"{self.prog} --help says what it takes"

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Never leaves the process."""
        raise UsageError(message or "")

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse; words that nothing takes are an error that names the nearest option."""
        parsed, rest = self.parse_known_args(list(words))
        if rest and "flags" in parsed:  # a verb that hands what it does not know to a compiler
            parsed.flags = rest
        elif rest:
            raise UsageError(self._too_much(rest[0]))
        return parsed

    def _too_much(self, word: str) -> str:
        if word.startswith("-"):
            return f"{self.prog} has no option {word}; {nearest(word, self.options())}"
        return f"{word!r} is one word too many; {self._more()}"

    def options(self) -> list[str]:
        """Every option it has, long ones first."""
        words = [word for action in self._actions for word in action.option_strings]
        return sorted(words, key=lambda word: (not word.startswith("--"), words.index(word)))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if value == []:  # none of several: before Python 3.12.8 argparse asks about that too
            return
        if choices is not None and value not in choices:
            what = action.metavar if isinstance(action.metavar, str) else (action.option_strings or [action.dest])[-1]
            raise UsageError(f"no {what.lower()} {value}; {nearest(str(value), map(str, choices))}")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if action.type not in (parse_count, parse_number, parse_size, parse_slot):
            return super()._get_value(action, arg_string)
        try:  # not by argparse, which would put its own words in the place of ours
            return action.type(arg_string)
        except UsageError as error:
            where = (action.option_strings or [str(action.metavar or action.dest)])[-1]
            raise UsageError(f"{where}: {error}") from None


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise HelpWanted(parser.format_help())


@dataclass(frozen=True)
class Verb:
    """One verb: its name is that of a function of :mod:`hdvlab.commands`.

    ``magic`` is its arguments in a notebook, ``shell`` those on the command line, None where it is not there.
    ``cell`` verbs take the cell as their body; ``line`` says that they may have it in their line instead. ``lab`` says
    whether it makes the lab of ``%hdv`` if there is none. ``example`` is for a notebook, ``shell_example`` for the
    command line, where what is typed is another; ``shell_summary`` where it does another thing there.
    """

    name: str
    summary: str
    magic: Callable[[argparse.ArgumentParser], None] | None = None
    shell: Callable[[argparse.ArgumentParser], None] | None = None
    cell: bool = False
    line: bool = False
    lab: bool = True
    example: str = ""
    shell_summary: str = ""
    shell_example: str = ""


VERBS: tuple[Verb, ...] = (
    Verb("plug", "put a device into the machine", arguments.plug, example="plug Blink --slot 4"),
    Verb("unplug", "take a device out", arguments.unplug, example="unplug blink"),
    Verb("boot", "start a real Linux VM with devices in it", arguments.boot, lab=False, example="boot --device Blink"),
    Verb("vm", "look at the VM; pause, resume, reset, off, kill, console, put, get", arguments.vm, arguments.vm_shell,
         lab=False, example="vm console 100", shell_example="vm setup",
         shell_summary="what a VM is made of: what is here, and setup, which brings the rest"),
    Verb("sh", "run a shell command, or the cell, in the VM", arguments.sh, cell=True, line=True, lab=False,
         example="sh -o run1 lspci -v"),
    Verb("start", "power on", arguments.start, lab=False, example="start --ram 128M"),
    Verb("stop", "power off; the trace stays", arguments.nothing, example="stop"),
    Verb("close", "power off, end the recording; the next command begins anew", arguments.nothing, lab=False,
         example="close"),
    Verb("status", "machine, devices, trace and runs", arguments.nothing, lab=False, example="status"),
    Verb("about", "versions, platform and what is missing, in one paste", arguments.nothing, arguments.nothing,
         lab=False, example="about", shell_example="about"),
    Verb("host", "start a device host, which outlives the notebook, or end one", arguments.host, arguments.host,
         lab=False, example="host lab1 --lease 3600", shell_example="host lab1 --lease 3600"),
    Verb("hosts", "device hosts, those that run and the traces of others", arguments.nothing, arguments.nothing,
         lab=False, example="hosts", shell_example="hosts"),
    Verb("attach", "work on the lab of a device host", arguments.attach, lab=False, example="attach lab1"),
    Verb("detach", "leave the device host alone; it goes on", arguments.nothing, lab=False, example="detach"),
    Verb("lab", "the Lab object, or make one of yours the lab of %hdv", arguments.lab, lab=False, example="lab mine"),
    Verb("lspci", "the devices, as lspci in the guest lists them", arguments.lspci, example="lspci -vv"),
    Verb("regs", "registers and their values, as a frame", arguments.regs, example="regs blink"),
    Verb("peek", "look at a register without touching it", arguments.peek, example="peek CTRL.EN"),
    Verb("poke", "set a register or field, past the bus", arguments.poke, example="poke CTRL.EN=1"),
    Verb("read", "read over the bus, as a driver would", arguments.read, example="read CTRL"),
    Verb("write", "write over the bus, as a driver would", arguments.write, example="write CTRL 0x1f"),
    Verb("whatif", "what a read or a write would do, tried on a copy of the device", arguments.whatif,
         example="whatif write CTRL.EN=1"),
    Verb("run", "run a Python function as the guest", arguments.run, example="run driver"),
    Verb("guest", "run the cell as the guest", arguments.guest, cell=True, example="guest -o run1"),
    Verb("c", "compile the cell as a device in C and plug it in", arguments.c, cell=True, example="c --name blink -O3"),
    Verb("record", "record what happens during the cell", arguments.record, cell=True, example="record -o run1"),
    Verb("mark", "put a line of text into the trace", arguments.mark, example="mark before the reset"),
    Verb(
        "trace", "rows, as a frame", arguments.trace, arguments.trace_file,
        example="trace --kind mmio --last 20", shell_example="trace run1 --kind mmio --csv",
    ),
    Verb(
        "plot", "draw rows: timeline, heatmap, latency, waveform, dma, interrupts, states, rate; compare two runs",
        arguments.plot, arguments.plot_file, example="plot waveform CTRL COUNT",
        shell_example="plot timeline run1 -o run1.png",
    ),
    Verb("theme", "light or dark pictures, remembered", arguments.theme, arguments.theme, lab=False,
         example="theme dark", shell_example="theme dark"),
    Verb("panel", "live panels: registers, trace, timeline, stepper and more", arguments.panel,
         example="panel registers table"),
    Verb("break", "stop the guest, or a device, at an access", arguments.break_,
         example='break CTRL --write --when "value & 1"'),
    Verb("breaks", "breakpoints, tracepoints and triggers", arguments.nothing, example="breaks"),
    Verb("unbreak", "take breakpoints out, or switch them off", arguments.unbreak, example="unbreak 1"),
    Verb("continue", "let the guest go on after a stop", arguments.nothing, example="continue"),
    Verb("step", "go on until the next access, or the N-th", arguments.step, example="step 3"),
    Verb("next", "go on until the next access to a place", arguments.next_, example="next CTRL"),
    Verb("override", "go on with another value", arguments.override, example="override 0xff"),
    Verb("skip", "go on without asking the device", arguments.nothing, example="skip"),
    Verb("retry", "have the device serve the access again, with its new code", arguments.nothing,
         example="retry"),
    Verb("log", "a message at each access, without a stop", arguments.log, example='log CTRL "CTRL={value:#x}"'),
    Verb("trigger", "an access starts or stops the recording, or keeps the rows around it", arguments.trigger,
         example="trigger CTRL==1 --keep 100 100"),
    Verb("check", "a device or driver of yours against a lab sheet", arguments.check, arguments.check_folder, lab=False,
         example="check blink", shell_example="check blink submissions --jobs 2",
         shell_summary="the submissions of a whole class against a lab sheet"),
    Verb("faults", "what failed in the devices' code", arguments.nothing, example="faults"),
    Verb("save", "write the trace to a directory or a .parquet file", arguments.save, example="save run1.parquet"),
    Verb(
        "load", "plug in a compiled device; or read a recording, a .parquet file, an mmiotrace log", arguments.load,
        example="load ./blink.so --name blink",
    ),
    Verb("convert", "read a trace and write it in another form", None, arguments.convert,
         shell_example="convert linux.mmiotrace.gz linux.parquet"),
    Verb("config", "what a compiler needs for a device or a program in C", None, arguments.config,
         shell_example="config --cflags --libs"),
    Verb("tour", "the tour notebook: everything once, in ten minutes", None, arguments.rest,
         shell_example="tour --headless"),
    Verb("bench", "what things cost on this machine", None, arguments.rest, shell_example="bench"),
    Verb("doctor", "what is here, what is missing, and how to get it", None, arguments.nothing, shell_example="doctor"),
)  # fmt: skip

BY_NAME = {verb.name: verb for verb in VERBS}


@functools.cache
def verb_parser(name: str, door: Door = "magic") -> Parser:
    """The parser of one verb's arguments.

    Raises
    ------
    UsageError
        There is no such verb at this door; the message names the nearest.
    """
    verb = BY_NAME.get(name)
    fill = None if verb is None else verb.shell if door == "shell" else verb.magic
    if verb is None or fill is None:
        raise UsageError(f"no verb {name}; {nearest(name, verbs(door))}")
    program = "hdvlab" if door == "shell" else "%%hdv" if verb.cell else "%hdv"
    typed = verb.shell_example if door == "shell" else verb.example
    parser = Parser(
        prog=f"{program} {name}", description=_sentence(_summary(verb, door)), epilog=f"example: {program} {typed}"
    )
    fill(parser)
    return parser


def verbs(door: Door = "magic") -> list[str]:
    """The verbs that a door has."""
    if door == "shell":
        return [verb.name for verb in VERBS if verb.shell]
    return [verb.name for verb in VERBS if verb.magic and (verb.cell or door == "magic")]


def help_text(door: Door = "magic") -> str:
    """What ``--help`` alone shows: every verb in a line, by what it is for."""
    program = "hdvlab" if door == "shell" else "%%hdv" if door == "cell" else "%hdv"
    lines, known = [], set(verbs(door))
    for group in GROUPS:
        chosen = [BY_NAME[name] for name in group.verbs if name in known]
        if chosen:
            lines += ["", f"{group.name}: {group.purpose}"]
        for verb in chosen:
            typed = "%%hdv" if verb.cell else program
            lines.append(f"  {typed:<5} {verb.name:<8} {_summary(verb, door)}")
    more = _LOCATIONS if door != "shell" else ""
    return f"usage: {program} VERB [arguments]\n" + "\n".join(lines) + f"\n\n{program} VERB --help says more.\n{more}"


_LOCATIONS = """
A location is a register (CTRL, blink.CTRL), a field (CTRL.EN), or a place (bar0+0x10, blink.config+0x4).
Numbers are 31, 0x1f or 0b1_1111. {expression} is replaced by its value: %hdv poke CTRL={value}.
Assign what a command returns: frame = %hdv trace --kind mmio
"""


def _summary(verb: Verb, door: Door) -> str:
    return (door == "shell" and verb.shell_summary) or verb.summary


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
