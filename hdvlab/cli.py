"""``hdvlab`` on the command line: the verbs that make sense without a kernel, each a door to one function."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from json import dumps
from typing import Any, TextIO

from hdvlab import commands
from hdvlab.commands.parser import HelpWanted, Parser, help_text, verb_parser
from hdvlab.errors import HdvError, UsageError

#: Verbs that read their own arguments.
_PROGRAMS = ("bench", "tour")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0, or 1 where the command says that something is wrong, or 2 where it was typed wrongly or failed; then two
        lines on stderr say why.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _show_warning
    try:
        result = _run(words)
        sys.stdout.flush()  # here a reader that went away is expected, at the interpreter's end it is a complaint
        return result
    except HelpWanted as wanted:
        print(wanted.text.rstrip())
        return 0
    except HdvError as error:
        return _failed(words, error)
    except ImportError as error:
        print(f"hdvlab: {error}\nhdvlab: hdvlab doctor says what is missing", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hdvlab: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        raise HelpWanted(help_text("shell"))
    name, *rest = words
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"hdvlab {version('hdvlab')}")
        return 0
    parser = verb_parser(name, "shell")
    if name in _PROGRAMS:
        return _program(name, rest)
    if name == "plot":
        _check_order(rest, parser)
    options = vars(parser.parse_words(rest))
    if name == "doctor":
        return _program(name, [])
    return _COMMANDS[name](**options)


def _check_order(words: list[str], parser: Parser) -> None:
    """The file before the picture is the mistake that is made most."""
    pictures = next(action.choices for action in parser._actions if action.dest == "kind") or ()
    if len(words) > 1 and words[0] not in pictures and words[1] in pictures:
        raise UsageError(f"the picture comes first: hdvlab plot {words[1]} {words[0]}")


def _program(name: str, arguments: list[str]) -> int:
    # Found when it is wanted: these import much, or stand beside this module in the layers.
    main: Callable[[list[str]], int | None] = importlib.import_module(f"hdvlab.{name}").main
    return main(arguments) or 0


def _trace(file: str, csv: bool, **options: Any) -> int:
    frame = commands.trace(commands.open_file(file), **options)
    if csv:
        frame.to_csv(sys.stdout)
    else:
        print(frame)
    return 0


def _plot(file: str, output: str, **options: Any) -> int:
    commands.plot(commands.open_file(file), output=output, **options)
    print(output)
    return 0


def _theme(name: str | None) -> int:
    print(commands.theme(name))
    return 0


def _about() -> int:
    print(commands.about())
    return 0


def _convert(file: str, path: str) -> int:
    print(repr(commands.save(commands.open_file(file), path)))
    return 0


def _config(**options: bool) -> int:
    print(commands.config(**options))
    return 0


def _vm(action: str, mirror: str | None, cache: str | None) -> int:
    if action == "setup":
        print(commands.vm_setup(mirror=mirror, cache=cache))
        return 0
    if mirror is not None:
        raise UsageError("--mirror is for setup: hdvlab vm setup --mirror URL")
    print(commands.vm_parts(cache=cache))
    return 0


def _host(**options: Any) -> int:
    result = commands.host(**options)
    print(repr(result))
    if not options["stop"]:
        result.close()  # type: ignore[union-attr]  # a lab then
    return 0


def _hosts() -> int:
    print(repr(commands.hosts()))
    return 0


def _check(sheet: str, folder: str, details: bool, csv: bool, json: bool, **options: Any) -> int:
    from hdvlab.commands.progress import late_bar

    with late_bar(f"checking {folder}") as bar:

        def told(one: Any) -> None:
            bar.wipe()
            print(f"{one.name}: {one.report.points:g} of {one.report.worth:g}", file=sys.stderr)

        table = commands.check_folder(sheet, folder, progress=told, **options)
    if json:
        print(dumps(table.to_dict(), indent=1))
    elif csv:
        table.frame().to_csv(sys.stdout)
    elif details:
        print("\n\n".join(repr(one.report) for one in table.graded))
    else:
        print(table)
    if table.weakness and (json or csv or details):
        print(f"hdvlab: warning: {table.weakness}", file=sys.stderr)
    return 0


_COMMANDS: dict[str, Callable[..., int]] = {
    "about": _about,
    "check": _check,
    "trace": _trace,
    "plot": _plot,
    "theme": _theme,
    "convert": _convert,
    "config": _config,
    "vm": _vm,
    "host": _host,
    "hosts": _hosts,
}


def _failed(words: list[str], error: HdvError) -> int:
    print(f"hdvlab: {str(error).split('; hdvlab ')[0]}", file=sys.stderr)
    known = words[:1] if words and not words[0].startswith("-") else []
    try:
        verb_parser(known[0], "shell") if known else None
    except HdvError:
        known = []
    print(f"hdvlab: {' '.join(['hdvlab', *known])} --help says what can be typed", file=sys.stderr)
    return 2


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"hdvlab: warning: {message}", file=sys.stderr)
