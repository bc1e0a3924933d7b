"""The latency histogram: how long accesses took."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hdvlab.analysis.latency import OTHERS, SATURATED_NS, df_durations, df_histogram, df_latency
from hdvlab.analysis.selection import Moment, df_window
from hdvlab.plots.canvas import FONT_SIZE, axes_for, legend, note, nothing, title
from hdvlab.plots.theme import LineStyle, Look, Shade, Theme, get_theme
from hdvlab.plots.time_axis import duration
from hdvlab.trace.schema import Kind
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_MARKERS = "os^Dv"
_LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")
#: Stands for 0, which has no place on a logarithmic scale; below the axes.
_EMPTY = 0.5
_KINDS = {kind.name: kind for kind in Kind}


def latency(
    trace: Trace | HasTrace,
    *,
    by: Literal["kind", "register"] = "kind",
    start: Moment | None = None,
    stop: Moment | None = None,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw how long accesses took, as one stepped line for each kind of access or each register.

    Both scales are logarithmic: the few slow accesses show beside the many fast ones. A marker stands at each median.
    Where no row has a duration, as in an imported trace, the time since the previous access of the same device is
    drawn instead, and the picture says so.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    by : {"kind", "register"}
        What a line stands for. By register, the five busiest are drawn, and one line for the others.
    start, stop : int or str, optional
        First moment to count, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"``.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.

    Returns
    -------
    Axes
        x is nanoseconds, y the accesses in a bin; ten bins make a factor of ten.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    durations = df_durations(df_window(trace.frame(), start, stop), trace.tables, by)
    if durations.empty:
        why = "There is no access to measure." if not durations.attrs["left_out"] else "No access here has a duration."
        return nothing(axes_for(ax, look, 2.0), look, why)
    measured = durations.attrs["measure"] == "dur_ns"
    summary, histogram = df_latency(durations), df_histogram(durations)

    ax = axes_for(ax, look, 4.0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    handles: list[Any] = []
    for rank, (group, numbers) in enumerate(summary.iterrows()):
        style = _look(look, by, str(group), rank)
        handles.append(_draw_group(ax, look, style, histogram[histogram["group"] == group], str(group), numbers))
    _dress(ax, look, histogram, measured)
    above = legend(ax, look, handles)
    title(ax, look, "Time in the device" if measured else "Time between accesses: no row has a duration", above)
    note(ax, look, _about(durations, measured))
    return ax


def _look(theme: Theme, by: str, group: str, rank: int) -> Look:
    if by == "kind":
        return theme.looks[_KINDS[group]]
    if group == OTHERS:
        return Look(theme.other, "x", ":")
    shades: tuple[Shade, ...] = theme.series[:5]
    return Look(shades[rank % 5], _MARKERS[rank % 5], _LINES[rank % 4])


def _draw_group(ax: Axes, theme: Theme, look: Look, bins: pd.DataFrame, group: str, numbers: pd.Series[Any]) -> Line2D:
    """Draw one line and its median; returns its entry for the legend."""
    edges = np.append(bins["from_ns"].to_numpy(), bins["to_ns"].to_numpy()[-1])
    counts = np.maximum(bins["count"].to_numpy().astype(float), _EMPTY)
    color = look.shade.line
    ax.stairs(counts, edges, baseline=_EMPTY, color=color, linewidth=1.5, linestyle=look.line, label=group, gid=group)
    median = float(numbers["median_ns"])
    place = min(int(np.searchsorted(edges, median, side="right")) - 1, len(counts) - 1)
    ax.plot(
        [median],
        [counts[place]],
        marker=look.marker,
        markersize=7,
        markerfacecolor=look.shade.fill,
        markeredgecolor=theme.face,
        linestyle="none",
        zorder=5,
        gid=f"median of {group}",
    )
    ax.axvline(median, color=color, linewidth=0.7, alpha=0.5, linestyle=look.line, zorder=1)
    text = f"{group.replace('_', ' ')}: median {duration(median)}"
    return Line2D(
        [],
        [],
        color=color,
        linewidth=1.5,
        linestyle=look.line,
        marker=look.marker,
        markersize=6,
        markerfacecolor=look.shade.fill,
        label=f"{text} ({int(numbers['count']):,})",
    )


def _dress(ax: Axes, theme: Theme, histogram: pd.DataFrame, measured: bool) -> None:
    most = float(histogram["count"].max())
    ax.set_ylim(1.2 * _EMPTY, most * 1.6)
    ax.set_xlim(histogram["from_ns"].min() / 1.15, histogram["to_ns"].max() * 1.15)
    decades = np.log10(histogram["to_ns"].max() / histogram["from_ns"].min())
    if decades < 2.5:
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if most < 50:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}" if count >= 1 else ""))
    for side in (ax.xaxis, ax.yaxis):
        side.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="major", bottom=True, length=3)
    ax.tick_params(which="minor", length=0)
    ax.grid(color=theme.grid, linewidth=0.5)
    what = "time in the device's callback" if measured else "time since the previous access of the same device"
    ax.set_xlabel(what, color=theme.text, fontsize=FONT_SIZE + 0.5)
    ax.set_ylabel("accesses per bin", color=theme.text, fontsize=FONT_SIZE + 0.5)


def _about(durations: pd.DataFrame, measured: bool) -> list[str]:
    sentences = []
    left_out = int(durations.attrs["left_out"])
    if left_out:
        count = "1 access is" if left_out == 1 else f"{left_out:,} accesses are"
        why = (
            "no duration or still being served" if measured else "at the time of the one before, or first of the device"
        )
        sentences.append(f"{count} left out: {why}.")
    saturated = int(np.count_nonzero(durations["ns"].to_numpy() >= SATURATED_NS)) if measured else 0
    if saturated:
        sentences.append(f"{saturated:,} took 4.29 s or longer; the trace cannot tell how long.")
    return sentences
