"""Two runs side by side: the same registers on the same axes, and where their counts differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hdvlab.analysis.differences import df_strokes, factorize_bands, run_start
from hdvlab.analysis.selection import Array
from hdvlab.analysis.stretches import Stretches
from hdvlab.errors import UsageError
from hdvlab.plots.canvas import (
    FONT_SIZE,
    MARGIN,
    axes_for,
    height_points,
    legend,
    note,
    nothing,
    panels,
    title,
    width_points,
)
from hdvlab.plots.theme import Shade, Theme, get_theme
from hdvlab.plots.time_axis import TimeAxis, duration
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.tables import Tables
from hdvlab.trace.trace import Trace

_BAND_INCHES = 0.26
_MAX_SINGLE = 1_500
_BINS = 200
_OFFSET = 0.2


class HasRuns(Protocol):
    """A lab: it knows runs by name."""

    @property
    def runs(self) -> Mapping[str, Any]:
        """Named runs and loaded traces."""


def compare(
    left: Trace | HasTrace | pd.DataFrame | str,
    right: Trace | HasTrace | pd.DataFrame | str,
    *,
    lab: HasRuns | None = None,
    names: tuple[str, str] | None = None,
    max_bands: int = 24,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw two runs side by side, each from its first access on, and mark registers whose counts differ.

    Each register has a row, in both runs the same; beside registers there are rows for config space, DMA and
    interrupts. Reads stand in the upper half of a row, writes in the lower. At the right is how many more or fewer
    accesses the right run has; where counts differ, the row is marked ``▲`` or ``▼`` and says both numbers. More than
    1,500 rows in a run are drawn by stretches of time, and the picture says so.

    Parameters
    ----------
    left, right : Trace, Run, Lab, DataFrame or str
        What to compare. A frame has no names of registers of its own: those of the other side are used if it has any.
        A str is the name of a run of ``lab``.
    lab : Lab, optional
        Where names of runs are looked up.
    names : tuple of str, optional
        What to call the two; their own names, or "left" and "right", when not given.
    max_bands : int
        Most rows. Where there are more, those that differ most are kept, then the busiest; all others share the last.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.

    Returns
    -------
    Axes
        They hold three, ``ax.child_axes``: the left run, the right run (x is time since the run began, in the unit of
        the label; y the number of the row, downward) and the differences (x is accesses, right less left).
    """
    look = get_theme(theme)
    sides = [_rows_of(side, lab) for side in (left, right)]
    told = [tables for _, tables in sides if tables is not None] or [Tables()]
    tables = [known if known is not None else told[0] for _, known in sides]
    rows = [frame for frame, _ in sides]
    called = names or (_name(left, "left"), _name(right, "right"))
    first, second, bands = factorize_bands(rows[0], rows[1], *tables, max_bands=max_bands)
    if bands.empty:
        return nothing(
            axes_for(ax, look, 2.0), look, "No accesses in either run; record some with %%hdv record -o NAME."
        )
    lasts = [_last(frame, codes) for frame, codes in zip(rows, (first, second), strict=True)]
    binned = max(int(np.count_nonzero(codes >= 0)) for codes in (first, second)) > _MAX_SINGLE
    stretches = Stretches.over(0, max(lasts), _BINS)
    axis = TimeAxis.spanning(0, max(*lasts, 1))

    ax = axes_for(ax, look, max(MARGIN + _BAND_INCHES * len(bands) + 0.3, 2.6))
    top = 1 - (FONT_SIZE + 6) / height_points(ax)  # above stand the names of the runs
    parts = panels(ax, look, (0, 0, 0.4, top), (0.42, 0, 0.4, top), (0.84, 0, 0.16, top))
    most = 1
    for part, frame, codes, name in zip(parts, rows, (first, second), called, strict=False):
        strokes = df_strokes(frame, codes, stretches, binned)
        most = max(most, int(strokes["count"].max()) if len(strokes) else 1)
        _draw_run(part, look, axis, strokes, binned, len(bands))
        part.set_title(f"{name} · {int(np.count_nonzero(codes >= 0)):,}", color=look.text, fontsize=FONT_SIZE, pad=3)
        part.set_xlabel(f"time since its first access ({axis.unit})", color=look.text, fontsize=FONT_SIZE)
    _name_bands(parts, look, bands)
    _draw_differences(parts[2], look, bands)
    above = legend(ax, look, _handles(look, bands, binned))
    differ = int(np.count_nonzero(bands["left"] != bands["right"]))
    verdict = f"{differ:,} of {len(bands):,} rows differ in count" if differ else "the same counts everywhere"
    title(ax, look, f"{called[0]} and {called[1]} · {verdict}", above)
    notes = []
    if binned:
        notes.append(f"Each mark stands for up to {most:,} rows in {duration(stretches.width_ns)}.")
    if bands["place"].iloc[-1] > 1:
        notes.append(f"The last row is all other places; the {len(bands) - 1} above differ most, or are the busiest.")
    note(ax, look, notes)
    return ax


def _rows_of(side: object, lab: HasRuns | None) -> tuple[pd.DataFrame, Tables | None]:
    if isinstance(side, pd.DataFrame):
        lacking = [name for name in ("t_ns", "kind", "device", "bar", "address") if name not in side]
        if lacking:
            raise UsageError(f"a frame of rows is compared; this one has no {' and no '.join(lacking)}")
        return side, None
    if isinstance(side, str):
        if lab is None:
            raise UsageError(f"{side!r} is a name; give the lab that knows it: compare({side!r}, ..., lab=lab)")
        if side not in lab.runs:
            known = ", ".join(lab.runs) or "none; %%hdv record -o NAME makes one"
            raise UsageError(f"no run {side}; there is {known}")
        side = lab.runs[side]
    trace = trace_of(side)
    return trace.frame(), trace.tables


