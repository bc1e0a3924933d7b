"""Accesses and time at work by stretches, checked nanosecond by nanosecond."""

import numpy as np
import pytest

from hdvlab.analysis.rate import RATE_COLUMNS, TOTAL_COLUMNS, df_rate, df_rate_totals
from hdvlab.errors import UsageError
from hdvlab.trace.schema import E_PENDING, Kind

from ..plots.traces import TABLES, busy, trace_of


def test_time_at_work_is_in_the_stretches_where_it_was_spent() -> None:
    rows = trace_of(
        {"kind": Kind.mmio_write, "t_ns": 5, "dur_ns": 22}, {"kind": Kind.mmio_read, "t_ns": 30, "dur_ns": 10}
    ).frame()
    rate = df_rate(rows, TABLES, bins=4)
    assert list(rate.columns) == list(RATE_COLUMNS)
    stretches = rate.attrs["stretches"]
    assert (stretches.first_ns, stretches.width_ns, stretches.count) == (5, 9, 4)
    assert rate["count"].to_list() == [0, 0, 1, 0, 1, 0, 0, 0]  # reads, then writes
    assert rate["busy_ns"].to_list() == [0, 0, 2, 8, 9, 9, 4, 0]
    assert rate.attrs["span_ns"] == 35


def test_it_agrees_with_counting_every_nanosecond() -> None:
    rows = busy(400, seed=5).frame()
    rate = df_rate(rows, TABLES, by="device", bins=17)
    stretches = rate.attrs["stretches"]
    outer = rows["kind"].isin(["config_read", "config_write", "mmio_read", "mmio_write"]).to_numpy()
    for number, name in enumerate(("blink", "edu")):
        mine = rows[(rows["device"] == number)]
        working = np.zeros(stretches.count * stretches.width_ns, dtype=np.int64)
        for one in rows[outer & (rows["device"] == number)].itertuples():
            working[one.t_ns - stretches.first_ns : one.t_ns - stretches.first_ns + one.dur_ns] += 1
        found = rate[rate["group"] == name]
        assert found["busy_ns"].to_list() == working.reshape(stretches.count, -1).sum(axis=1).tolist()
        place = (mine["t_ns"].to_numpy() - stretches.first_ns) // stretches.width_ns
        assert found["count"].to_list() == np.bincount(place, minlength=stretches.count).tolist()


def test_what_happens_inside_a_callback_is_counted_but_its_time_is_the_callbacks() -> None:
    rows = trace_of(
        {"kind": Kind.mmio_write, "t_ns": 0, "dur_ns": 100},
        {"kind": Kind.dma_read, "t_ns": 10, "dur_ns": 50, "cause": 0},
        {"kind": Kind.mmio_read, "device": 1, "t_ns": 70, "dur_ns": 20, "cause": 0},
    ).frame()
    totals = df_rate_totals(df_rate(rows, TABLES))
    assert list(totals.columns) == list(TOTAL_COLUMNS)
    assert totals["count"].to_dict() == {"mmio_read": 1, "mmio_write": 1, "dma_read": 1}
    assert totals["busy_ns"].to_dict() == {"mmio_read": 0, "mmio_write": 100, "dma_read": 0}
    assert totals.loc["mmio_write", "share"] == 1
    assert totals.loc["mmio_write", "per_second"] == 1e7


def test_a_pending_access_is_counted_and_has_no_time() -> None:
    rows = trace_of({"kind": Kind.mmio_read, "dur_ns": 9, "status": E_PENDING}, {"kind": Kind.mmio_read}).frame()
    rate = df_rate(rows, TABLES)
    assert (rate["count"].sum(), rate["busy_ns"].sum(), rate.attrs["pending"]) == (2, 0, 1)
    assert not rate.attrs["measured"]


def test_totals_of_a_million_rows_are_the_frames() -> None:
    rows = busy(1_000_000).frame()
    totals = df_rate_totals(df_rate(rows, TABLES))
    assert totals["count"].to_dict() == rows["kind"].value_counts()[totals.index].to_dict()
    sums = rows.groupby(rows["kind"].astype(str))["dur_ns"].sum()
    assert totals.loc["mmio_read", "busy_ns"] == sums["mmio_read"]
    assert totals.loc["dma_write", "busy_ns"] == 0
    assert totals["count"].is_monotonic_decreasing


def test_an_unknown_grouping_is_refused_and_no_rows_give_nothing() -> None:
    with pytest.raises(UsageError, match="by 'kind' or by 'device', not by 'bar'"):
        df_rate(busy(10).frame(), TABLES, by="bar")  # type: ignore[arg-type]
    assert df_rate(trace_of().frame(), TABLES).empty
    assert df_rate_totals(df_rate(trace_of().frame(), TABLES)).empty
