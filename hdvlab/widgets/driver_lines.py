"""The driver's line that made an access, with its neighbours, where this process has them."""

from __future__ import annotations

import linecache
import re
import sys
from pathlib import Path
from typing import Any

#: Lines that are shown before and behind its own.
AROUND = 3


def name_of(file: str) -> str:
    """What people call a file: ``Cell In[5]``, ``driver.py``."""
    numbers = _cells()
    return f"Cell In[{numbers[file]}]" if file in numbers else Path(file).name or file


def lines_around(file: str, line: int, text: str) -> list[tuple[int, str]]:
    """Numbers and texts of the lines around one; only itself where its file is not known here, or is another one now.

    Parameters
    ----------
    file : str
        A path, or what a device host calls a cell: ``Cell In[5]``.
    line : int
        Its number, from 1.
    text : str
        What it said when it ran: a file that was edited since, or the same cell number of another kernel, has another.
    """
    if not file or line < 1:
        return []
    for place in _places(file):
        linecache.checkcache(place)
        known = linecache.getlines(place)
        if len(known) >= line and known[line - 1].strip() == text.strip():
            first = max(1, line - AROUND)
            chosen = [one.rstrip() for one in known[first - 1 : line + AROUND]]
            while not chosen[-1]:
                chosen.pop()
            margin = min((len(one) - len(one.lstrip()) for one in chosen if one), default=0)
            return [(first + n, one[margin:]) for n, one in enumerate(chosen)]
    return [(line, text)] if text else []


def _places(file: str) -> list[str]:
    """Where :mod:`linecache` may have it: a cell goes by a file name of the kernel's own."""
    if match := re.fullmatch(r"Cell In\[(\d+)\]", file):
        number = int(match[1])
        return [place for place, known in _cells().items() if known == number]
    return [file]


def _cells() -> dict[str, int]:
    """The numbers of the cells that ran in this kernel, by their file names."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return dict(getattr(getattr(shell, "compile", None), "_filename_map", {}))
