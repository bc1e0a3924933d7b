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
    at = np.flatnonzero(of_kinds(view.columns["kind"], ACCESS_KINDS))
    at = at[_is_one_of(view.columns["device"][at], devices)]
    at = at[view.columns["bar"][at] == bar]
    return _touching(view, at, first, last)


def rows_of_config(view: View, devices: Collection[int], first: int, last: int) -> Array:
    """Numbers of the rows that touched bytes ``first`` to ``last`` (inclusive) of config space."""
    at = np.flatnonzero(of_kinds(view.columns["kind"], _CONFIG))
    return _touching(view, at[_is_one_of(view.columns["device"][at], devices)], first, last)


def rows_of_memory(view: View, first: int, last: int) -> Array:
    """Numbers of the DMA and aperture rows that touched bytes ``first`` to ``last`` (inclusive) of guest memory."""
    return _touching(view, np.flatnonzero(of_kinds(view.columns["kind"], _MEMORY)), first, last)


def _is_one_of(column: Array, numbers: Collection[int]) -> Array:
    found: Array = np.isin(column, np.fromiter(numbers, dtype=column.dtype))
    return found


def _touching(view: View, at: Array, first: int, last: int) -> Array:
    address = view.columns["address"][at]
    size = np.maximum(view.columns["size"][at], 1).astype(np.uint64)
    # Without address + size, which wraps at the end of memory.
    before = (address <= np.uint64(last)) & (address >= np.uint64(first))
    reaches = (address < np.uint64(first)) & (np.uint64(first) - np.minimum(address, np.uint64(first)) < size)
    rows = at[before | reaches]
    return rows.astype(np.int64) + view.rows.start if isinstance(view.rows, range) else view.rows[rows]
