"""The timeline: every access of a trace in lanes, one for each part of each device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from hdvlab.analysis.events import df_links, df_lost, df_moments
from hdvlab.analysis.lanes import df_lanes, df_marks, lane_numbers
from hdvlab.analysis.selection import READS, WRITES, Moment, device_name, df_window, find_devices
from hdvlab.plots.canvas import MARGIN, axes_for, legend, note, nothing, title, width_points
from hdvlab.plots.moments import draw_bands, draw_moments
from hdvlab.plots.theme import Theme, get_theme
from hdvlab.plots.time_axis import Array, TimeAxis, duration
from hdvlab.plots.timeline_legend import handles
from hdvlab.trace.schema import KIND_GROUPS, Kind
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

#: Causes and effects are connected where there are no more of them than this.
MAX_LINKS = 200

_NAMES = {kind.name: kind for kind in Kind}
_OFFSET = 0.2  # reads stand this far above the middle of their lane, writes below
_LANE_INCHES = 0.42


def timeline(
    trace: Trace | HasTrace,
    *,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
    start: Moment | None = None,
    stop: Moment | None = None,
    devices: Sequence[int | str] | None = None,
    max_marks: int = 20_000,
) -> Axes:
    """Draw every row of a trace, or of a stretch of it, over time.

    One lane for config space, for each BAR, for doorbells, DMA, interrupts and lifecycle steps of each device. Reads
    stand in the upper half of a lane, writes in the lower. A bar behind a mark is the time the device took, where it
    is long enough to be seen; hollow marks are accesses still being served; red crosses are faults and failed
    accesses; a hatched band is where rows were lost. Thin lines lead from an access to the DMA and interrupts it
    caused.

    Rows that would stand on top of one another are drawn together: a mark then stands for all rows of a kind in a
    stretch of time, its height for how many they are (logarithmic), and the picture says so.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.
    start, stop : int or str, optional
        First moment to show, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"`` or ``"150us"``.
    devices : sequence of int or str, optional
        Devices to show, by name or number; all if not given.
    max_marks : int
        Most marks to draw.

    Returns
    -------
    Axes
        y is the number of the lane, downward; x is time in the unit of the label.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = df_window(trace.frame(), start, stop)
    if devices is not None:
        numbers = [number for device in devices for number in find_devices(trace.tables, device)]
        everywhere = rows["kind"].isin([Kind.mark.name, Kind.lost.name]).to_numpy()
        rows = rows[np.isin(rows["device"].to_numpy(), numbers) | everywhere]
    if rows.empty:
        some = "No rows in this trace." if not len(trace) else "No rows of this trace are in this selection."
        return nothing(axes_for(ax, look, 2.0), look, some)
    lanes = df_lanes(rows, trace.tables)
    lane = lane_numbers(rows, trace.tables, lanes)
    marks = df_marks(rows, lane, max_marks)
    moments = df_moments(rows, trace, lane)
    lost = df_lost(rows)
    links = df_links(rows, lane)

    ax = axes_for(ax, look, min(MARGIN + _LANE_INCHES * max(len(lanes), 1), 14.0))
    ends = rows["t_ns"].to_numpy() + (rows["dur_ns"].to_numpy() if len(rows) <= max_marks else 0)
    axis = TimeAxis.spanning(int(rows["t_ns"].min()), int(ends.max()))
    axis.dress(ax, look)
    _draw_lanes(ax, look, lanes)
    notes = [*_draw_lost(ax, look, axis, lost), *draw_moments(ax, look, axis, moments, len(lanes))]
    if len(links) <= MAX_LINKS:
        _draw_links(ax, look, axis, links)
    else:
        notes.append(
            f"{len(links):,} rows that another caused; lines are drawn for up to {MAX_LINKS}, in a shorter stretch"
        )
    if marks.attrs["binned"]:
        _draw_stretches(ax, look, axis, marks)
        notes.insert(0, _about_stretches(marks))
    else:
        _draw_rows(ax, look, axis, marks)
    above = legend(ax, look, handles(look, marks, links if len(links) <= MAX_LINKS else links[:0], lost))
    known = lanes.loc[lanes["device"] >= 0, "device"].unique()
    owner = f" · {device_name(trace.tables, int(known[0]))}" if len(known) == 1 else ""
    title(ax, look, f"Timeline{owner} · {len(rows):,} {'row' if len(rows) == 1 else 'rows'}", above)
    note(ax, look, notes)
    return ax


def _draw_lanes(ax: Axes, theme: Theme, lanes: pd.DataFrame) -> None:
    ax.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    ax.set_yticks(range(len(lanes)), labels=list(lanes["label"]))
    for lane in range(0, len(lanes), 2):
        ax.axhspan(lane - 0.5, lane + 0.5, color=theme.stripe, linewidth=0, zorder=0)


def _side(kind: Kind) -> float:
    return -1.0 if kind in READS else 1.0 if kind in WRITES else 0.0


