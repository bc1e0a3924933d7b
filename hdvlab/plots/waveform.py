"""The waveform: what registers and their fields held over time, as a logic analyser shows it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from hdvlab.analysis.selection import Moment, device_name, df_window
from hdvlab.analysis.signals import Signal, busiest_signals, find_signals
from hdvlab.analysis.values import df_segments, df_values
from hdvlab.plots.canvas import FONT_SIZE, MARGIN, axes_for, legend, note, nothing, title
from hdvlab.plots.signal_rows import bus_row, legend_entries, line_row
from hdvlab.plots.theme import Theme, get_theme
from hdvlab.plots.time_axis import TimeAxis
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_ROW_INCHES = 0.3
_MOST_ROWS = 40


def waveform(
    trace: Trace | HasTrace,
    registers: Sequence[str] | None = None,
    *,
    start: Moment | None = None,
    stop: Moment | None = None,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw the values of registers over time, as far as accesses tell them.

    A register is a bus with its value in hexadecimal, and below it one row per field: a line for a single bit, a bus
    with the value's meaning or number for more. A small mark says whether a read or a write told of the change. Before
    the first access nothing is known and nothing drawn. Where values change faster than can be drawn, a filled block
    stands for them. Which accesses count as values is said in :func:`hdvlab.analysis.values.df_values`.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    registers : sequence of str, optional
        ``"CTRL"``, ``"CTRL.EN"``, ``"0x10"`` or ``"BAR2+0x10"`` where nothing describes it, each with ``"device:"``
        before it where several devices have it. If not given: the four registers that change most often, with those of
        their fields that change at all.
    start, stop : int or str, optional
        First moment to show, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"``. What accesses before ``start`` told is known at ``start``.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.

    Returns
    -------
    Axes
        One row per signal, downward; x is time in the unit of the label.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = df_window(trace.frame(), None, stop)
    shown = df_window(rows, start)
    if shown.empty:
        some = "this trace" if not len(trace) else "this stretch of the trace"
        return nothing(axes_for(ax, look, 2.0), look, f"No rows in {some}.")
    names = [registers] if isinstance(registers, str) else registers
    signals = busiest_signals(shown, trace.tables) if names is None else find_signals(rows, trace.tables, names)
    if not signals:
        return nothing(axes_for(ax, look, 2.0), look, "No access of this trace tells a register's value.")
    first, last = int(shown["t_ns"].min()), int(shown["t_ns"].max())
    # What the last row tells holds on, to the edge of the axes, or it could not be seen.
    edge = last + max((last - first) // 70, 1)
    drawn, notes = _segments(rows, signals, (first, edge), every_field=names is not None)

    ax = axes_for(ax, look, MARGIN + _ROW_INCHES * len(drawn))
    axis = TimeAxis.spanning(first, last)
    axis.dress(ax, look)
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    several = len({signal.device for signal, _ in drawn}) > 1
    labels = []
    for row, (signal, segments) in enumerate(drawn):
        single = signal.field is not None and signal.field.width == 1
        (line_row if single else bus_row)(ax, look, axis, row, signal, segments)
        inner = signal.field is not None and row > 0 and drawn[row - 1][0].register is signal.register
        owner = f"{device_name(trace.tables, signal.device)} " if several and not inner else ""
        labels.append(f".{signal.field.name}" if inner and signal.field is not None else owner + signal.name)
        if not inner and row:
            ax.axhline(row - 0.5, color=look.grid, linewidth=0.6, zorder=0)
    ax.set_yticks(range(len(drawn)), labels=labels, fontsize=FONT_SIZE, family="monospace")
    above = legend(ax, look, legend_entries(ax, look))
    owner = "" if several else f" · {device_name(trace.tables, drawn[0][0].device)}".removesuffix(" · ")
    title(ax, look, f"Register values{owner}", above)
    note(ax, look, notes)
    return ax


def _segments(
    rows: pd.DataFrame, signals: list[Signal], span_ns: tuple[int, int], every_field: bool
) -> tuple[list[tuple[Signal, pd.DataFrame]], list[str]]:
    """Signals with their segments, fields below their register; and what is left out."""
    drawn: list[tuple[Signal, pd.DataFrame]] = []
    steady = 0
    unknown = []
    for signal in signals:
        values = df_values(rows, signal.device, signal.bar, signal.register)
        if values.empty:
            unknown.append(signal.name)
        drawn.append((signal, df_segments(values, *span_ns, signal.field)))
        if signal.field is not None:
            continue
        for field in signal.register.fields.values():
            segments = df_segments(values, *span_ns, field)
            if every_field or len(segments) > 1:
                drawn.append((Signal(signal.device, signal.bar, signal.register, field), segments))
            else:
                steady += 1
    notes = []
    if unknown:
        notes.append(f"No access tells the value of {', '.join(unknown)}.")
    if steady:
        notes.append(
            f"{steady:,} field{' that never changes has' if steady == 1 else 's that never change have'} no row."
        )
    if len(drawn) > _MOST_ROWS:
        notes.append(f"{len(drawn) - _MOST_ROWS:,} more signals are not drawn; name fewer registers, or fields.")
    return drawn[:_MOST_ROWS], notes
