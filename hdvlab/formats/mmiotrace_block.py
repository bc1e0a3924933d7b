"""Many lines of a Linux mmiotrace log at once: the reads and writes, as the kernel itself writes them.

These are nearly all lines of a log. What this cannot read it leaves to :mod:`hdvlab.formats.mmiotrace_line`, which
says the same of every line that both can read and knows what is wrong with the others.

Ref: Linux ``kernel/trace/trace_mmiotrace.c``: ``"R %d %u.%06lu %d 0x%llx 0x%lx 0x%lx %d\\n"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hdvlab.trace.schema import Kind

Array = np.ndarray[Any, Any]

_NEWLINE, _RETURN, _SPACE, _POINT, _ZERO, _X, _R, _W = b"\n\r .0xRW"
_BAD: Final = 0xFF
_DIGITS: Final = np.full(256, _BAD, dtype=np.uint8)
_DIGITS[list(b"0123456789")] = range(10)
_DIGITS[list(b"abcdef")] = range(10, 16)
_DIGITS[list(b"ABCDEF")] = range(10, 16)
_IS_WIDTH: Final = np.isin(np.arange(256), list(b"1248"))


@dataclass(frozen=True)
class Accesses:
    """The reads and writes of a block, one entry per access; ``line`` counts the block's lines from 0."""

    line: Array
    time_ns: Array
    kind: Array
    size: Array
    physical: Array
    value: Array
    pc: Array


def scan(data: bytes) -> tuple[Accesses, Array, Array]:
    """Read the accesses of a block.

    Parameters
    ----------
    data : bytes
        Whole lines, each with its newline.

    Returns
    -------
    accesses : Accesses
    edges : int64 array
        Line ``i`` is ``data[edges[i]:edges[i + 1]]``.
    others : int64 array
        The lines, counted from 0, that are not in ``accesses``.
    """
    text = np.frombuffer(data, dtype=np.uint8)
    edges = np.concatenate([[0], np.flatnonzero(text == _NEWLINE) + 1])
    spaces = np.flatnonzero(text == _SPACE)
    starts, ends = edges[:-1], edges[1:] - 1
    ends = ends - (text[ends - 1] == _RETURN)
    first_space = np.searchsorted(spaces, starts)
    chosen = (text[starts] == _R) | (text[starts] == _W)
    chosen &= np.searchsorted(spaces, ends) - first_space == 7
    line = np.flatnonzero(chosen)
    # Column i of bounds is the space behind field i, the last one the end of the line.
    bounds = np.empty((8, len(line)), dtype=np.int64)
    bounds[:7] = spaces[first_space[line] + np.arange(7)[:, None]]
    bounds[7] = ends[line]

    width = text[bounds[0] + 1]
    good = (bounds[0] == starts[line] + 1) & (bounds[1] == bounds[0] + 2) & _IS_WIDTH[width]
    point = bounds[2] - 7
    good &= text[point] == _POINT
    seconds = _number(text, bounds[1] + 1, point, 10, 10, good)
    micros = _number(text, point + 1, bounds[2], 10, 6, good)
    good &= seconds <= 0xFFFFFFFF
    _number(text, bounds[2] + 1, bounds[3], 10, 10, good)
    physical, value, pc = (_hexadecimal(text, bounds[field] + 1, bounds[field + 1], good) for field in (3, 4, 5))
    _number(text, bounds[6] + 1, bounds[7], 10, 10, good)

    kind = np.where(text[starts[line]] == _R, Kind.mmio_read, Kind.mmio_write).astype(np.uint8)
    time_ns = (seconds * np.uint64(1_000_000) + micros) * np.uint64(1_000)
    columns = (line, time_ns.astype(np.int64), kind, width.astype(np.uint32) - _ZERO, physical, value, pc)
    chosen[line] = good
    return Accesses(*(column[good] for column in columns)), edges, np.flatnonzero(~chosen)


def _hexadecimal(text: Array, first: Array, end: Array, good: Array) -> Array:
    good &= (text[first] == _ZERO) & (text[np.minimum(first + 1, len(text) - 1)] == _X)
    return _number(text, first + 2, end, 16, 16, good)


def _number(text: Array, first: Array, end: Array, base: int, most: int, good: Array) -> Array:
    """Numbers of 1 to ``most`` digits at ``text[first:end]``; clears ``good`` where there is none."""
    length = end - first
    good &= (length >= 1) & (length <= most)
    number = np.zeros(len(first), dtype=np.uint64)
    for place in range(min(int(length.max(initial=0)), most)):
        at = first + place
        inside = at < end
        digit = _DIGITS[text[np.minimum(at, len(text) - 1)]]
        good &= ~inside | (digit < base)
        number = np.where(inside, number * np.uint64(base) + digit, number)
    return number
