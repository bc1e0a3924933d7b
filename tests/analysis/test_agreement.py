"""Two recordings of one run, with differences planted into one of them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from hdvlab.analysis.agreement import ACCESS_COLUMNS, DIFFERENCE_COLUMNS, Agreement, compare_accesses, df_accesses
from hdvlab.trace.schema import Kind, Origin

from ..plots.traces import trace_of

Row = dict[str, Any]


def run() -> list[Row]:
    """Reads and writes of a few registers, no two neighbours alike."""
    kinds = (Kind.mmio_write, Kind.mmio_read, Kind.mmio_write)
    return [{"kind": kinds[n % 3], "address": 8 * (n % 7), "value": n % 11, "t_ns": n} for n in range(100)]


def compared(change: Any, **how: Any) -> Agreement:
    changed = run()
    change(changed)
    return compare_accesses(trace_of(*run()).frame(), trace_of(*changed).frame(), **how)


def told(agreement: Agreement) -> list[tuple[int, int, str]]:
    return [tuple(row) for row in agreement.differences.itertuples(index=False)]


def test_two_recordings_of_one_run_agree_whatever_their_times() -> None:
    def later(rows: list[Row]) -> None:
        for row in rows:
            row["t_ns"] = row["t_ns"] * 3 + 1

    agreement = compared(later)
    assert agreement
    assert str(agreement) == "100 and 100 accesses, 0 differences"
    assert list(agreement.left.columns) == list(ACCESS_COLUMNS)
    assert list(agreement.differences.columns) == list(DIFFERENCE_COLUMNS)


@pytest.mark.parametrize(
    ("column", "other", "what"),
    [
        ("value", 99, "value"),
        ("size", 2, "size"),
        ("address", 0x100, "offset"),
        ("bar", 2, "bar"),
        ("kind", Kind.mmio_read, "operation"),
    ],
)
def test_one_access_that_differs_is_found_and_named(column: str, other: int, what: str) -> None:
    agreement = compared(lambda rows: rows[42].update({column: other}))
    assert not agreement
    assert told(agreement) == [(42, 42, what)]


def test_one_access_that_is_missing_is_one_difference_and_not_all_that_follow() -> None:
    agreement = compared(lambda rows: rows.pop(42))
    assert told(agreement) == [(42, 42, "only left")]


def test_one_access_too_many_is_one_difference() -> None:
    agreement = compared(lambda rows: rows.insert(42, {"kind": Kind.mmio_write, "address": 0x200, "value": 1}))
    assert told(agreement) == [(42, 42, "only right")]


def test_one_access_told_twice_is_one_difference() -> None:
    agreement = compared(lambda rows: rows.insert(42, dict(rows[42])))
    assert [what for _, _, what in told(agreement)] == ["only right"]


def test_two_accesses_in_the_other_order_are_a_difference() -> None:
    def swap(rows: list[Row]) -> None:
        rows[42], rows[43] = rows[43], rows[42]

    agreement = compared(swap)
    assert not agreement
    assert {what for _, _, what in told(agreement)} == {"only left", "only right"}


def test_several_differences_are_all_found() -> None:
    def spoil(rows: list[Row]) -> None:
        rows[90]["value"] = 99
        rows.pop(50)
        rows[10]["size"] = 1

    assert told(compared(spoil)) == [(10, 10, "size"), (50, 50, "only left"), (90, 89, "value")]


def test_a_recording_that_ends_early_lacks_its_end() -> None:
    def end(rows: list[Row]) -> None:
        del rows[98:]

    assert told(compared(end)) == [(98, 98, "only left"), (99, 98, "only left")]


def test_nothing_agrees_with_nothing_and_differs_from_something() -> None:
    nothing = trace_of({"kind": Kind.mark}).frame()
    assert compare_accesses(nothing, nothing)
    assert len(compare_accesses(nothing, trace_of(*run()).frame()).differences) == 100


def test_a_doorbell_is_a_write() -> None:
    def ring(rows: list[Row]) -> None:
        rows[42]["kind"] = Kind.doorbell

    assert run()[42]["kind"] == Kind.mmio_write
    assert compared(ring)


def test_the_neighbourhood_shows_both_sides_and_marks_the_access() -> None:
    text = compared(lambda rows: rows[42].update(value=0x99)).neighbourhood(around=1)
    assert text == (
        "difference 1 of 1: value\n"
        "left:\n"
        "         41  row        41  write BAR0+0x0030/4  0x00000008\n"
        ">        42  row        42  write BAR0+0x0000/4  0x00000009\n"
        "         43  row        43  read  BAR0+0x0008/4  0x0000000a\n"
        "right:\n"
        "         41  row        41  write BAR0+0x0030/4  0x00000008\n"
        ">        42  row        42  write BAR0+0x0000/4  0x00000099\n"
        "         43  row        43  read  BAR0+0x0008/4  0x0000000a"
    )


def test_a_missing_access_has_no_mark_on_the_side_that_lacks_it() -> None:
    left, _, right = compared(lambda rows: rows.pop(42)).neighbourhood(around=1).partition("right:")
    assert ">        42" in left
    assert ">" not in right


def test_stretches_that_one_side_cannot_know_are_left_out_and_counted() -> None:
    def answered_elsewhere(rows: list[Row]) -> None:
        rows[:] = [row for row in rows if row["address"] != 0x10]

    agreement = compared(answered_elsewhere, leave_out=[(0, 0x10, 0x18)])
    assert agreement
    assert agreement.left_out == (14, 0)
    assert "14 and 0 left out" in str(agreement)
    assert not compared(answered_elsewhere, leave_out=[(1, 0x10, 0x18)])


def test_a_recording_that_lost_rows_never_agrees() -> None:
    agreement = compared(lambda rows: rows.append({"kind": Kind.lost, "value": 7, "bar": -1}))
    assert not len(agreement.differences)
    assert not agreement
    assert agreement.lost == (0, 7)
    assert "0 and 7 rows lost" in str(agreement)


def test_only_the_guests_accesses_of_the_device_count() -> None:
    rows = trace_of(
        {"kind": Kind.mmio_write, "value": 1},
        {"kind": Kind.mmio_write, "value": 2, "device": 1},
        {"kind": Kind.config_write, "value": 3},
        {"kind": Kind.mmio_write, "value": 4},
        {"kind": Kind.mmio_write, "value": 5, "bar": -1},
    ).frame()
    assert list(df_accesses(rows, 0)["value"]) == [1, 4]
    origins = [Origin.guest, Origin.guest, Origin.guest, Origin.machine, Origin.guest]
    by_machine = rows.assign(
        origin=pd.Categorical.from_codes([int(one) for one in origins], dtype=rows["origin"].dtype)
    )
    assert list(df_accesses(by_machine)["value"]) == [1, 2]
    agreement = compare_accesses(rows, rows.iloc[1:2], devices=(0, 1))
    assert [what for _, _, what in told(agreement)] == ["value", "only left"]


def test_many_differences_far_apart_are_found_by_place_in_no_time() -> None:
    rows = [{"kind": Kind.mmio_write, "value": n % 5} for n in range(6000)]
    other = [dict(row) for row in rows]
    other[0]["value"] = other[-1]["value"] = 9
    agreement = compare_accesses(trace_of(*rows).frame(), trace_of(*other).frame())
    assert told(agreement) == [(0, 0, "value"), (5999, 5999, "value")]
