"""The line behind ``%hdv``: its ``{expressions}`` and its words."""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Callable, Mapping
from typing import Any

from hdvlab.errors import UsageError

# Stands for the value of an expression while the line is split into words: private use, so nobody types them.
_FIRST_STAND_IN = 0xE000

_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


# What follows is one text, whatever is in it.
_MARK = re.compile(r"\s*mark\s+(?!-)(.*)", re.DOTALL)
# A tracepoint's message has braces of its own.
_LOG = re.compile(r"\s*log\s")
# Options of sh, then what the guest's shell reads: its quotes, its #, its ; are its own.
_SHELL = re.compile(r"\s*sh(\s+(?:(?:-o|--out|--timeout)(?:\s+|=)[^\s-]\S*\s+)*)(?:--\s+(.+)|([^\s-].*))", re.DOTALL)

# Braces that mean something to a shell, and nothing here.
_OF_SHELL = re.compile(r"\$\{([^{}]*)\}|\{\}")


def without_comment(line: str) -> str:
    """The line up to a word that begins with ``#``; one inside a word, quotes, braces or a mark's text stays."""
    quote, depth = "", 0
    for place, character in enumerate("" if _MARK.match(line) or _SHELL.match(line) else line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "{}":
            depth += 1 if character == "{" else -1
        elif character == "#" and not depth and (not place or line[place - 1].isspace()):
            return line[:place]
    return line


def split(line: str, namespace: Mapping[str, Any]) -> list[str]:
    """The words of a line, quotes as in a shell. What follows ``mark`` is one text, whatever is in it; so is what
    follows ``sh`` and its options, where ``${...}`` and ``{}`` are the shell's.

    ``{expression}`` and ``{expression:format}`` are replaced by their values, which stay in one word whatever is in
    them; ``{{`` is a brace; ``$`` means nothing. The braces of ``log`` are its message's.

    Raises
    ------
    UsageError
        A quote is not closed, or an expression fails. IPython's own expansion would leave the line as it is, silently.
    """
    if _SHELL.match(line):
        line = _OF_SHELL.sub(lambda match: f"{{{match[0]}}}" if match[0] == "{}" else f"${{{{{match[1]}}}}}", line)
    text, values = _expanded(line.strip(), namespace) if not _LOG.match(line) else (line.strip(), {})
    if match := _SHELL.match(text):
        words = ["sh", *shlex.split(match[1]), match[2] or match[3]]
    elif match := _MARK.match(text):
        words = ["mark", match[1][1:-1] if re.fullmatch(r"(['\"]).*\1", match[1]) else match[1]]
    else:
        try:
            words = shlex.split(text)
        except ValueError:
            raise UsageError("a quote is not closed") from None
    return [word.translate(values) for word in words]


def _expanded(line: str, namespace: Mapping[str, Any]) -> tuple[str, dict[int, str]]:
    """The line with a character in place of each expression, and what each of these stands for."""
    values: dict[int, str] = {}
    if "{" not in line and "}" not in line:
        return line, values
    try:
        pieces = list(string.Formatter().parse(line))
    except ValueError as error:
        raise UsageError(f"braces: {error}; write {{{{ for a brace itself") from None
    text = []
    for literal, expression, layout, conversion in pieces:
        text.append(literal)
        if expression is not None:
            stand_in = _FIRST_STAND_IN + len(values)
            values[stand_in] = _value(expression, layout or "", conversion, namespace)
            text.append(chr(stand_in))
    return "".join(text), values


def _value(expression: str, layout: str, conversion: str | None, namespace: Mapping[str, Any]) -> str:
    try:
        value = eval(expression, dict(namespace))
        value = _CONVERSIONS[conversion](value) if conversion else value
        return format(value, layout)
    except Exception as error:
        raise UsageError(f"{{{expression}}}: {type(error).__name__}: {error}") from None


def is_silenced(line: str) -> tuple[str, bool]:
    """The line without a ``;`` at its end, and whether there was one: then nothing is shown."""
    stripped = line.rstrip()
    is_shells = stripped.endswith(("\\;", ";;")) and _SHELL.match(line) is not None  # of find, of case
    return (stripped[:-1], True) if stripped.endswith(";") and not is_shells else (line, False)
