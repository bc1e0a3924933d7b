"""The access rate: how many accesses per second, and how much of the time devices' code is at work."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from hdvlab.analysis.rate import df_rate, df_rate_totals
from hdvlab.analysis.selection import Moment, df_window
from hdvlab.plots.canvas import FONT_SIZE, axes_for, legend, note, nothing, panels, title
from hdvlab.plots.theme import LineStyle, Shade, Theme, get_theme
from hdvlab.plots.time_axis import TimeAxis, duration
from hdvlab.trace.schema import Kind
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")
_KINDS = {kind.name: kind for kind in Kind}
_MAX_GROUPS = 8
_APART = 30.0  # peaks that differ by more than this are drawn on a logarithmic scale


def rate(
    trace: Trace | HasTrace,
    *,
    by: Literal["kind", "device"] = "kind",
    start: Moment | None = None,
    stop: Moment | None = None,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw accesses per second over time, and below the share of the time that devices' callbacks took.

    Time is counted in stretches of equal length, however many rows there are; the picture says how long they are. What
    happens inside a callback, such as DMA, is counted above, but its time belongs to the callback.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    by : {"kind", "device"}
        What a line stands for.
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
        They hold two, ``ax.child_axes``: accesses per second, and the share of the time in percent; x is time in the
        unit of the label.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = df_window(trace.frame(), start, stop)
    counted = df_rate(rows, trace.tables, by)
    if counted.empty:
        what = "%hdv plot timeline shows what there is" if len(rows) else "let a guest use a device first"
        return nothing(axes_for(ax, look, 2.0), look, f"No accesses to count; {what}.")
    stretches, measured = counted.attrs["stretches"], bool(counted.attrs["measured"])
    totals = df_rate_totals(counted)
    ax = axes_for(ax, look, 4.6 if measured else 3.4)
    bounds = [(0, 0.4, 1, 0.6), (0, 0, 1, 0.32)] if measured else [(0, 0, 1, 1)]
    parts = panels(ax, look, *bounds)
    axis = TimeAxis.spanning(int(stretches.edges_ns[0]), int(stretches.edges_ns[-1]))
    edges = axis.place(stretches.edges_ns)
    seconds = stretches.width_ns / 1e9
    handles: list[Any] = []
    peaks = []
    drawn = list(totals.index[:_MAX_GROUPS])
    for rank, group in enumerate(drawn):
        some = counted[counted["group"] == group]
        shade, line = _look(look, by, str(group), rank)
        per_second = some["count"].to_numpy() / seconds
        peaks.append(float(per_second.max()))
        parts[0].stairs(per_second, edges, baseline=0, color=shade.line, linewidth=1.3, linestyle=line, gid=str(group))
        handles.append(_handle(shade, line, _text(str(group), totals.loc[group], measured)))
    _dress_rate(parts[0], look, peaks, 1 / seconds)
    if measured:
        _draw_share(parts[1], look, by, counted, drawn, edges)
    for part in parts:
        axis.dress(part, look)
        part.grid(axis="both", color=look.grid, linewidth=0.5)
    if measured:
        parts[0].set_xlabel("")
        parts[0].xaxis.set_major_formatter(NullFormatter())
    above = legend(ax, look, handles)
    count, span = int(totals["count"].sum()), int(counted.attrs["span_ns"])
    busy = f" · {_percent(float(totals['share'].sum()))} of it in devices' callbacks" if measured else ""
    title(ax, look, f"{count:,} {'access' if count == 1 else 'accesses'} in {duration(span)}{busy}", above)
    note(ax, look, _about(counted, totals, measured))
    return ax


def _look(theme: Theme, by: str, group: str, rank: int) -> tuple[Shade, LineStyle]:
    if by == "kind":
        look = theme.looks[_KINDS[group]]
        return look.shade, look.line
    return theme.series[rank % len(theme.series)], _LINES[rank % len(_LINES)]


def _percent(share: float) -> str:
    return f"{float(f'{100 * share:.2g}'):g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _text(group: str, numbers: pd.Series[Any], measured: bool) -> str:
    told = f"{group.replace('_', ' ')}: {int(numbers['count']):,}, {_per_second(float(numbers['per_second']))}"
    return told + (f", {_percent(float(numbers['share']))} of the time" if measured and numbers["busy_ns"] else "")


def _per_second(number: float) -> str:
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{float(f'{number / factor:.3g}'):g} {unit}/s"
    return f"{float(f'{number:.3g}'):g}/s"


def _handle(shade: Shade, line: LineStyle, text: str) -> Line2D:
    return Line2D([], [], color=shade.line, linewidth=1.6, linestyle=line, label=text)


def _dress_rate(ax: Axes, theme: Theme, peaks: list[float], one: float) -> None:
    """``one`` is the rate of a single access in a stretch."""
    highest = max(peaks)
    if highest > _APART * min(peaks):
        ax.set_yscale("log")
        ax.set_ylim(one / 1.5, highest * 1.5)
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(which="minor", length=0)
    else:
        ax.set_ylim(0, highest * 1.08)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda number, _: _per_second(number)))
    ax.set_ylabel("accesses per second", color=theme.text, fontsize=FONT_SIZE + 0.5)


def _draw_share(ax: Axes, theme: Theme, by: str, counted: pd.DataFrame, drawn: list[Any], edges: Any) -> None:
    """Shares of the time, one group on top of the other."""
    width = counted.attrs["stretches"].width_ns
    below = np.zeros(len(edges) - 1)
    for rank, group in enumerate(drawn):
        percent = 100 * counted.loc[counted["group"] == group, "busy_ns"].to_numpy() / width
        if not percent.any():
            continue
        shade, _ = _look(theme, by, str(group), rank)
        ax.stairs(below + percent, edges, baseline=below, fill=True, color=shade.fill, linewidth=0, gid=str(group))
        below = below + percent
    ax.set_ylim(0, max(float(below.max()) * 1.1, 1e-6))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: _percent(percent / 100)))
    ax.set_ylabel("share of time", color=theme.text, fontsize=FONT_SIZE + 0.5)


def _about(counted: pd.DataFrame, totals: pd.DataFrame, measured: bool) -> list[str]:
    stretches = counted.attrs["stretches"]
    sentences = [f"Counted in {stretches.count:,} stretches of {duration(stretches.width_ns)}."]
    if not measured:
        sentences.append("No row has a duration: the share of time is not known.")
    if len(totals) > _MAX_GROUPS:
        rest = totals.iloc[_MAX_GROUPS:]
        sentences.append(f"{len(rest):,} more with {int(rest['count'].sum()):,} accesses are in the title's sum alone.")
    if waiting := int(counted.attrs["pending"]):
        sentences.append(f"{waiting:,} still being served {'has' if waiting == 1 else 'have'} no time yet.")
    return sentences
