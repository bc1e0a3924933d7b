"""The state machine's nodes and arrows."""

import re

import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch

from hdvlab import plots
from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind, Origin

from .traces import busy, session, trace_of


def writes(*values: int, **more: int) -> list[dict[str, int]]:
    return [{"kind": Kind.mmio_write, "value": value, **more} for value in values]


def arrows(ax: Axes) -> dict[str, int]:
    found = [str(one.get_gid()).split(": ") for one in ax.patches if isinstance(one, FancyArrowPatch)]
    return {name: int(count) for name, count in found}


def nodes(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_gid() is None]


def said(ax: Axes) -> str:
    return " ".join(" ".join(text.get_text() for text in ax.texts if text.get_gid() == "note").split())


def test_values_are_nodes_by_their_meaning_and_transitions_arrows_by_their_cause() -> None:
    rows = [*writes(2, 4, 2, 4), {"kind": Kind.mmio_read, "value": 0}]
    ax = plots.states(trace_of(*({"t_ns": 1_000 * n, **row} for n, row in enumerate(rows))), "CTRL.MODE")
    assert nodes(ax) == ["idle (0)\n×1  0 ns", "run (1)\n×1  2 µs", "halt (2)\n×2  2 µs"]
    assert arrows(ax) == {"1 to 2 by guest write": 2, "2 to 1 by guest write": 1, "2 to 0 by device": 1}
    assert ax.get_title(loc="left") == "States of CTRL.MODE · blink · 4 transitions"
    (first,) = [one for one in ax.patches if one.get_gid() == "first"]
    (node,) = [one for one in ax.patches if one.get_gid() == "state 1"]
    assert isinstance(first, Ellipse)
    assert isinstance(node, Ellipse)
    assert first.center == node.center


def test_who_changed_it_differs_by_line_and_not_by_colour_alone() -> None:
    rows = [*writes(1), *writes(0, origin=Origin.user), {"kind": Kind.mmio_read, "value": 1}]
    ax = plots.states(trace_of(*rows), "CTRL.EN")
    styles = {one.get_linestyle() for one in ax.patches if isinstance(one, FancyArrowPatch)}
    assert len(styles) == 2
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a poke", "device"]


def test_a_register_shows_its_fields_and_a_field_with_meanings_is_drawn_unasked() -> None:
    trace = trace_of(*writes(1, 3, 1, 3))
    assert nodes(plots.states(trace, "CTRL"))[1].startswith("0x3\nEN=1 MODE=run\n")
    assert plots.states(trace).get_title(loc="left").startswith("States of CTRL.MODE")


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_too_many_values_share_a_node_and_the_picture_counts_every_transition(length: int) -> None:
    ax = plots.states(busy(length), "blink:RING", max_states=4)
    assert len(nodes(ax)) <= 4
    count = re.search(r"([\d,]+) transitions?$", ax.get_title(loc="left"))
    assert count is not None
    hidden = re.search(r"([\d,]+) transitions? (?:is|are) not drawn", said(ax))
    total, left_out = (int(one[1].replace(",", "")) if one else 0 for one in (count, hidden))
    assert sum(arrows(ax).values()) + left_out == total
    if length > 10:
        assert "8 values: the 3 that come and go most have a node each, the other 5 share one" in said(ax)


def test_no_rows_and_no_values_say_what_to_do_and_an_unknown_register_is_refused() -> None:
    assert [text.get_text() for text in plots.states(trace_of()).texts] == [
        "No rows in this trace; let a guest use the device first."
    ]
    assert [text.get_text() for text in plots.states(session(), "RING").texts] == [
        "No access tells the value of RING; read it once."
    ]
    with pytest.raises(UsageError, match="this trace has no register CTLR; did you mean CTRL"):
        plots.states(session(), "CTLR")
