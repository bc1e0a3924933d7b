"""The rows that a trace shows at one moment: their columns, and the row numbers they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class View:
    """Columns of one length, and the number of each of their rows: a range, or an array where some are left out."""

    columns: Mapping[str, Array]
    rows: range | Array

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def numbers(self) -> Array:
        """The number of each row, as an array."""
        # Not asarray: it asks a range for each number.
        return np.arange(self.rows.start, self.rows.stop) if isinstance(self.rows, range) else self.rows

    def cut(self, start: int, stop: int) -> View:
        """The rows at positions ``start`` up to ``stop``, sharing memory."""
        return View({name: column[start:stop] for name, column in self.columns.items()}, self.rows[start:stop])

    def taken(self, chosen: Array) -> View:
        """The rows at the positions ``chosen`` (numbers, or a boolean for each row), copied."""
        at = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        rows = at + self.rows.start if isinstance(self.rows, range) else self.rows[at]
        return View({name: column[chosen] for name, column in self.columns.items()}, rows)

    def of_kind(self, kind: Kind) -> View:
        """The rows of one kind, copied."""
        return self.taken(np.flatnonzero(self.columns["kind"] == kind))

    def positions(self, rows: Array) -> Array:
        """Where rows stand; -1 for a number that is not here."""
        if isinstance(self.rows, range):
            inside = (rows >= self.rows.start) & (rows < self.rows.stop)
            return np.where(inside, rows - self.rows.start, -1)
        if not len(self.rows):
            return np.full(len(rows), -1)
        places = np.searchsorted(self.rows, rows)
        found = self.rows[np.minimum(places, len(self.rows) - 1)] == rows
        return np.where(found, places, -1)

    def position(self, row: int) -> int:
        """Where the row with number ``row`` stands.

        Raises
        ------
        UsageError
            It is not one of these rows.
        """
        place = int(self.positions(np.array([row]))[0])
        if place < 0:
            held = f"it has rows {self.rows[0]} to {self.rows[-1]}" if len(self) else "it has no rows"
            raise UsageError(f"row {row} is not in this trace; {held}")
        return place
