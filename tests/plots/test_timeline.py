"""The timeline's marks, bars, connectors and bands."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from hdvlab import plots
from hdvlab.errors import UsageError
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import Tables
from hdvlab.trace.trace import Trace

from .traces import REAL_TRACE, TABLES, busy, session, trace_of


def drawn(ax: Axes, gid: str) -> Any:
    """The one artist with a group id."""
    (artist,) = [artist for artist in (*ax.lines, *ax.collections) if artist.get_gid() == gid]
    return artist


def notes(ax: Axes) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in ax.texts if text.get_gid() == "note")


def legend_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_every_lane_is_named() -> None:
    ax = plots.timeline(session())
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[:5] == ["blink config", "blink BAR0", "blink doorbells", "blink DMA", "blink interrupts"]
    assert labels[5:] == ["blink lifecycle", "edu BAR0"]


def test_reads_stand_above_writes_with_another_marker_and_colour() -> None:
    ax = plots.timeline(session())
    reads, writes = drawn(ax, "mmio_read rows"), drawn(ax, "mmio_write rows")
    assert list(reads.get_xdata()) == [8, 9]
    assert list(reads.get_ydata()) == pytest.approx([0.8, 0.8])
    assert list(writes.get_xdata()) == [4, 10, 14]
    assert list(writes.get_ydata()) == pytest.approx([1.2, 1.2, 6.2])
    assert reads.get_marker() != writes.get_marker()
    assert reads.get_markerfacecolor() != writes.get_markerfacecolor()


def test_a_pending_access_is_hollow() -> None:
    ax = plots.timeline(session(), theme="dark")
    pending = drawn(ax, "mmio_read pending")
    assert list(pending.get_xdata()) == [15]
    assert pending.get_markerfacecolor() == plots.DARK.face
    assert "pending" in legend_of(ax)


def test_a_failed_access_and_a_fault_are_crosses() -> None:
    ax = plots.timeline(trace_of({"kind": Kind.mmio_read, "status": -1}, {"kind": Kind.fault, "t_ns": 100}))
    crosses = [line for line in ax.lines if line.get_gid() == "failed"]
    assert sorted(float(x) for line in crosses for x in line.get_xdata()) == [0, 100]
    assert {line.get_marker() for line in crosses} == {"X"}
    assert legend_of(ax) == ["mmio read", "failed"]


def test_a_duration_that_can_be_seen_is_a_bar_of_its_length() -> None:
    ax = plots.timeline(session())
    bars = [
        segment
        for collection in ax.collections
        if isinstance(collection, LineCollection) and collection.get_gid() is None
        for segment in collection.get_segments()
    ]
    write = next(bar for bar in bars if bar[0][0] == 4)
    assert write[1][0] == pytest.approx(4.9)


def test_causes_are_connected_to_their_effects() -> None:
    links = drawn(plots.timeline(session(start=7)), "links").get_segments()
    assert [link.round(3).tolist() for link in links] == [
        [[4, 1.2], [5, 2.8]],
        [[4, 1.2], [6, 3.2]],
        [[4, 1.2], [7, 4.0]],
    ]


def test_too_many_connectors_are_not_drawn_but_said() -> None:
    effects = [{"kind": Kind.interrupt, "cause": 0, "t_ns": t} for t in range(1, 300)]
    ax = plots.timeline(trace_of({"kind": Kind.mmio_write}, *effects))
    assert not [collection for collection in ax.collections if collection.get_gid() == "links"]
    assert "299 rows that another caused" in notes(ax)


def test_lost_rows_are_a_hatched_band_with_their_number() -> None:
    ax = plots.timeline(session())
    band = drawn(ax, "lost")
    assert band.get_hatch()
    assert band.get_paths()[0].vertices[:, 0].min() == 11
    assert band.get_paths()[0].vertices[:, 0].max() == 12
    assert "1,204 rows were lost" in notes(ax)


def test_marks_and_steps_are_lines_with_their_names() -> None:
    ax = plots.timeline(session())
    assert drawn(ax, "marks").get_segments()[0][0][0] == 3
    assert drawn(ax, "steps").get_segments()[0][0][0] == 0
    assert {"load driver", "start"} <= {text.get_text() for text in ax.texts}


def test_names_that_do_not_fit_are_counted() -> None:
    marks = [{"kind": Kind.mark, "device": 0xFFFF, "bar": -1, "t_ns": t} for t in range(50)]
    tables = Tables(TABLES.devices, facts={"marks": {str(row): "a rather long name of a mark" for row in range(50)}})
    ax = plots.timeline(trace_of(*marks, {"kind": Kind.mmio_read, "t_ns": 100}, tables=tables))
    named = sum("rather long" in text.get_text() for text in ax.texts)
    assert 3 <= named < 50
    assert f"{50 - named} names of marks or steps do not fit" in notes(ax)


def test_a_long_trace_is_drawn_in_stretches_and_the_picture_says_so() -> None:
    trace = busy(812_000)
    ax = plots.timeline(trace, max_marks=2_000)
    stretches = [collection for collection in ax.collections if str(collection.get_gid()).endswith("stretches")]
    assert 0 < sum(len(collection.get_paths()) for collection in stretches) <= 2_000
    assert "Each mark stands for up to " in notes(ax)
    assert "812,000 rows" in notes(ax)
    assert legend_of(ax)[:2] == ["reads, upward", "writes, downward"]


def test_stretches_of_reads_rise_and_those_of_writes_hang() -> None:
    rows = [{"kind": Kind.mmio_read if t % 2 else Kind.mmio_write, "t_ns": t} for t in range(100)]
    ax = plots.timeline(trace_of(*rows), max_marks=10)
    reads, writes = (
        np.concatenate([path.vertices[:, 1] for path in drawn(ax, gid).get_paths()])
        for gid in ("mmio_read stretches", "mmio_write stretches")
    )
    assert reads.min() < reads.max() == 0
    assert writes.max() > writes.min() == 0


def test_a_window_shows_its_rows_only() -> None:
    ax = plots.timeline(session(), start=4_000, stop="7us")
    assert ax.get_title(loc="left") == "Timeline · blink · 3 rows"
    low, high = ax.get_xlim()
    assert low < 4.0
    assert 6.3 < high < 6.5


def test_devices_can_be_chosen_by_name_and_a_wrong_one_is_an_error() -> None:
    ax = plots.timeline(session(), devices=["edu"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["BAR0"]
    with pytest.raises(UsageError, match="no device nvme"):
        plots.timeline(session(), devices=["nvme"])


def test_a_real_trace_names_its_marks_and_devices() -> None:
    ax = plots.timeline(read_mmiotrace(REAL_TRACE))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["nvme BAR0", "e1000 BAR0"]
    assert {"load drivers", "nvme read", "ping", "end"} <= {text.get_text() for text in ax.texts}


def test_rows_of_no_lane_alone_can_be_drawn() -> None:
    none = {"device": 0xFFFF, "bar": -1}
    trace: Trace = trace_of({"kind": Kind.mark, **none}, {"kind": Kind.lost, **none, "t_ns": 50})
    ax = plots.timeline(trace)
    assert "Rows were lost" in notes(ax)
    assert plots.figure_png(ax)
