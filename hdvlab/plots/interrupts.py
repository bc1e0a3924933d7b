"""Interrupt latency: from the write to the MSI, and from the MSI to the guest's answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hdvlab.analysis.interrupts import df_interrupt_latency, df_interrupt_phases
from hdvlab.analysis.selection import Moment, df_window, find_device
from hdvlab.plots.canvas import FONT_SIZE, axes_for, legend, note, nothing, panels, title
from hdvlab.plots.theme import LineStyle, Shade, Theme, get_theme
from hdvlab.plots.time_axis import TimeAxis, duration
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_MAX_SINGLE = 2_000
_PER_DECADE = 10


def interrupts(
    trace: Trace | HasTrace,
    acknowledge: str | None = None,
    *,
    device: int | str | None = None,
    start: Moment | None = None,
    stop: Moment | None = None,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw how long interrupts took: from the guest's write to the MSI, and from the MSI to the guest's answer.

    On the left each interrupt stands at the time of its MSI, on the right is how often each length of time occurred;
    both share the logarithmic scale. The write is the access that the interrupt's ``cause`` names, else the guest's
    last write to the device; the answer is the guest's first access to the device after the interrupt. More than 2,000
    interrupts are drawn by stretches of time: a mark at the median, a line from the shortest to the longest, and the
    picture says so.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    acknowledge : str, optional
        The register that the guest answers with, such as ``"STATUS"``; then only accesses to it are answers.
    device : int or str, optional
        Only the interrupts of this device, by name or number.
    start, stop : int or str, optional
        First moment to show, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"``. Writes and answers outside of it are found nevertheless.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.

    Returns
    -------
    Axes
        They hold two, ``ax.child_axes``: over time (x is time in the unit of the label, y nanoseconds) and the
        distribution (x is interrupts, y nanoseconds).
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = trace.frame()
    number = None if device is None else find_device(trace.tables, device, rows)
    found = df_window(df_interrupt_latency(rows, trace.tables, acknowledge, number), start, stop)
    if found.empty:
        what = "%hdv plot timeline shows what there is" if len(rows) else "let a guest use the device first"
        part = "in this trace" if number is None and start is None and stop is None else "here"
        return nothing(axes_for(ax, look, 2.0), look, f"No interrupt {part}; {what}.")
    if not ((found["to_msi_ns"] >= 0) | (found["to_acknowledge_ns"] >= 0)).any():
        count = f"{len(found):,} {'interrupt' if len(found) == 1 else 'interrupts'}"
        sentence = f"{count}, but no guest access to the device to measure by; %hdv plot timeline shows what there is."
        return nothing(axes_for(ax, look, 2.0), look, sentence)
    answer = f"MSI to {acknowledge}" if acknowledge else "MSI to the guest's next access"
    phases: list[tuple[str, str, Shade, str, LineStyle]] = [
        ("to_msi_ns", "write to MSI", look.write, "s", "-"),
        ("to_acknowledge_ns", answer, look.interrupt, "D", "--"),
    ]
    ax = axes_for(ax, look, 4.2)
    over_time, distribution = panels(ax, look, (0, 0, 0.74, 1), (0.76, 0, 0.24, 1))
    first, last = int(found["t_ns"].min()), int(found["t_ns"].max())
    axis = TimeAxis.spanning(first, last)
    axis.dress(over_time, look)
    binned = len(found) > _MAX_SINGLE
    handles: list[Any] = []
    most = 1
    width = 0
    for column, name, shade, marker, line in phases:
        known = found[found[column] >= 0]
        if known.empty:
            continue
        if binned:
            summed = df_interrupt_phases(found, column)
            most, width = max(most, int(summed["count"].max())), int(summed.attrs["width_ns"])
            _draw_summed(over_time, look, axis, summed, column, shade, marker)
        else:
            _draw_single(over_time, look, axis, known, column, shade, marker)
        _draw_distribution(distribution, known[column], column, shade, line)
        median = float(np.partition(known[column].to_numpy(), (len(known) - 1) // 2)[(len(known) - 1) // 2])
        text = f"{name}: median {duration(median)}, longest {duration(float(known[column].max()))} ({len(known):,})"
        handles.append(_handle(look, shade, marker, line, text))
    _dress(over_time, distribution, look, found)
    above = legend(ax, look, handles)
    title(ax, look, f"Interrupts · {len(found):,}", above)
    notes = _about(found, acknowledge)
    if binned:
        stretch = f"up to {most:,} interrupts in {duration(width)}"
        notes.insert(0, f"Each mark stands for {stretch}; a line reaches from the shortest to the longest.")
    note(ax, look, notes)
    return ax


def _shown(ns: Any) -> Any:
    return np.maximum(ns, 1)  # 0 has no place on a logarithmic scale


def _draw_single(
    ax: Axes, theme: Theme, axis: TimeAxis, known: pd.DataFrame, column: str, shade: Shade, marker: str
) -> None:
    ax.plot(
        axis.place(known["t_ns"].to_numpy()),
        _shown(known[column].to_numpy()),
        linestyle="none",
        marker=marker,
        markersize=6 if len(known) <= 200 else 3.5,
        markerfacecolor=shade.fill,
        markeredgecolor=theme.face,
        markeredgewidth=0.5,
        gid=column,
    )


def _draw_summed(
    ax: Axes, theme: Theme, axis: TimeAxis, summed: pd.DataFrame, column: str, shade: Shade, marker: str
) -> None:
    x = axis.place(summed["t_ns"].to_numpy())
    ends = (np.column_stack([x, _shown(summed[name].to_numpy())]) for name in ("least_ns", "most_ns"))
    lines = LineCollection(
        list(np.stack(list(ends), axis=1)), colors=shade.line, linewidths=1.2, alpha=0.4, gid=f"{column} range"
    )
    ax.add_collection(lines)
    ax.plot(
        x,
        _shown(summed["median_ns"].to_numpy()),
        linestyle="none",
        marker=marker,
        markersize=3,
        color=shade.fill,
        markeredgecolor=theme.face,
        markeredgewidth=0.3,
        gid=f"{column} median",
        zorder=4,
    )


def _draw_distribution(ax: Axes, ns: pd.Series[Any], column: str, shade: Shade, line: LineStyle) -> None:
    place = np.floor(np.log10(_shown(ns.to_numpy())) * _PER_DECADE + 1e-9).astype(np.int64)
    first = int(place.min())
    counts = np.bincount(place - first)
    edges = 10.0 ** (np.arange(first, first + len(counts) + 1) / _PER_DECADE)
    ax.stairs(
        counts, edges, orientation="horizontal", color=shade.line, linewidth=1.4, linestyle=line, gid=column,
        fill=False,
    )  # fmt: skip


def _handle(theme: Theme, shade: Shade, marker: str, line: LineStyle, text: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=shade.line,
        linestyle=line,
        linewidth=1.4,
        marker=marker,
        markersize=6,
        markerfacecolor=shade.fill,
        markeredgecolor=theme.face,
        label=text,
    )


def _dress(over_time: Axes, distribution: Axes, theme: Theme, found: pd.DataFrame) -> None:
    times = found[["to_msi_ns", "to_acknowledge_ns"]].to_numpy()
    times = times[times >= 0]
    limits = (max(float(times.min()), 1) / 1.6, max(float(times.max()), 2) * 1.6)
    for ax in (over_time, distribution):
        ax.set_yscale("log")
        ax.set_ylim(*limits)
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(which="minor", length=0)
        ax.grid(color=theme.grid, linewidth=0.5)
    over_time.yaxis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
    if limits[1] / limits[0] < 300:
        for ax in (over_time, distribution):
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    distribution.yaxis.set_major_formatter(NullFormatter())
    over_time.set_ylabel("time it took", color=theme.text, fontsize=FONT_SIZE + 0.5)
    distribution.set_xlabel("interrupts per bin", color=theme.text, fontsize=FONT_SIZE + 0.5)
    distribution.set_xlim(left=0)
    distribution.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    distribution.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))


def _about(found: pd.DataFrame, acknowledge: str | None) -> list[str]:
    answer = f"access to {acknowledge}" if acknowledge else "access"
    told = [
        (int(found["is_assumed"].sum()), "of no known cause: counted from the guest's last write to the device"),
        (int((found["to_msi_ns"] < 0).sum()), "with no write before"),
        (
            int((found["acknowledge"] < 0).sum()),
            f"that no {answer} answered",
        ),
        (int(found["is_shared"].sum()), "answered together with a later one"),
    ]
    return [", ".join(f"{count:,} {what}" for count, what in told if count) + "."] if any(n for n, _ in told) else []
