"""Where a class or function of a notebook was defined: its cell, its lines, and the names it sees."""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from hdvlab.errors import UsageError

_FUTURE = 0
for _feature in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _feature).compiler_flag


@dataclass(frozen=True)
class Definition:
    """A definition as it stands in its cell.

    ``source`` is its own lines, not indented, ``line`` the first of them in ``file``, whose whole text is ``text``;
    ``names`` are the globals it sees; ``flags`` the compiler's.
    """

    name: str
    source: str
    file: str
    line: int
    text: str
    names: Mapping[str, Any]
    flags: int


def find_definition(what: type | FunctionType) -> Definition:
    """The definition of a class or function of ``__main__``.

    Raises
    ------
    UsageError
        It has no source, or stands inside a function.
    """
    name = what.__qualname__
    if "<locals>" in name:
        raise UsageError(
            f"{what.__name__} is defined inside a function, so it cannot go to a device host; define it at the top of "
            "a cell, or in a module"
        )
    names = what.__globals__ if isinstance(what, FunctionType) else vars(sys.modules[what.__module__])
    for file, line, flags in _places(what, names):
        text = "".join(linecache.getlines(file))
        node = _node(text, what, line) if text else None
        if node is not None:
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            lines = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
            source = textwrap.dedent("".join(lines))
            return Definition(_name_of(node), source, shown_name(file), first, text, names, flags)
    raise UsageError(
        f"the source of {what.__name__} is not found, so it cannot go to a device host; run the cell that defines it "
        "again, or put it into a module"
    )


def _places(what: Any, names: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Files, lines and compiler flags where the definition may stand, the most likely first; line 0 = anywhere."""
    for code in _codes(what):
        yield code.co_filename, code.co_firstlineno, code.co_flags & _FUTURE
    # A class without methods: the newest cell that defines it.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    compiler = getattr(shell, "compile", None)
    numbers: dict[str, int] = getattr(compiler, "_filename_map", {})
    for file in sorted(numbers, key=lambda one: -numbers[one]):
        yield file, 0, getattr(compiler, "flags", 0) & _FUTURE
    script = names.get("__file__")
    if isinstance(script, str):
        yield script, 0, 0


def _codes(what: Any) -> Iterator[CodeType]:
    """Code that stands inside the definition."""
    if isinstance(what, FunctionType):
        yield inspect.unwrap(what).__code__
        return
    for value in vars(what).values():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(function, FunctionType) and function.__qualname__.startswith(f"{what.__qualname__}."):
            yield inspect.unwrap(function).__code__
        elif isinstance(value, type) and value.__qualname__.startswith(f"{what.__qualname__}."):
            yield from _codes(value)


def _node(text: str, what: Any, line: int) -> ast.stmt | None:
    """The statement of a cell that defines something, outside of functions; of several the last that fits."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    found = None
    for node in _statements(tree):
        spans = node.lineno <= line <= (node.end_lineno or line)
        decorated = [one.lineno for one in getattr(node, "decorator_list", [])]
        spans = spans or any(one <= line <= node.lineno for one in decorated)
        if isinstance(what, type):
            fits = isinstance(node, ast.ClassDef) and node.name == what.__name__
        elif what.__name__ == "<lambda>":
            fits = isinstance(node, ast.Assign | ast.AnnAssign)
        else:
            fits = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == what.__name__
        if fits and (spans or not line):
            found = node
    return found


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Statements that run when the cell does: also inside ``if``, ``try``, ``with`` and ``for``, not in functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _statements(child)


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if not isinstance(target, ast.Name):
        raise UsageError("a lambda that a device host is to have is assigned to a plain name: f = lambda x: x + 1")
    return target.id


def shown_name(file: str) -> str:
    """What people call a cell's file: ``Cell In[5]``."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    compiler = getattr(shell, "compile", None)
    numbers: dict[str, int] = getattr(compiler, "_filename_map", {})
    if file in numbers:
        return f"Cell In[{numbers[file]}]"
    match = re.match(r"<ipython-input-(\d+)-", file)
    return f"Cell In[{match[1]}]" if match else file
