"""Lanes of a timeline and the marks in them."""

import numpy as np

from hdvlab.analysis.lanes import LANE_COLUMNS, MARK_COLUMNS, df_lanes, df_marks, lane_numbers
from hdvlab.trace.schema import Kind
from hdvlab.trace.trace import Trace

from ..plots.traces import E_FAIL, busy, session, trace_of


def marks_of(trace: Trace, max_marks: int = 20_000):
    rows = trace.frame()
    lanes = df_lanes(rows, trace.tables)
    return df_marks(rows, lane_numbers(rows, trace.tables, lanes), max_marks)


def test_lanes_run_from_config_to_lifecycle_device_by_device() -> None:
    trace = session()
    lanes = df_lanes(trace.frame(), trace.tables)
    assert list(lanes.columns) == list(LANE_COLUMNS)
    assert list(lanes["label"]) == [
        "blink config",
        "blink BAR0",
        "blink doorbells",
        "blink DMA",
        "blink interrupts",
        "blink lifecycle",
        "edu BAR0",
    ]
    assert list(lanes["rows"]) == [2, 5, 1, 2, 1, 1, 2]


def test_a_single_device_is_not_named_in_every_lane() -> None:
    trace = trace_of({"kind": Kind.mmio_read}, {"kind": Kind.config_read, "bar": -1})
    assert list(df_lanes(trace.frame(), trace.tables)["label"]) == ["config", "BAR0"]


def test_an_access_that_no_bar_claims_has_a_lane_of_its_own() -> None:
    trace = trace_of({"kind": Kind.mmio_read}, {"kind": Kind.mmio_write, "device": 0xFFFF, "bar": -1})
    lanes = df_lanes(trace.frame(), trace.tables)
    assert list(lanes["part"]) == ["BAR0", "MMIO"]
    assert list(lanes["device"]) == [0, -1]


def test_marks_and_lost_rows_have_no_lane() -> None:
    trace = session()
    rows = trace.frame()
    lane = lane_numbers(rows, trace.tables, df_lanes(rows, trace.tables))
    assert list(rows["kind"][lane < 0]) == ["mark", "lost"]


def test_few_rows_are_one_mark_each_with_their_duration() -> None:
    marks = marks_of(session(start=100))
    assert list(marks.columns) == list(MARK_COLUMNS)
    assert not marks.attrs["binned"]
    assert marks.attrs["rows"] == len(marks) == 14
    write = marks.loc[104]
    assert (write["kind"], write["lane"], write["t_ns"], write["end_ns"]) == ("mmio_write", 1, 4_000, 4_900)
    assert list(marks.index[marks["failed"] > 0]) == [111]
    assert list(marks.index[marks["pending"] > 0]) == [115]


def test_more_rows_than_marks_are_binned_and_none_is_dropped() -> None:
    trace = busy(30_000)
    marks = marks_of(trace, max_marks=1_000)
    columns = trace.columns()
    assert marks.attrs["binned"]
    assert len(marks) <= 1_000
    assert marks["count"].sum() == marks.attrs["rows"] == 30_000
    by_kind = marks.groupby("kind", observed=True)["count"].sum()
    assert by_kind["mmio_read"] == np.count_nonzero(columns["kind"] == Kind.mmio_read)
    assert marks["failed"].sum() == np.count_nonzero(columns["status"] == E_FAIL)


def test_every_row_of_a_bin_lies_in_the_stretch_of_its_mark() -> None:
    trace = busy(5_000)
    t_ns = trace.columns()["t_ns"]
    marks = marks_of(trace, max_marks=100)
    assert marks["t_ns"].min() <= t_ns.min()
    assert t_ns.max() < marks["end_ns"].max()
    stretch = marks.groupby("t_ns").agg(end=("end_ns", "first"), count=("count", "sum"))
    inside = [np.count_nonzero((t_ns >= start) & (t_ns < entry.end)) for start, entry in stretch.iterrows()]
    assert inside == list(stretch["count"])


def test_rows_that_would_hide_one_another_are_binned_before_they_are_too_many() -> None:
    crowd = trace_of(*({"kind": Kind.mmio_read, "t_ns": t % 10} for t in range(2_000)), {"kind": 3, "t_ns": 10**9})
    apart = trace_of(*({"kind": Kind.mmio_read, "t_ns": 1_000 * t} for t in range(1_500)))
    assert marks_of(crowd).attrs["binned"]
    assert not marks_of(apart).attrs["binned"]


def test_no_rows_make_no_lanes_and_no_marks() -> None:
    trace = trace_of()
    assert df_lanes(trace.frame(), trace.tables).empty
    assert marks_of(trace).empty
