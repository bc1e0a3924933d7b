"""Cells of a page that needs what is not here: each says that it is skipped, and the page goes on to its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: Cells that may change how things stand.
_RUNS = re.compile(r"^\s*%(hdv\s+boot\b|unload_ext\b|reload_ext\b|load_ext\b)", re.MULTILINE)


class _Skip:
    """An input transformer that puts a print in the place of a cell."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __call__(self, lines: list[str]) -> list[str]:
        if _RUNS.search("".join(lines)) or not any(line.strip() for line in lines):
            return lines
        return [f"print('skipped: {self._what} here')\n"]


def skip_cells(shell: InteractiveShell, what: str) -> None:
    """From the next cell on, skip; ``what`` is missing."""
    stop_skipping(shell)
    shell.input_transformers_cleanup.append(_Skip(what))


def stop_skipping(shell: InteractiveShell) -> None:
    """Cells run again."""
    transformers = shell.input_transformers_cleanup
    transformers[:] = [one for one in transformers if not isinstance(one, _Skip)]