def _name(side: object, otherwise: str) -> str:
    name = side if isinstance(side, str) else getattr(side, "name", "")
    return name if isinstance(name, str) and name else otherwise


def _last(rows: pd.DataFrame, codes: Array) -> int:
    t_ns = rows["t_ns"].to_numpy()[codes >= 0]
    return int(t_ns.max()) - run_start(rows) if len(t_ns) else 0


def _look(theme: Theme, side: int) -> tuple[Shade, str]:
    return ((theme.read, "o"), (theme.interrupt, "D"), (theme.write, "s"))[side + 1]


def _draw_run(ax: Axes, theme: Theme, axis: TimeAxis, strokes: pd.DataFrame, binned: bool, bands: int) -> None:
    axis.dress(ax, theme)
    ax.set_ylim(bands - 0.5, -0.5)
    most = float(np.log1p(strokes["count"].max())) if len(strokes) else 1.0
    for side in (-1, 0, 1):
        some = strokes[strokes["side"] == side]
        if some.empty:
            continue
        shade, marker = _look(theme, side)
        y = some["band"].to_numpy().astype(float)
        x = axis.place(some["t_ns"].to_numpy())
        name = f"{('reads', 'others', 'writes')[side + 1]}"
        if not binned:
            ax.plot(
                x, y + _OFFSET * side, linestyle="none", marker=marker, markersize=4, markerfacecolor=shade.fill,
                markeredgecolor=shade.line, markeredgewidth=0.5, gid=name, zorder=4,
            )  # fmt: skip
            continue
        height = 0.06 + 0.36 * np.log1p(some["count"].to_numpy()) / most
        right = np.maximum(
            axis.place(some["end_ns"].to_numpy()), x + 1.0 / axis.points_per_unit(width_points(ax) * 0.4)
        )
        top, bottom = y - height * (side <= 0), y + height * (side >= 0)
        pairs = ((x, top), (right, top), (right, bottom), (x, bottom))
        corners = list(np.stack([np.column_stack(pair) for pair in pairs], axis=1))
        ax.add_collection(
            PolyCollection(corners, facecolors=shade.fill, linewidths=0, zorder=3, gid=name), autolim=False
        )


def _name_bands(parts: list[Axes], theme: Theme, bands: pd.DataFrame) -> None:
    differ = bands["left"].to_numpy() != bands["right"].to_numpy()
    more = bands["difference"].to_numpy() > 0
    labels = [
        f"{'▲' if up else '▼'} {label}" if other else label
        for label, other, up in zip(bands["label"], differ, more, strict=True)
    ]
    parts[0].set_yticks(range(len(bands)), labels=labels, fontsize=FONT_SIZE - 0.5)
    for tick, other in zip(parts[0].get_yticklabels(), differ, strict=True):
        tick.set_fontweight("bold" if other else "normal")
    for part in parts:
        part.set_ylim(len(bands) - 0.5, -0.5)
        for band in range(len(bands)):
            if band % 2 == 0:
                part.axhspan(band - 0.5, band + 0.5, color=theme.stripe, linewidth=0, zorder=0)
    for part in parts[1:]:
        part.set_yticks([])


def _draw_differences(ax: Axes, theme: Theme, bands: pd.DataFrame) -> None:
    difference = bands["difference"].to_numpy().astype(float)
    y = np.arange(len(bands))
    size = np.sign(difference) * np.log1p(np.abs(difference))  # one more is seen beside a million more
    for which, name in ((difference > 0, "more"), (difference < 0, "fewer")):
        if which.any():
            ax.barh(y[which], size[which], height=0.62, color=theme.other.fill, gid=name, zorder=2)
    edge = max(float(np.abs(size).max()), 1.0)
    ax.set_xlim(-1.15 * edge, 1.15 * edge)
    ax.axvline(0, color=theme.muted, linewidth=0.8, zorder=1)
    ax.set_xticks([])
    for band, (left, right) in enumerate(zip(bands["left"].tolist(), bands["right"].tolist(), strict=True)):
        text = f"{left:,} → {right:,}" if left != right else f"{left:,}"
        ax.text(
            1.03, band, text, transform=ax.get_yaxis_transform(), ha="left", va="center", fontsize=FONT_SIZE - 1,
            color=theme.text if left != right else theme.muted, fontweight="bold" if left != right else "normal",
            gid=f"counts {band}",
        )  # fmt: skip
    ax.set_title("difference (log)", color=theme.text, fontsize=FONT_SIZE, pad=3)


def _handles(theme: Theme, bands: pd.DataFrame, binned: bool) -> list[Any]:
    made: list[Any] = []
    reads, writes = (int(bands[f"left_{what}"].sum() + bands[f"right_{what}"].sum()) for what in ("reads", "writes"))
    others = int(bands["left"].sum() + bands["right"].sum()) - reads - writes
    for side, count, text in (
        (-1, reads, "reads, upper half"),
        (1, writes, "writes, lower half"),
        (0, others, "others"),
    ):
        if count:
            shade, marker = _look(theme, side)
            made.append(
                Patch(facecolor=shade.fill, label=text)
                if binned
                else Line2D([], [], linestyle="none", marker=marker, color=shade.fill, markersize=5, label=text)
            )
    return made
