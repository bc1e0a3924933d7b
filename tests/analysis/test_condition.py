"""Conditions on rows: which rows of a trace known by heart each one means, and what a wrong one is told."""

from __future__ import annotations

import numpy as np
import pytest

from hdvlab.analysis.condition import Condition
from hdvlab.errors import HResult, UsageError
from hdvlab.trace.schema import Kind, Origin

from ..plots.traces import TABLES, session, trace_of


def rows(text: str) -> list[int]:
    trace = session()
    return [int(row) for row in np.flatnonzero(Condition(text).holds(trace.columns(), trace.tables))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interrupt", [7]),
        ("mmio", [4, 8, 9, 10, 11, 13, 14, 15]),
        ("read", [1, 5, 8, 9, 11, 15]),
        ("dma write", [6]),
        ("dma 0x1000..0x1fff", [5]),
        ("dma+0x1000..0x1fff", [5]),
        ("dma 0x103f", [5]),
        ("dma 0x1040", []),
        ("config write config+0x4", [2]),
        ("write config+4..7", [2]),
        ("CTRL", [4]),
        ("read COUNT", [8]),
        ("write CTRL.EN==1", [4]),
        ("write CTRL.EN==0", []),
        ("CTRL.MODE==run", [4]),
        ("CTRL.MODE!=run", []),
        ("CTRL & 2", [4]),
        ("CTRL & 4", []),
        ("blink.STATUS.DONE == 1", [9, 10]),
        ("blink.bar0.STATUS", [9, 10]),
        ("edu", [14, 15]),
        ("edu write", [14]),
        ("edu bar0+0x20", [14, 15]),
        ("edu.bar0+0x20", [14, 15]),
        ("bar2", [13]),
        ("bar0+0x4..0xb", [8, 9, 10]),
        ("failed", [11]),
        ("pending", [15]),
        ("mark or lost", [3, 12]),
        ("mmio and not (blink or edu)", []),
        ("not read and mmio", [4, 10, 13, 14]),
        ("dma and size > 8", [5, 6]),
        ("value == 12", [14]),
        ("mmio and dur_ns >= 1us", [14]),
        ("status == E_FAIL", [11]),
        ("status == -2147483638", [15]),
        ("cause == 4", [5, 6, 7]),
        ("t_ns < 2us", [0, 1]),
        ("mmio and value > 0xffffffffffffffff1", []),
    ],
)
def test_a_condition_means_these_rows(text: str, expected: list[int]) -> None:
    assert rows(text) == expected


def test_origins_are_words() -> None:
    trace = trace_of({"kind": Kind.mmio_write}, {"kind": Kind.mmio_write})
    columns = {**trace.columns(), "origin": np.array([Origin.guest, Origin.user], dtype=np.uint8)}
    assert Condition("user write CTRL").holds(columns, TABLES).tolist() == [False, True]
    assert Condition("guest").holds(columns, TABLES).tolist() == [True, False]


def test_a_comparison_holds_only_where_the_access_covers_all_the_bits() -> None:
    trace = trace_of(
        {"kind": Kind.mmio_write, "address": 0, "size": 1, "value": 0b11},  # EN and MODE are in this byte
        {"kind": Kind.mmio_write, "address": 1, "size": 1, "value": 0b11},
        {"kind": Kind.mmio_read, "address": 0x14, "size": 4, "value": 5},  # the upper half of RING
        {"kind": Kind.mmio_read, "address": 0x10, "size": 8, "value": 5},
        {"kind": Kind.mmio_read, "address": 0x00, "size": 8, "value": 7 << 32},  # CTRL and COUNT at once
    )
    columns = trace.columns()
    assert np.flatnonzero(Condition("CTRL.MODE == 1").holds(columns, TABLES)).tolist() == [0]
    assert np.flatnonzero(Condition("write CTRL == 3").holds(columns, TABLES)).tolist() == []
    assert np.flatnonzero(Condition("RING == 5").holds(columns, TABLES)).tolist() == [3]
    assert np.flatnonzero(Condition("RING").holds(columns, TABLES)).tolist() == [2, 3]
    assert np.flatnonzero(Condition("COUNT == 7").holds(columns, TABLES)).tolist() == [4]


def test_a_frame_can_be_asked_as_well() -> None:
    trace = session()
    frame = trace.frame()
    assert list(frame.index[Condition("write CTRL.EN==1 or interrupt").rows(frame, trace.tables)]) == [4, 7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("write CTRL.EN=1", "'=1' is no word of a condition"),
        ("write CTRL ==", "== needs a number behind it"),
        ("(interrupt", "a ( is not closed"),
        ("interrupt)", "')' does not belong there"),
        ("interrupt and", "something is missing at its end"),
        ("interrupt doorbell", "interrupt and doorbell at once"),
        ("value", "value is a column; compare it"),
        ("dma 0x10..", "a number is needed at its end"),
    ],
)
def test_what_is_no_condition_is_told_why(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        Condition(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("write CTLR", "no register or device CTLR; did you mean CTRL?"),
        ("CTRL.MODE==walk", "CTRL.MODE has no value called walk; it has idle, run, halt"),
        ("write 0x10", "an address of what?"),
        ("interrupt read", "interrupt is no read"),
        ("value == many", "many is no number"),
    ],
)
def test_what_a_trace_does_not_have_is_told_when_it_is_asked(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        rows(text)
    assert said in str(error.value)


def test_every_hresult_has_its_name_in_conditions() -> None:
    trace = trace_of({"kind": Kind.mmio_read, "status": HResult.E_ACCESSDENIED.signed})
    assert Condition("status == E_ACCESSDENIED").holds(trace.columns(), TABLES).all()
