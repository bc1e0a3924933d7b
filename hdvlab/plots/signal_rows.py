"""One row of a waveform: a bit as a line, more bits as a bus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hdvlab.analysis.signals import Signal
from hdvlab.plots.canvas import FONT_SIZE, width_points
from hdvlab.plots.theme import Theme
from hdvlab.plots.time_axis import Array, TimeAxis

_HALF = 0.3  # of a row: from the middle to the upper and lower line
_MONO = 0.62  # of the font size: width of a character
_SLANT = 2.5  # points from one value to the next
_MARK_ROOM = 7.0  # points that a mark needs so as not to stand on the next


def line_row(ax: Axes, theme: Theme, axis: TimeAxis, row: int, signal: Signal, segments: pd.DataFrame) -> None:
    """Draw a single bit: high is up. Blocks are stretches with more changes than can be drawn."""
    calm = segments[segments["changes"] == 1]
    left, right = _ends(axis, segments)
    y = row + np.where(segments["value"].to_numpy() > 0, -_HALF, _HALF)
    x_steps, y_steps = np.column_stack([left, right]).ravel(), np.column_stack([y, y]).ravel()
    ax.plot(x_steps, y_steps, color=theme.read.line, linewidth=1.3, zorder=3, gid=signal.name)
    high = calm[calm["value"] > 0]
    if len(high):
        corners = _boxes(*_ends(axis, high), row)
        ax.add_collection(
            PolyCollection(list(corners), facecolors=theme.read.fill, alpha=0.22, linewidths=0, zorder=2), autolim=False
        )
    _draw_blocks(ax, theme, axis, row, segments)
    _draw_change_marks(ax, theme, axis, row, segments)


def bus_row(ax: Axes, theme: Theme, axis: TimeAxis, row: int, signal: Signal, segments: pd.DataFrame) -> None:
    """Draw several bits: one hexagon per value, with the value where it fits."""
    calm = segments[segments["changes"] == 1]
    points = axis.points_per_unit(width_points(ax))
    left, right = _ends(axis, calm)
    slant = np.minimum(_SLANT / points, (right - left) / 2)
    middle, top, bottom = (
        np.full(len(calm), float(row)),
        np.full(len(calm), row - _HALF),
        np.full(len(calm), row + _HALF),
    )
    outline = (
        (left, middle),
        (left + slant, top),
        (right - slant, top),
        (right, middle),
        (right - slant, bottom),
        (left + slant, bottom),
    )
    if len(calm):
        ax.add_collection(
            PolyCollection(
                list(np.stack([np.column_stack(corner) for corner in outline], axis=1)),
                facecolors=theme.stripe,
                edgecolors=theme.read.line,
                linewidths=0.9,
                zorder=3,
                gid=signal.name,
            ),
            autolim=False,
        )
    _draw_blocks(ax, theme, axis, row, segments)
    size = FONT_SIZE - 1
    room = (right - left) * points - 2 * _SLANT
    for place in np.flatnonzero(room > size * _MONO):
        text = value_text(signal, int(calm["value"].iloc[place]))
        if len(text) * size * _MONO <= room[place]:
            ax.text(
                (left[place] + right[place]) / 2,
                row,
                text,
                ha="center",
                va="center_baseline",
                color=theme.text,
                fontsize=size,
                family="monospace",
                zorder=4,
                gid=f"value of {signal.name}",
            )
    _draw_change_marks(ax, theme, axis, row, segments)


def value_text(signal: Signal, value: int) -> str:
    """A value as a bus shows it: a field's meaning or number, a register in all its hexadecimal digits."""
    if signal.field is None:
        return f"{value:#0{signal.register.width // 4 + 2}x}"
    return signal.field.meanings.get(value) or (str(value) if value < 10 else hex(value))


def _ends(axis: TimeAxis, segments: pd.DataFrame) -> tuple[Array, Array]:
    """Where segments begin and end on the axis; one that began before it begins with it."""
    return axis.place(np.maximum(segments["t_ns"].to_numpy(), axis.first_ns)), axis.place(segments["end_ns"].to_numpy())


def _boxes(left: Array, right: Array, row: int) -> Array:
    top, bottom = np.full(len(left), row - _HALF), np.full(len(left), row + _HALF)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return np.stack([np.column_stack(corner) for corner in corners], axis=1)


def _draw_blocks(ax: Axes, theme: Theme, axis: TimeAxis, row: int, segments: pd.DataFrame) -> None:
    busy = segments[segments["changes"] > 1]
    if busy.empty:
        return
    corners = _boxes(*_ends(axis, busy), row)
    ax.add_collection(
        PolyCollection(list(corners), facecolors=theme.read.fill, edgecolors="none", alpha=0.6, zorder=3, gid="busy"),
        autolim=False,
    )


def _draw_change_marks(ax: Axes, theme: Theme, axis: TimeAxis, row: int, segments: pd.DataFrame) -> None:
    """Small marks under the values that a read or a write told of, where there is room for them."""
    calm = segments[segments["changes"] == 1]
    if len(calm) * _MARK_ROOM > width_points(ax):
        return
    written = calm["written"].to_numpy(dtype=bool)
    x = axis.place(calm["t_ns"].to_numpy())
    for which, shade, marker, what in ((~written, theme.read, "o", "read"), (written, theme.write, "s", "written")):
        if which.any():
            ax.plot(
                x[which],
                np.full(int(which.sum()), row + _HALF),
                linestyle="none",
                marker=marker,
                markersize=3.2,
                markerfacecolor=shade.fill,
                markeredgecolor=shade.line,
                markeredgewidth=0.5,
                zorder=5,
                gid=f"{what} row {row}",
            )


def legend_entries(ax: Axes, theme: Theme) -> list[Any]:
    """What the marks and blocks on these axes mean."""
    drawn = {str(artist.get_gid()).split(" row")[0] for artist in (*ax.lines, *ax.collections)}
    entries: list[Any] = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=5,
            color=shade.fill,
            markeredgecolor=shade.line,
            label=text,
        )
        for shade, marker, what, text in (
            (theme.read, "o", "read", "first seen by a read"),
            (theme.write, "s", "written", "written"),
        )
        if what in drawn
    ]
    if "busy" in drawn:
        entries.append(Patch(facecolor=theme.read.fill, alpha=0.6, label="changes faster than drawn"))
    return entries
