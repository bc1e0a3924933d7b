"""Named moments and missing rows: lines and bands across the lanes of a timeline."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from hdvlab.plots.canvas import FONT_SIZE, height_points, width_points
from hdvlab.plots.theme import Theme
from hdvlab.plots.time_axis import Array, TimeAxis

_CHARACTER = 0.56 * (FONT_SIZE - 0.5)  # points, on average, of a proportional font
_LONGEST = 28  # characters of a label
_MAX_LINES = 500
_THINNEST = 5.0  # points across a hatched band
_LEVEL = 12.0  # points that a line of names is high


def draw_moments(ax: Axes, theme: Theme, axis: TimeAxis, moments: pd.DataFrame, lanes: int) -> list[str]:
    """Draw marks as lines across all lanes with their text above, lifecycle steps as ticks in their lane.

    Names that would run into one another are left out. Returns sentences about what is not shown.
    """
    hidden = undrawn = 0
    for lane in np.unique(moments["lane"].to_numpy()).tolist():
        some = moments[moments["lane"] == lane]
        undrawn += max(len(some) - _MAX_LINES, 0)
        some = some.iloc[:_MAX_LINES].sort_values("t_ns", kind="stable")
        x, labels = axis.place(some["t_ns"].to_numpy()), [_short(label) for label in some["label"]]
        across = lane < 0
        levels = _levels(ax, axis, x, labels, 3 if across else 1)
        step, top = 0.0, lane - 0.35
        if across:
            count = max(levels, default=0) + 1
            step = _LEVEL * max(lanes, 1) / max(height_points(ax) - _LEVEL * count, _LEVEL)  # in lanes
            top = -0.5 - step * count
            ax.set_ylim(max(lanes, 1) - 0.5, top)
            ax.vlines(
                x, top, max(lanes, 1) - 0.5, colors=theme.muted, linewidths=0.8, linestyles=":", zorder=1, gid="marks"
            )
        else:
            ax.vlines(x, top, lane + 0.35, colors=theme.other.line, linewidths=1.2, zorder=3, gid="steps")
        for place, label, level in zip(x, labels, levels, strict=True):
            if level >= 0:
                _write(ax, theme, axis, place, label, top + step * (level + 0.5) if across else float(lane))
        hidden += levels.count(-1)
    sentences = []
    if undrawn:
        sentences.append(f"{undrawn:,} marks and lifecycle steps are not drawn.")
    if hidden:
        names = "1 name of a mark or lifecycle step does" if hidden == 1 else f"{hidden:,} names of marks or steps do"
        sentences.append(f"{names} not fit; choose a shorter stretch to read on.")
    return sentences


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def _leftward(ax: Axes, axis: TimeAxis, x: float, label: str) -> bool:
    """Whether a name must stand left of its line so as not to leave the axes."""
    width = (len(label) * _CHARACTER + 6) / axis.points_per_unit(width_points(ax))
    return bool(x + width > ax.get_xlim()[1])


def _levels(ax: Axes, axis: TimeAxis, x: Array, labels: list[str], most: int) -> list[int]:
    """For each name the level, from the top, at which it runs into no other; -1 where there is none."""
    points = axis.points_per_unit(width_points(ax))
    free_from = [-np.inf] * most
    levels = []
    for place, label in zip(x, labels, strict=True):
        width = (len(label) * _CHARACTER + 6) / points
        begin, end = (place - width, place) if _leftward(ax, axis, place, label) else (place, place + width)
        level = next((number for number, free in enumerate(free_from) if begin >= free), -1)
        levels.append(level)
        if level >= 0:
            free_from[level] = end
    return levels


def _write(ax: Axes, theme: Theme, axis: TimeAxis, x: float, label: str, y: float) -> None:
    left = _leftward(ax, axis, x, label)
    ax.annotate(
        label,
        xy=(x, y),
        xytext=(-3 if left else 3, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        color=theme.text,
        fontsize=FONT_SIZE - 0.5,
        zorder=6,
    )


def draw_bands(ax: Axes, theme: Theme, axis: TimeAxis, lost: pd.DataFrame) -> None:
    """Hatch all lanes where rows are missing, never too thinly to be seen."""
    first, last = axis.place(lost["start_ns"].to_numpy()), axis.place(lost["end_ns"].to_numpy())
    lacking = np.maximum(_THINNEST / axis.points_per_unit(width_points(ax)) - (last - first), 0) / 2
    first, last = first - lacking, last + lacking
    bottom, top = np.zeros(len(lost)), np.ones(len(lost))
    corners = ((first, bottom), (last, bottom), (last, top), (first, top))
    ax.add_collection(
        PolyCollection(
            list(np.stack([np.column_stack(corner) for corner in corners], axis=1)),
            transform=ax.get_xaxis_transform(),
            facecolors="none",
            edgecolors=theme.failure.line,
            hatch="////",
            linewidths=0,
            alpha=0.45,
            zorder=1.2,
            gid="lost",
        ),
        autolim=False,
    )
