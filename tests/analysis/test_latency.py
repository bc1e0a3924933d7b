"""Durations, histograms and their summary."""

import numpy as np
import pytest

from hdvlab.analysis.latency import (
    DURATION_COLUMNS,
    HISTOGRAM_COLUMNS,
    LATENCY_COLUMNS,
    df_durations,
    df_histogram,
    df_latency,
)
from hdvlab.errors import UsageError
from hdvlab.trace.schema import E_PENDING, Kind

from ..plots.traces import TABLES, busy, session, trace_of


def test_each_access_with_a_duration_is_one_row_and_the_others_are_counted() -> None:
    durations = df_durations(session().frame(), TABLES)
    assert list(durations.columns) == list(DURATION_COLUMNS)
    assert durations.loc[4].to_list() == ["mmio_write", 900]
    assert durations.attrs["measure"] == "dur_ns"
    assert len(durations) == 10
    assert durations.attrs["left_out"] == 3  # the interrupt, the doorbell and the pending read


def test_a_pending_access_has_no_duration_yet() -> None:
    rows = trace_of(
        {"kind": Kind.mmio_read, "dur_ns": 5}, {"kind": Kind.mmio_read, "dur_ns": 7, "status": E_PENDING}
    ).frame()
    assert list(df_durations(rows, TABLES).index) == [0]


def test_without_durations_it_is_the_time_since_the_previous_access_of_the_same_device() -> None:
    times = [(0, 100), (1, 150), (0, 400), (1, 155), (0, 400)]
    rows = trace_of(*({"kind": Kind.mmio_read, "device": device, "t_ns": t} for device, t in times)).frame()
    durations = df_durations(rows, TABLES)
    assert durations.attrs["measure"] == "gap_ns"
    assert list(durations["ns"]) == [300, 5]
    assert list(durations.index) == [2, 3]
    assert durations.attrs["left_out"] == 3  # the first of each device, and one at the time of the one before


def test_by_register_the_busiest_stand_apart_and_the_rest_together() -> None:
    rows = trace_of(
        *({"kind": Kind.mmio_read, "address": address, "dur_ns": 10} for address in [0] * 5 + [4] * 4 + [8] * 2 + [16])
    ).frame()
    durations = df_durations(rows, TABLES, by="register", max_groups=2)
    assert durations["group"].value_counts().to_dict() == {"CTRL": 5, "COUNT": 4, "others": 3}


def test_places_of_several_bars_are_named_with_theirs() -> None:
    rows = trace_of(
        {"kind": Kind.mmio_read, "dur_ns": 10}, {"kind": Kind.mmio_read, "bar": 2, "address": 0x41, "dur_ns": 10}
    ).frame()
    durations = df_durations(rows, TABLES, by="register")
    assert list(durations["group"]) == ["blink BAR0 CTRL", "blink BAR2 0x40"]


def test_an_unknown_grouping_is_refused() -> None:
    with pytest.raises(UsageError, match="by 'kind' or by 'register', not by 'driver'"):
        df_durations(session().frame(), TABLES, by="driver")  # type: ignore[arg-type]


def test_the_histogram_counts_every_access_in_the_bin_that_holds_it() -> None:
    durations = df_durations(busy(5_000).frame(), TABLES)
    histogram = df_histogram(durations)
    assert list(histogram.columns) == list(HISTOGRAM_COLUMNS)
    assert histogram["count"].sum() == len(durations)
    reads = durations.loc[durations["group"] == "mmio_read", "ns"]
    row = histogram[histogram["group"] == "mmio_read"].sort_values("count").iloc[-1]
    assert row["count"] == np.count_nonzero(
        (reads >= row["from_ns"] * (1 - 1e-9)) & (reads < row["to_ns"] * (1 - 1e-9))
    )


@pytest.mark.parametrize("ns", [1, 10, 1_000, 1_000_000])
def test_a_power_of_ten_begins_its_bin(ns: int) -> None:
    histogram = df_histogram(df_durations(trace_of({"kind": Kind.mmio_read, "dur_ns": ns}).frame(), TABLES))
    assert histogram["from_ns"].to_list() == [pytest.approx(ns)]


def test_the_summary_gives_median_and_tail_of_each_group_with_others_last() -> None:
    rows = trace_of(
        *({"kind": Kind.mmio_read, "address": 0, "dur_ns": ns} for ns in range(1, 102)),
        *({"kind": Kind.mmio_read, "address": 4 + 4 * (ns % 60), "bar": 2, "dur_ns": 7} for ns in range(200)),
    ).frame()
    latency = df_latency(df_durations(rows, TABLES, by="register", max_groups=1))
    assert list(latency.columns) == list(LATENCY_COLUMNS)
    assert latency.iloc[0].to_list() == [101, 51, 100, 101]
    assert list(latency.index)[-1] == "others"
    assert latency["count"].to_list() == [101, 200]


def test_no_rows_give_no_durations_and_an_empty_histogram() -> None:
    durations = df_durations(trace_of().frame(), TABLES)
    assert durations.empty
    assert df_histogram(durations).empty
