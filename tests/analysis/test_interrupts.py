"""Interrupts, the writes before them and the answers behind them."""

import numpy as np
import pytest

from hdvlab.analysis.interrupts import (
    INTERRUPT_COLUMNS,
    PHASE_COLUMNS,
    df_interrupt_latency,
    df_interrupt_phases,
)
from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind, Origin
from hdvlab.trace.trace import Trace

from ..plots.traces import TABLES, busy, trace_of

WRITE, READ, MSI = ({"kind": kind} for kind in (Kind.mmio_write, Kind.mmio_read, Kind.interrupt))


def timed(*rows: dict[str, int], start: int = 0) -> Trace:
    """Rows 10 ns apart."""
    return trace_of(*({"t_ns": 10 * place, **row} for place, row in enumerate(rows)), start=start)


def test_an_interrupt_is_measured_from_its_cause_and_to_the_guests_next_access() -> None:
    rows = timed(WRITE, READ, {**MSI, "cause": 0, "value": 5}, {"kind": Kind.config_read}, READ).frame()
    found = df_interrupt_latency(rows, TABLES)
    assert list(found.columns) == list(INTERRUPT_COLUMNS)
    assert found.reset_index().to_numpy().tolist() == [[2, 20, 0, 5, 0, False, 20, 4, 20, False]]


def test_row_numbers_of_a_stretch_that_begins_later_are_those_of_the_trace() -> None:
    found = df_interrupt_latency(timed(WRITE, {**MSI, "cause": 100}, READ, start=100).frame(), TABLES)
    assert found[["write", "acknowledge"]].to_numpy().tolist() == [[100, 102]]


def test_a_cause_outside_of_the_rows_is_not_replaced_by_another_write() -> None:
    found = df_interrupt_latency(timed(WRITE, {**MSI, "cause": 3}, start=100).frame(), TABLES)
    assert found[["write", "is_assumed", "to_msi_ns"]].to_numpy().tolist() == [[-1, False, -1]]


def test_without_a_cause_the_guests_last_write_to_that_device_is_assumed_and_said_to_be() -> None:
    rows = timed(WRITE, {**WRITE, "device": 1}, {**WRITE, "origin": Origin.user}, MSI, {**MSI, "device": 1}).frame()
    found = df_interrupt_latency(rows, TABLES)
    assert found[["write", "is_assumed", "to_msi_ns"]].to_numpy().tolist() == [[0, True, 30], [1, True, 30]]
    assert list(found["acknowledge"]) == [-1, -1]


def test_only_a_guests_access_to_the_named_register_is_an_answer() -> None:
    rows = timed(
        {**MSI, "value": 1},
        {**READ, "address": 4},
        {**READ, "address": 8, "origin": Origin.user},
        {**READ, "address": 8, "device": 1},
        {**READ, "address": 9, "size": 1},
        {**MSI, "device": 1},
    ).frame()
    found = df_interrupt_latency(rows, TABLES, "STATUS")
    assert found["acknowledge"].to_dict() == {0: 4}  # device 1 has no such register: it is left out
    with pytest.raises(UsageError, match="this trace has no register STATIS; did you mean STATUS"):
        df_interrupt_latency(rows, TABLES, "STATIS")


def test_interrupts_that_one_access_answers_are_told_apart_from_the_last_of_them() -> None:
    found = df_interrupt_latency(timed(MSI, {**MSI, "device": 1}, MSI, READ).frame(), TABLES)
    assert found["is_shared"].to_dict() == {0: True, 1: False, 2: False}
    assert found["to_acknowledge_ns"].to_dict() == {0: 30, 1: -1, 2: 10}


def test_all_of_it_agrees_with_a_search_row_by_row() -> None:
    rows = busy(3_000, seed=7).frame()
    found = df_interrupt_latency(rows, TABLES)
    kind, device, t_ns = rows["kind"].astype(str).to_numpy(), rows["device"].to_numpy(), rows["t_ns"].to_numpy()
    asked = np.flatnonzero(kind == "interrupt")
    assert list(found.index) == asked.tolist()
    for at, one in zip(asked, found.itertuples(), strict=True):
        answers = [n for n in range(at + 1, len(rows)) if device[n] == device[at] and kind[n].startswith("mmio")]
        writes = [n for n in range(at) if device[n] == device[at] and kind[n] == "mmio_write"]
        assert one.acknowledge == (answers[0] if answers else -1)
        assert one.write == (writes[-1] if writes else -1)
        assert one.to_acknowledge_ns == (t_ns[answers[0]] - t_ns[at] if answers else -1)


@pytest.mark.parametrize("column", ["to_msi_ns", "to_acknowledge_ns"])
def test_summed_up_by_stretches_every_interrupt_is_in_one_of_them(column: str) -> None:
    found = df_interrupt_latency(busy(20_000).frame(), TABLES)
    phases = df_interrupt_phases(found, column, bins=25)
    assert list(phases.columns) == list(PHASE_COLUMNS)
    known = found[found[column] >= 0]
    cell = (known["t_ns"] - known["t_ns"].min()) // phases.attrs["width_ns"]
    groups = known[column].groupby(cell.to_numpy())
    assert list(phases["count"]) == groups.size().to_list()
    assert list(phases["least_ns"]) == groups.min().to_list()
    assert list(phases["most_ns"]) == groups.max().to_list()
    assert list(phases["median_ns"]) == [sorted(some)[(len(some) - 1) // 2] for _, some in groups]


def test_no_rows_give_no_interrupts() -> None:
    assert df_interrupt_latency(trace_of().frame(), TABLES).empty
    assert df_interrupt_phases(df_interrupt_latency(trace_of().frame(), TABLES), "to_msi_ns").empty
