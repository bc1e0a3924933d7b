"""Which rows touched some bytes: of a register, of config space, of guest memory."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from hdvlab.analysis.selection import ACCESS_KINDS, Array, of_kinds
from hdvlab.trace.schema import Kind
from hdvlab.trace.view import View

_CONFIG = (Kind.config_read, Kind.config_write)
_MEMORY = (Kind.dma_read, Kind.dma_write, Kind.aperture_map, Kind.aperture_unmap)


def rows_of_register(view: View, devices: Collection[int], bar: int, first: int, last: int) -> Array:
    """Numbers of the rows that touched bytes ``first`` to ``last`` (inclusive) of a BAR.

    Parameters
    ----------
    view : View
        Rows as :meth:`hdvlab.trace.trace.Trace.view` gives them.
    devices : collection of int
        Numbers of the ``device`` column; one device has several where it was plugged in again.
    bar : int
        BAR 0 to 5.
    first, last : int
        Bytes from the BAR's start.
    """
    at = _touching(view, ACCESS_KINDS, first, last)
    at = at[view.columns["bar"][at] == bar]
    return _numbers(view, at[_is_one_of(view.columns["device"][at], devices)])


def rows_of_config(view: View, devices: Collection[int], first: int, last: int) -> Array:
    """Numbers of the rows that touched bytes ``first`` to ``last`` (inclusive) of config space."""
    at = _touching(view, _CONFIG, first, last)
    return _numbers(view, at[_is_one_of(view.columns["device"][at], devices)])


def rows_of_memory(view: View, first: int, last: int) -> Array:
    """Numbers of the DMA and aperture rows that touched bytes ``first`` to ``last`` (inclusive) of guest memory."""
    return _numbers(view, _touching(view, _MEMORY, first, last))


def _is_one_of(column: Array, numbers: Collection[int]) -> Array:
    found: Array = np.isin(column, np.fromiter(numbers, dtype=column.dtype))
    return found


def _touching(view: View, kinds: Collection[Kind], first: int, last: int) -> Array:
    """Positions of the rows of some kinds that touched bytes."""
    size = view.columns["size"]
    longest = max(1, int(size.max(initial=1)))
    address = view.columns["address"]
    # Two comparisons leave few rows to be looked at closely, of ten million, too.
    near = (address <= np.uint64(last)) & (address >= np.uint64(max(0, first - longest + 1)))
    near &= of_kinds(view.columns["kind"], kinds)
    at: Array = np.flatnonzero(near)
    begins = address[at]
    lengths = np.maximum(size[at], 1).astype(np.uint64)
    # Without address + size, which wraps at the end of memory.
    before = np.uint64(first) - np.minimum(begins, np.uint64(first))
    return at[before < lengths]


def _numbers(view: View, at: Array) -> Array:
    return at.astype(np.int64) + view.rows.start if isinstance(view.rows, range) else view.rows[at]
