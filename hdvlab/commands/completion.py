"""What TAB offers, from the same tree that parses."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hdvlab.commands import checking, location, plugging, recording
from hdvlab.commands.parser import Door, verb_parser, verbs
from hdvlab.commands.rows import KIND_WORDS
from hdvlab.errors import HdvError
from hdvlab.stepping.condition import ACCESS_NAMES
from hdvlab.stepping.place import KIND_WORDS as STOPPING_WORDS
from hdvlab.trace.schema import Origin

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab


#: What may stand for an option whose values are not a closed list.
_WORDS = {
    "tool": ("pciutils", "e2fsprogs"),
    "cpus": ("1", "2", "4"),
    "size": ("64M", "128M", "256M", "512M", "1G"),
    "config": ("size=", "file=", "block=", "doorbells=", "dma_delay_ms="),
}
_LABS = ("Lab", "RemoteLab")
_HOLDS_ROWS = ("Run", "Trace", "TraceSlice", "MappedTrace", "Recorder")


def complete(words: list[str], lab: AnyLab | None, namespace: Mapping[str, Any], door: Door = "magic") -> list[str]:
    """Completions for the last of ``words``, which may be empty.

    Parameters
    ----------
    words : list of str
        The line behind ``%hdv``, up to the cursor.
    lab : Lab or None
        The lab of ``%hdv`` if there is one; completing makes none.
    namespace : mapping
        The person's variables.
    """
    *before, typed = words
    if not before:
        offered: Iterable[str] = [*verbs(door), "--help"] if typed.startswith("-") else verbs(door)
        return [word for word in offered if word.startswith(typed)]
    try:
        parser = verb_parser(before[0])
    except HdvError:
        return []
    options = {word: action for action in parser._actions for word in action.option_strings}
    valued = options.get(before[-1]) if len(before) > 1 else None
    if valued is not None and valued.nargs is None and not isinstance(valued, argparse._CountAction):
        offered = _offers(valued, lab, namespace, typed)
    elif typed.startswith("-"):
        offered = [word for word in parser.options() if word.startswith("--") or typed == "-"]
    else:
        action = _positional(parser, before[1:], options)
        if getattr(action, "complete", "") == "value":
            offered = _meanings(lab, before)
        else:
            offered = _offers(action, lab, namespace, typed, before) if action is not None else parser.options()
    words = list(dict.fromkeys(offered))
    exact = [word for word in words if word.startswith(typed)]
    return exact or [word for word in words if word.casefold().startswith(typed.casefold())]


def _positional(
    parser: argparse.ArgumentParser, before: list[str], options: Mapping[str, argparse.Action]
) -> argparse.Action | None:
    """The positional argument that the next word is for."""
    count, skip = 0, False
    for word in before:
        if skip:
            skip = False
        elif word in options:
            skip = options[word].nargs is None and not isinstance(options[word], argparse._CountAction)
        elif not word.startswith("-"):
            count += 1
    positionals = [action for action in parser._actions if not action.option_strings]
    for action in positionals:
        if action.nargs in ("*", "+"):
            return action
        if not count:
            return action
        count -= 1
    return None


def _offers(
    action: argparse.Action, lab: AnyLab | None, namespace: Mapping[str, Any], typed: str, before: Sequence[str] = ()
) -> Iterable[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    kind = getattr(action, "complete", "")
    if kind == "picture":
        kind = "run" if "compare" in before else "register"
    if kind == "pluggable":
        return plugging.pluggable(namespace)
    if kind == "driver":
        return [*recording.drivers(namespace), *plugging.library()]
    if kind == "lab":
        return [name for name, value in namespace.items() if type(value).__name__ in _LABS and name[0] != "_"]
    if kind == "host":
        from hdvlab.host.record import records

        return [record.name for record in records()]
    if kind == "vm":
        from hdvlab.commands.virtual_machine import ACTIONS

        return ACTIONS
    if kind == "sheet":
        held = [name for name, value in namespace.items() if type(value).__name__ == "Sheet" and name[0] != "_"]
        return [*checking.sheets(), *held, *(_paths(typed) if typed.startswith((".", "/", "~")) else [])]
    if kind == "submission":
        return [name for name, value in namespace.items() if plugging.is_device(value) and name[0] != "_"] + list(
            recording.drivers(namespace)
        )
    if kind == "variable":
        return [name for name, value in namespace.items() if name[0] != "_" and not isinstance(value, ModuleType)]
    if kind in ("kind", "stopkind"):
        return KIND_WORDS if kind == "kind" else STOPPING_WORDS
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "compiler":
        return [name for name in ("cc", "gcc", "clang", "tcc") if shutil.which(name)]
    if kind == "named":
        return list(lab.runs) if lab is not None else ()
    if kind == "slot":
        taken = {one.slot for one in lab} if lab is not None else set()
        return [str(slot) for slot in range(1, 32) if slot not in taken]
    if kind == "origin":
        return [origin.name for origin in Origin]
    if kind == "path":
        return _paths(typed)
    if kind == "run":
        held = [name for name, value in namespace.items() if type(value).__name__ in _HOLDS_ROWS and name[0] != "_"]
        return [*(lab.runs if lab is not None else ()), *held]
    return [] if lab is None else _from_lab(kind, lab, typed)


def _meanings(lab: AnyLab | None, before: list[str]) -> Iterable[str]:
    """What the field that was just typed calls its values."""
    try:
        place = location.find(lab, before[-1]) if lab is not None else None
    except HdvError:
        return ()
    return place.field.meanings.values() if place is not None and place.field is not None else ()


def _from_lab(kind: str, lab: AnyLab, typed: str) -> Iterable[str]:
    if kind == "device":
        return [one.name for one in lab]
    if kind == "traced":
        return [info.name for info in lab.trace.devices]
    if kind == "breakpoint":
        return [*(str(one.number) for one in lab.breakpoints), "all"]
    if kind == "condition":
        quote = typed[:1] if typed[:1] in ("'", '"') else ""
        names = [*ACCESS_NAMES, *(word for word in location.completions(lab) if "+" not in word)]
        return [f"{quote}{name}" for name in names]
    if kind == "override":
        return _values_of_stop(lab, typed)
    if kind == "stopping":
        return [*location.completions(lab, full=typed.partition(".")[0] in lab), *STOPPING_WORDS]
    if kind in ("location", "register", "setting"):
        places = list(location.completions(lab, full=typed.partition(".")[0] in lab))
        if kind == "location":
            return places
        if kind == "register":
            return [word for word in places if "+" not in word]
        return [word if "+" in word else f"{word}=" for word in places if "config" not in word]
    if kind == "mark":
        return [f'"{text}"' if " " in text else text for text in lab.trace.marks()["text"]]
    return []


def _values_of_stop(lab: AnyLab, typed: str) -> list[str]:
    """``EN=`` of the register that the oldest stop is about, and what a field calls its values: ``MODE=fast``."""
    stop = next(iter(lab.stops), None)
    if stop is None or not stop.register or stop.device not in lab:
        return []
    fields = lab[stop.device].maps[stop.bar][stop.register].fields
    name = typed.partition("=")[0]
    meanings = fields[name].meanings.values() if "=" in typed and name in fields else ()
    return [f"{name}={meaning}" for meaning in meanings] or [f"{name}=" for name in fields]


def _paths(typed: str) -> list[str]:
    folder, _, start = typed.rpartition("/")
    base = Path(f"{folder}/" if "/" in typed else ".").expanduser()
    try:
        entries = sorted(entry for entry in base.iterdir() if entry.name.startswith(start))
    except OSError:
        return []
    before = f"{folder}/" if "/" in typed else ""
    shown = [entry for entry in entries if start.startswith(".") or not entry.name.startswith(".")]
    return [f"{before}{entry.name}{'/' if entry.is_dir() else ''}" for entry in shown]
