"""Rows that are chosen, as pictures need them: a range of row numbers, or an array of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdvlab.widgets.bins import Bins

Array = np.ndarray[Any, Any]
Rows = range | Array


def chosen_among(rows: Array, chosen: Rows | None) -> Array:
    """Which of ``rows`` are chosen, as booleans."""
    if chosen is None or not len(chosen):
        return np.zeros(len(rows), dtype=bool)
    if isinstance(chosen, range) and chosen.step == 1:
        return (rows >= chosen.start) & (rows < chosen.stop)
    return np.isin(rows, np.asarray(chosen))


def chosen_per_bin(bins: Bins, chosen: Rows, first: int, width: int, count: int, by_row: bool) -> Array:
    """How many chosen rows begin in each of ``count`` stretches of ``width``."""
    view = bins.view
    if isinstance(chosen, range) and chosen.step == 1 and isinstance(view.rows, range):
        start, stop = (max(end - view.rows.start, 0) for end in (chosen.start, chosen.stop))
        per_bin: Array = bins.count(first, width, count, by_row=by_row, start=start, stop=stop).sum(axis=0)
        return per_bin
    positions = view.positions(np.asarray(chosen, dtype=np.int64))
    place = (bins.x_of(positions[positions >= 0], by_row=by_row) - first) // width
    return np.bincount(place[(place >= 0) & (place < count)], minlength=count)
