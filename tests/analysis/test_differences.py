"""Counts of two runs, and what is drawn of them."""

import numpy as np

from hdvlab.analysis.differences import (
    DIFFERENCE_COLUMNS,
    STROKE_COLUMNS,
    df_differences,
    df_strokes,
    factorize_bands,
    run_start,
)
from hdvlab.analysis.stretches import Stretches
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import DeviceInfo, Tables

from ..plots.traces import TABLES, busy, trace_of


def reads(*addresses: int, **more: int) -> list[dict[str, int]]:
    return [{"kind": Kind.mmio_read, "address": address, **more} for address in addresses]


def test_each_register_has_its_counts_in_both_runs_and_the_difference() -> None:
    left = trace_of(*reads(0, 0, 4), {"kind": Kind.mmio_write, "address": 0}).frame()
    right = trace_of(*reads(0, 8), {"kind": Kind.interrupt, "bar": -1}).frame()
    counted = df_differences(left, right, TABLES)
    assert list(counted.columns) == list(DIFFERENCE_COLUMNS)
    assert counted.drop(columns=["device", "place"]).to_numpy().tolist() == [
        ["CTRL", 2, 1, 3, 1, 0, 1, -2],
        ["COUNT", 1, 0, 1, 0, 0, 0, -1],
        ["STATUS", 0, 0, 0, 1, 0, 1, 1],
        ["interrupt", 0, 0, 0, 0, 0, 1, 1],
    ]


def test_devices_of_two_traces_are_the_same_where_their_names_are() -> None:
    others = Tables([DeviceInfo("new"), *TABLES.devices])
    counted = df_differences(
        trace_of(*reads(0)).frame(), trace_of(*reads(0, device=1), tables=others).frame(), TABLES, others
    )
    assert counted[["label", "left", "right"]].to_numpy().tolist() == [["CTRL", 1, 1]]


def test_with_too_many_places_those_that_differ_most_are_kept_and_nothing_is_lost() -> None:
    left, right = busy(5_000, seed=1).frame(), busy(5_000, seed=2).frame()
    whole = df_differences(left, right, TABLES, max_bands=1_000)
    few = df_differences(left, right, TABLES, max_bands=6)
    assert len(few) == 6
    assert few["place"].iloc[-1] == len(whole) - 5
    for name in list(DIFFERENCE_COLUMNS)[3:]:
        assert few[name].sum() == whole[name].sum()
    assert set(few["difference"].iloc[:-1].abs()) <= set(whole["difference"].abs().nlargest(5))


def test_counts_of_a_million_rows_agree_with_pandas() -> None:
    left, right = busy(1_000_000).frame(), busy(10).frame()
    counted = df_differences(left, right, TABLES, max_bands=10_000)
    for name, rows in (("left", left), ("right", right)):
        assert counted[name].sum() == len(rows)
        assert counted[f"{name}_writes"].sum() == rows["kind"].isin(["mmio_write", "dma_write"]).sum()
        ctrl = rows[rows["kind"].isin(["mmio_read", "mmio_write"]) & (rows["address"] == 0) & (rows["device"] == 0)]
        assert counted.loc[counted["label"] == "blink CTRL", name].to_list() == [len(ctrl)]


def test_a_run_begins_with_its_first_access() -> None:
    rows = trace_of({"kind": Kind.mark, "t_ns": 5}, *reads(0, t_ns=40), *reads(4, t_ns=60)).frame()
    assert run_start(rows) == 40
    first, _, _ = factorize_bands(rows, rows, TABLES)
    strokes = df_strokes(rows, first, Stretches(0, 10, 3), binned=False)
    assert list(strokes.columns) == list(STROKE_COLUMNS)
    assert strokes.to_numpy().tolist() == [[0, -1, 0, 0, 1], [1, -1, 20, 20, 1]]


def test_strokes_of_stretches_stand_for_every_row() -> None:
    rows = busy(20_000).frame()
    band, _, _ = factorize_bands(rows, rows, TABLES)
    single = df_strokes(rows, band, Stretches(0, 1, 1), binned=False)
    stretches = Stretches.over(0, int(single["t_ns"].max()), 50)
    binned = df_strokes(rows, band, stretches, binned=True)
    cell = single["t_ns"] // stretches.width_ns * stretches.width_ns
    counted = single.groupby(["band", "side", cell.rename("cell")]).size()
    found = binned.set_index(["band", "side", "t_ns"])["count"]
    assert found.to_dict() == counted.to_dict()
    assert np.all(binned["end_ns"] - binned["t_ns"] == stretches.width_ns)


def test_two_empty_runs_have_no_bands() -> None:
    assert df_differences(trace_of().frame(), trace_of().frame(), TABLES).empty