def _draw_rows(ax: Axes, theme: Theme, axis: TimeAxis, marks: pd.DataFrame) -> None:
    """One mark per row."""
    points_per_unit = axis.points_per_unit(width_points(ax))
    size = 6.5 if len(marks) <= 200 else 5.0 if len(marks) <= 2000 else 3.5
    for name, some in marks[~marks["kind"].isin(_steps())].groupby("kind", observed=True):
        kind = _NAMES[str(name)]
        look = theme.looks[kind]
        y = some["lane"].to_numpy() + _OFFSET * _side(kind)
        x, end = axis.place(some["t_ns"].to_numpy()), axis.place(some["end_ns"].to_numpy())
        long = (end - x) * points_per_unit > size / 2
        if long.any():
            segments = np.stack([np.column_stack([x[long], y[long]]), np.column_stack([end[long], y[long]])], axis=1)
            ax.add_collection(
                LineCollection(
                    list(segments),
                    colors=look.shade.fill,
                    linewidths=size * 0.55,
                    alpha=0.45,
                    capstyle="butt",
                    zorder=2,
                ),
                autolim=False,
            )
        held = some["pending"].to_numpy() > 0
        bad = some["failed"].to_numpy() > 0
        for which, face, what in ((~held & ~bad, look.shade.fill, "rows"), (held, theme.face, "pending")):
            if which.any():
                ax.plot(
                    x[which],
                    y[which],
                    linestyle="none",
                    marker=look.marker,
                    markersize=size,
                    markerfacecolor=face,
                    markeredgecolor=look.shade.line,
                    markeredgewidth=0.6 if what == "rows" else 1.3,
                    gid=f"{kind.name} {what}",
                    zorder=4,
                )
        _cross(ax, theme, x[bad], y[bad], size)


def _cross(ax: Axes, theme: Theme, x: Array, y: Array, size: float) -> None:
    if len(x):
        ax.plot(
            x,
            y,
            linestyle="none",
            marker="X",
            markersize=size + 1.5,
            markerfacecolor=theme.failure.fill,
            markeredgecolor=theme.face,
            markeredgewidth=0.6,
            gid="failed",
            zorder=5,
        )


def _draw_stretches(ax: Axes, theme: Theme, axis: TimeAxis, marks: pd.DataFrame) -> None:
    """One bar per stretch of time: reads upward from the middle of the lane, writes downward, others both ways."""
    most = np.log1p(float(marks["count"].max()))
    for name, some in marks[~marks["kind"].isin(_steps())].groupby("kind", observed=True):
        kind = _NAMES[str(name)]
        y = some["lane"].to_numpy().astype(float)
        height = 0.06 + 0.38 * np.log1p(some["count"].to_numpy()) / most
        top = y - (height if _side(kind) <= 0 else 0)
        bottom = y + (height if _side(kind) >= 0 else 0)
        left, right = axis.place(some["t_ns"].to_numpy()), axis.place(some["end_ns"].to_numpy())
        corners = np.stack(
            [np.column_stack(corner) for corner in ((left, top), (right, top), (right, bottom), (left, bottom))], axis=1
        )
        color = theme.looks[kind].shade.fill
        ax.add_collection(
            PolyCollection(
                list(corners),
                facecolors=color,
                edgecolors=color,
                linewidths=0.8,
                zorder=3,
                gid=f"{kind.name} stretches",
            ),
            autolim=False,
        )
        bad = some["failed"].to_numpy() > 0
        _cross(ax, theme, (left[bad] + right[bad]) / 2, y[bad] + _OFFSET * _side(kind), 4.0)


def _about_stretches(marks: pd.DataFrame) -> str:
    stretch = duration(float((marks["end_ns"] - marks["t_ns"]).iloc[0]))
    waiting = int(marks["pending"].sum())
    return (
        f"Each mark stands for up to {int(marks['count'].max()):,} accesses in {stretch}; {marks.attrs['rows']:,} rows."
        + (f" {waiting:,} of them are still being served." if waiting else "")
    )


def _steps() -> list[str]:
    return [kind.name for kind in KIND_GROUPS["lifecycle"]]


def _draw_links(ax: Axes, theme: Theme, axis: TimeAxis, links: pd.DataFrame) -> None:
    if links.empty:
        return
    ends = [
        np.column_stack(
            [
                axis.place(links[f"{end}_ns"].to_numpy()),
                links[f"{end}_lane"] + [_OFFSET * _side(_NAMES[name]) for name in links[f"{end}_kind"]],
            ]
        )
        for end in ("cause", "effect")
    ]
    segments = np.stack(ends, axis=1)
    ax.add_collection(
        LineCollection(list(segments), colors=theme.muted, linewidths=0.7, alpha=0.8, zorder=1.5, gid="links"),
        autolim=False,
    )


def _draw_lost(ax: Axes, theme: Theme, axis: TimeAxis, lost: pd.DataFrame) -> list[str]:
    if lost.empty:
        return []
    draw_bands(ax, theme, axis, lost)
    known = int(lost["rows"].sum())
    count = "Rows" if not known else "1 row" if known == 1 else f"{known:,} rows"
    return [f"{count} {'was' if known == 1 else 'were'} lost where the page is hatched."]
