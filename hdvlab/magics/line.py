"""The line behind ``%hdv``: its ``{expressions}`` and its words."""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Mapping
from typing import Any

from hdvlab.errors import UsageError


def expand(line: str, namespace: Mapping[str, Any]) -> str:
    """Replace ``{expression}`` and ``{expression:format}`` by their values; ``{{`` is a brace. ``$`` means nothing.

    Raises
    ------
    UsageError
        An expression fails; IPython's own expansion would leave the line as it is, in silence.
    """
    if "{" not in line and "}" not in line:
        return line
    try:
        pieces = list(string.Formatter().parse(line))
    except ValueError as error:
        raise UsageError(f"braces: {error}; write {{{{ for a brace itself") from None
    text = []
    for literal, expression, layout, conversion in pieces:
        text.append(literal)
        if expression is not None:
            text.append(_value(expression, layout or "", conversion, namespace))
    return "".join(text)


def _value(expression: str, layout: str, conversion: str | None, namespace: Mapping[str, Any]) -> str:
    try:
        value = eval(expression, dict(namespace))
        value = {"r": repr, "s": str, "a": ascii}[conversion](value) if conversion else value
        return format(value, layout)
    except Exception as error:
        raise UsageError(f"{{{expression}}}: {type(error).__name__}: {error}") from None


def split(line: str) -> list[str]:
    """The words of a line, quotes as in a shell. What follows ``mark`` is one text, whatever is in it.

    Raises
    ------
    UsageError
        A quote is not closed.
    """
    text = line.strip()
    if match := re.match(r"mark\s+(?!-)(.*)", text, re.DOTALL):
        return ["mark", match[1].strip("\"'") if match[1][:1] in "\"'" else match[1]]
    try:
        return shlex.split(text)
    except ValueError:
        raise UsageError("a quote is not closed") from None


def is_silenced(line: str) -> tuple[str, bool]:
    """The line without a ``;`` at its end, and whether there was one: then nothing is shown."""
    stripped = line.rstrip()
    return (stripped[:-1], True) if stripped.endswith(";") else (line, False)
