"""Time along the x axis in the unit that reads best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hdvlab.plots.canvas import FONT_SIZE
from hdvlab.plots.theme import Theme

Array = np.ndarray[Any, Any]

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


def duration(ns: float) -> str:
    """A length of time for people, three digits: ``"1.23 µs"``."""
    for factor, unit in _UNITS:
        if ns >= factor * 0.9995 or unit == "ns":
            return f"{float(f'{ns / factor:.3g}'):g} {unit}"
    raise AssertionError("the last unit fits everything")


@dataclass(frozen=True)
class TimeAxis:
    """A stretch of a trace's time, and how it is written.

    ``first_ns`` and ``last_ns`` are its ends, ``unit_ns`` the nanoseconds of a ``unit``, ``origin_ns`` the time that
    is written as 0: the trace's own beginning, unless the stretch is so short and so late that the digits which differ
    would drown in those which do not.
    """

    first_ns: int
    last_ns: int
    unit_ns: int
    unit: str
    origin_ns: int

    @classmethod
    def spanning(cls, first_ns: int, last_ns: int) -> TimeAxis:
        """The axis for a stretch of time."""
        span = max(last_ns - first_ns, 1)
        unit_ns, unit = next(((f, u) for f, u in _UNITS if span >= 2 * f), _UNITS[-1])
        origin = 0 if abs(first_ns) < 20 * span else first_ns - first_ns % unit_ns
        return cls(first_ns, last_ns, unit_ns, unit, origin)

    def place(self, t_ns: Array) -> Array:
        """Times as numbers of this axis. Integers are subtracted first, so late and short stretches stay exact."""
        placed: Array = (np.asarray(t_ns, dtype=np.int64) - self.origin_ns) / self.unit_ns
        return placed

    @property
    def label(self) -> str:
        """What the axis shows, with its unit."""
        if not self.origin_ns:
            return f"time since the trace began ({self.unit})"
        whole, rest = divmod(abs(self.origin_ns), 1_000_000_000)
        digits = f"{rest:09d}".rstrip("0")
        sign = "-" if self.origin_ns < 0 else ""
        return f"time after {sign}{whole}{'.' if digits else ''}{digits} s ({self.unit})"

    def dress(self, ax: Axes, theme: Theme) -> None:
        """Set limits, ticks and label of an x axis."""
        first, last = self.place(np.array([self.first_ns, self.last_ns]))
        margin = (last - first) * 0.015 or 0.5
        ax.set_xlim(first - margin, last + margin)
        ax.set_xlabel(self.label, color=theme.text, fontsize=FONT_SIZE + 0.5)
        ax.ticklabel_format(axis="x", style="plain", useOffset=False)
        ax.tick_params(axis="x", bottom=True, length=3)
        ax.grid(axis="x", color=theme.grid, linewidth=0.5)

    def points_per_unit(self, width: float) -> float:
        """Points on the page per unit of the axis, for axes that are ``width`` points across."""
        first, last = self.place(np.array([self.first_ns, self.last_ns]))
        return width / max(float(last - first) * 1.03, 1e-12)
