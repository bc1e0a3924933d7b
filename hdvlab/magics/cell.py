"""The body of a ``%%hdv`` cell: compiled so that tracebacks and the trace know its lines, run in the person's names."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_MISSING = object()


class Cell:
    """A cell's body.

    Parameters
    ----------
    shell : InteractiveShell
        Whose names it runs in.
    body : str
        What stands below the ``%%hdv`` line.
    name : str
        What the code is called where functions are named: in the trace's ``source`` column, and in an error's heading.

    Raises
    ------
    SyntaxError
        It is no Python.
    """

    def __init__(self, shell: InteractiveShell, body: str, name: str) -> None:
        self._shell = shell
        # Lines have the numbers that the notebook shows: below the magic's own, and IPython cuts blank ones at the top.
        above = 1 + sum(1 for _ in itertools.takewhile(lambda line: not line.strip(), body.splitlines()))
        source = f"# %%hdv {name}" + "\n" * above + shell.transform_cell(body)
        self.file: str = shell.compile.cache(source, shell.execution_count, raw_code=f"%%hdv {name}\n{body}")
        tree = ast.parse(source, self.file)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self._statements = self._compiled(tree, name)
        self._last = None if last is None else self._compiled(ast.Expression(last.value), name)
        self.is_silent = body.rstrip().endswith(";")

    def _compiled(self, tree: ast.Module | ast.Expression, name: str) -> CodeType:
        mode = "exec" if isinstance(tree, ast.Module) else "eval"
        code: CodeType = compile(tree, self.file, mode, dont_inherit=True)
        # The plain name stays <module>: by it inspect, and so the excerpt in a kernel, knows that all lines are meant.
        return code.replace(co_qualname=name)

    def run(self) -> Any:
        """Execute it; the value of its last line if that is an expression."""
        exec(self._statements, self._shell.user_ns)
        return None if self._last is None else eval(self._last, self._shell.user_ns)


@contextmanager
def bound(namespace: dict[str, Any], names: Mapping[str, Any]) -> Iterator[None]:
    """Inside, ``names`` are in the namespace; afterwards what was there before is back, unless it was assigned to."""
    before = {name: namespace.get(name, _MISSING) for name in names}
    namespace.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if namespace.get(name, _MISSING) is not names[name]:
                continue
            if value is _MISSING:
                del namespace[name]
            else:
                namespace[name] = value
