"""One line of the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

NS, US, MS, S = 1.0, 1e3, 1e6, 1e9


@dataclass(frozen=True)
class Figure:
    """What was measured, and the target.

    Attributes
    ----------
    what : str
        The line's name.
    median, best : float
        Of several; nanoseconds, or a number where ``unit`` is none of time.
    target : float, optional
        The most it may be, or what it is compared with, in the same.
    unit : str
        What it is shown in.
    scale : float
        How much of ``median`` one such unit is.
    ratio : float, optional
        Where the target was measured too, by turns: the median of the turns' ratios.
    """

    what: str
    median: float
    best: float
    target: float | None
    unit: str
    scale: float
    ratio: float | None = None

    def __str__(self) -> str:
        target, ratio, held = " " * 11, " " * 6, ""
        if self.target is not None:
            over = self.median / self.target if self.ratio is None else self.ratio
            target, ratio = f"{self.target / self.scale:>8.6g} {self.unit:<2}", f"{over:6.2f}"
            held = "  held" if over <= 1 else "  over"
        value = f"{self.median / self.scale:>9.1f} {self.best / self.scale:>9.1f} {self.unit:<4}"
        return f"{self.what:<58} {value}{target} {ratio}{held}".rstrip()


def repeat(once: Callable[[], float], times: int) -> tuple[float, float]:
    """Median and best of several."""
    values = [once() for _ in range(times)]
    return statistics.median(values), min(values)
