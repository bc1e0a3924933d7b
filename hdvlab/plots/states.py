"""The state machine: which values of a register followed which, as a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, FancyArrowPatch

from hdvlab.analysis.selection import Array, Moment, device_name, df_window
from hdvlab.analysis.signals import Signal, busiest_signals, find_signals
from hdvlab.analysis.states import CAUSES, df_state_changes, df_states, df_transitions
from hdvlab.plots.canvas import FONT_SIZE, axes_for, height_points, legend, note, nothing, title, width_points
from hdvlab.plots.theme import LineStyle, Shade, Theme, get_theme
from hdvlab.plots.time_axis import duration
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_MAX_LABELS = 20
_MAX_EDGES = 36
_CHARACTER = 0.6 * FONT_SIZE  # points, of a monospaced font
_LINE = FONT_SIZE * 1.25
_LONGEST = 18  # characters of a line in a node


def states(
    trace: Trace | HasTrace,
    register: str | None = None,
    *,
    start: Moment | None = None,
    stop: Moment | None = None,
    max_states: int = 10,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw a register, or a field, as the state machine that its accesses tell of.

    A node is a value, by its meaning where the description has one, with how often it was entered and how long it was
    held; a double outline is the first value known. An arrow is a transition, with its count; colour and line say who
    changed the value: the guest by writing, a person by a poke, the device, or a reset. Values are in rising order,
    clockwise. Where there are more than ``max_states`` values, those that come and go least share one node.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    register : str, optional
        ``"CTRL"``, ``"CTRL.EN"``, ``"0x10"`` or ``"BAR2+0x10"`` where nothing describes it, with ``"device:"`` before
        it where several devices have it. If not given: the register that changes most often, and of its fields the
        first one that has names for its values.
    start, stop : int or str, optional
        First moment to count, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"``.
    max_states : int
        Most nodes.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.

    Returns
    -------
    Axes
        Nodes are ellipses and transitions arrows; their ``gid`` says which. x and y mean nothing.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = df_window(trace.frame(), start, stop)
    if rows.empty:
        some = "stretch of the trace" if len(trace) else "trace"
        return nothing(axes_for(ax, look, 2.0), look, f"No rows in this {some}; let a guest use the device first.")
    signal = find_signals(rows, trace.tables, [register])[0] if register is not None else _likely(rows, trace)
    if signal is None:
        return nothing(axes_for(ax, look, 2.0), look, "No access of this trace tells a register's value.")
    changes = df_state_changes(rows, trace.tables, signal)
    nodes = df_states(changes, max_states)
    if nodes.empty:
        return nothing(axes_for(ax, look, 2.0), look, f"No access tells the value of {signal.name}; read it once.")
    edges = df_transitions(changes, nodes)

    ax = axes_for(ax, look, 3.0 if len(nodes) <= 3 else 5.4)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    width, height = width_points(ax), height_points(ax)
    # Points, so that an ellipse can be measured by its words; ``auto`` lets the layout's last word widen the limits.
    ax.set_xlim(-width / 2, width / 2, auto=True)
    ax.set_ylim(-height / 2, height / 2, auto=True)
    ax.set_aspect("equal", adjustable="datalim")
    texts = [_node_text(signal, node) for _, node in nodes.iterrows()]
    places, ellipses = _draw_nodes(ax, look, texts, (width, height), _first(changes, nodes))
    hidden, unlabelled, used = _draw_edges(ax, look, edges, places, ellipses)
    entries = [_handle(look, by) for by in CAUSES if by in used]
    above = legend(ax, look, entries)
    owner = device_name(trace.tables, signal.device)
    count = len(changes)
    heading = " · ".join(part for part in (f"States of {signal.name}", owner) if part)
    title(ax, look, f"{heading} · {count:,} {'transition' if count == 1 else 'transitions'}", above)
    note(ax, look, _about(changes, nodes, edges, hidden, unlabelled))
    return ax


def _likely(rows: pd.DataFrame, trace: Trace) -> Signal | None:
    busiest = busiest_signals(rows, trace.tables)
    for one in busiest:
        for field in one.register.fields.values():
            if field.meanings:
                return Signal(one.device, one.bar, one.register, field)
    return busiest[0] if busiest else None


def _first(changes: pd.DataFrame, nodes: pd.DataFrame) -> int:
    """The node of the value that was known first."""
    own = nodes.index[(nodes["values"] == 1) & (nodes["value"] == changes.attrs["first"])]
    return int(own[0]) if len(own) else len(nodes) - 1


def _node_text(signal: Signal, node: pd.Series[Any]) -> str:
    several = f"{int(node['values']):,} other values"
    name = several if node["values"] > 1 else _value_text(signal, int(node["value"]))
    return f"{name}\n×{int(node['entered']):,}  {duration(float(node['held_ns']))}"


def _value_text(signal: Signal, value: int) -> str:
    if signal.field is not None:
        known = signal.field.meanings.get(value)
        number = str(value) if value < 10 else f"{value:#x}"
        return f"{known[:_LONGEST]} ({number})" if known else number
    lines = [f"{value:#x}"]
    said = [field.describe(field.extract(value)) for field in signal.register.fields.values() if field.extract(value)]
    line = ""
    for word in said:
        if line and len(line) + len(word) + 1 > _LONGEST:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    lines += [line] if line else []
    return "\n".join([*lines[:3], "…"] if len(lines) > 4 else lines)


def _draw_nodes(
    ax: Axes, theme: Theme, texts: list[str], size: tuple[float, float], first: int
) -> tuple[Array, list[Ellipse]]:
    """Nodes on an ellipse, the first at its top, or at the left where there are few; axes are in points."""
    count = len(texts)
    boxes = [
        (1.25 * max(len(line) for line in text.split("\n")) * _CHARACTER + 12, len(text.split("\n")) * _LINE * 1.3 + 10)
        for text in texts
    ]
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    if count <= 3:
        places = np.column_stack([(np.arange(count) - (count - 1) / 2) * size[0] / count, np.zeros(count)])
    else:
        widest, highest = (max(box[n] for box in boxes) for n in (0, 1))
        radius = (max(size[0] / 2 - widest / 2 - 8, 10), max(size[1] / 2 - highest / 2 - 8, 10))
        places = np.column_stack([radius[0] * np.cos(angles), radius[1] * np.sin(angles)])
    ellipses = []
    for number, (place, box, text) in enumerate(zip(places, boxes, texts, strict=True)):
        node = Ellipse(
            (place[0], place[1]),
            *box,
            facecolor=theme.stripe,
            edgecolor=theme.muted,
            linewidth=1.2,
            zorder=3,
            gid=f"state {number}",
        )
        ax.add_patch(node)
        ellipses.append(node)
        if number == first:
            outer = (box[0] + 7, box[1] + 7)
            ax.add_patch(Ellipse((place[0], place[1]), *outer, fill=False, edgecolor=theme.muted, linewidth=0.9,
                                 zorder=3, gid="first"))  # fmt: skip
        ax.text(
            place[0], place[1], text, ha="center", va="center", color=theme.text, fontsize=FONT_SIZE - 0.5,
            family="monospace", linespacing=1.15, zorder=4,
        )  # fmt: skip
    return places, ellipses


def _look(theme: Theme, by: str) -> tuple[Shade, LineStyle]:
    looks: dict[str, tuple[Shade, LineStyle]] = {
        "guest write": (theme.write, "-"),
        "user write": (theme.doorbell, "-."),
        "other write": (theme.other, "-"),
        "device": (theme.read, "--"),
        "reset": (theme.failure, ":"),
    }
    return looks[by]


def _handle(theme: Theme, by: str) -> Line2D:
    shade, line = _look(theme, by)
    text = {"user write": "a poke", "other write": "replay or injected fault", "guest write": "guest writes"}
    return Line2D([], [], color=shade.line, linestyle=line, linewidth=1.6, label=text.get(by, by))


def _draw_edges(
    ax: Axes, theme: Theme, edges: pd.DataFrame, places: Array, ellipses: list[Ellipse]
) -> tuple[int, int, list[str]]:
    """Draw the arrows; returns transitions that are not drawn, arrows without a count, and who caused those drawn."""
    within = edges["previous"] == edges["state"] if len(edges) else pd.Series(dtype=bool)
    hidden = int(edges.loc[within, "count"].sum()) if len(edges) else 0
    drawn = edges[~within] if len(edges) else edges
    hidden += int(drawn["count"].iloc[_MAX_EDGES:].sum()) if len(drawn) > _MAX_EDGES else 0
    drawn = drawn.iloc[:_MAX_EDGES]
    most = float(drawn["count"].max()) if len(drawn) else 1.0
    ranks: dict[tuple[int, int], int] = {}
    used: list[str] = []
    for number, (previous, state, by, count) in enumerate(drawn.itertuples(index=False)):
        rank = ranks[previous, state] = ranks.get((previous, state), -1) + 1
        # Arrows there and back bend away from each other, and so do those of several causes.
        bend = 0.16 + 0.2 * rank if len(places) > 3 else 0.28 + 0.28 * rank
        shade, line = _look(theme, str(by))
        used += [str(by)] if str(by) not in used else []
        one, other = places[previous], places[state]
        arrow = FancyArrowPatch(
            (one[0], one[1]),
            (other[0], other[1]),
            connectionstyle=f"arc3,rad={-bend}",
            arrowstyle="-|>",
            mutation_scale=9,
            patchA=ellipses[previous],
            patchB=ellipses[state],
            shrinkA=2,
            shrinkB=3,
            color=shade.line,
            linestyle=line,
            linewidth=0.9 + 1.6 * float(np.log1p(count)) / float(np.log1p(most)),
            zorder=2,
            gid=f"{previous} to {state} by {by}: {count}",
        )
        ax.add_patch(arrow)
        if number < _MAX_LABELS:
            x, y = _on_curve(one, other, -bend, 0.5 if len(places) <= 3 else 0.38)
            ax.text(
                x, y, f"{count:,}", ha="center", va="center", color=theme.text, fontsize=FONT_SIZE - 0.5, zorder=5,
                bbox={"facecolor": theme.face, "edgecolor": shade.line, "linewidth": 0.6, "pad": 1.2},
                gid=f"count of {previous} to {state}",
            )  # fmt: skip
    return hidden, max(len(drawn) - _MAX_LABELS, 0), used


def _on_curve(one: Array, other: Array, bend: float, along: float) -> tuple[float, float]:
    """A point of matplotlib's ``arc3``: a quadratic Bézier curve whose control point stands off the middle."""
    step = other - one
    control = (one + other) / 2 + bend * np.array([step[1], -step[0]])
    point = (1 - along) ** 2 * one + 2 * along * (1 - along) * control + along**2 * other
    return float(point[0]), float(point[1])


def _about(changes: pd.DataFrame, nodes: pd.DataFrame, edges: pd.DataFrame, hidden: int, unlabelled: int) -> list[str]:
    sentences = [
        f"From {int(changes.attrs['told']):,} accesses that told the value; what came and went between two of them is "
        "not known."
    ]
    values = int(nodes["values"].sum())
    if values > len(nodes):
        last = nodes.iloc[-1]
        sentences.append(
            f"{values:,} values: the {len(nodes) - 1} that come and go most have a node each, the other "
            f"{int(last['values']):,} share one; name a field, as in CTRL.EN, for fewer."
        )
    if hidden:
        where = "among the values that share a node, or rarer than the arrows drawn"
        sentences.append(f"{hidden:,} {'transition is' if hidden == 1 else 'transitions are'} not drawn: {where}.")
    if unlabelled:
        sentences.append(f"The {unlabelled:,} rarest arrows have no number.")
    return sentences
