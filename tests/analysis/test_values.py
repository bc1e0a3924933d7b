"""What registers held."""

import numpy as np

from hdvlab.analysis.values import SEGMENT_COLUMNS, VALUE_COLUMNS, df_segments, df_values
from hdvlab.registers import Field, Register
from hdvlab.trace.schema import E_PENDING, Kind

from ..plots.traces import E_FAIL, trace_of

READ, WRITE = Kind.mmio_read, Kind.mmio_write


def held(register: Register, *accesses: tuple[Kind, int, int, int]):
    """Values after accesses, each given as kind, offset, bytes and value, 10 ns apart."""
    rows = [
        {"kind": kind, "address": offset, "size": size, "value": value, "t_ns": 10 * place}
        for place, (kind, offset, size, value) in enumerate(accesses)
    ]
    return df_values(trace_of(*rows).frame(), 0, 0, register)


def test_reads_and_writes_of_a_plain_register_tell_its_value() -> None:
    values = held(Register(0x10, name="R"), (WRITE, 0x10, 4, 5), (READ, 0x14, 4, 9), (READ, 0x10, 4, 6))
    assert list(values.columns) == list(VALUE_COLUMNS)
    assert list(values.index) == [0, 2]
    assert list(values["value"]) == [5, 6]
    assert list(values["written"]) == [True, False]


def test_a_write_of_one_to_clear_is_no_value() -> None:
    status = Register(0, access="w1c", name="STATUS")
    assert list(held(status, (READ, 0, 4, 3), (WRITE, 0, 4, 1), (READ, 0, 4, 2))["value"]) == [3, 2]


def test_a_write_tells_only_the_bits_that_it_stores() -> None:
    mixed = Register(0, fields={"EN": 0, "DONE": Field(1, access="w1c"), "ID": Field(8, 8, access="ro")}, name="MIXED")
    values = held(mixed, (READ, 0, 4, 0x4202), (WRITE, 0, 4, 0xFF03), (READ, 0, 4, 0x4201))
    assert list(values["value"]) == [0x4202, 0x4203, 0x4201]


def test_a_write_only_register_is_known_from_writes() -> None:
    values = held(Register(0, access="wo", name="GO"), (WRITE, 0, 4, 7), (READ, 0, 4, 0xFFFFFFFF))
    assert list(values["value"]) == [7]


def test_narrow_accesses_keep_the_bytes_they_do_not_touch() -> None:
    wide = Register(0, 64, name="WIDE")
    values = held(wide, (WRITE, 0, 8, 0x1122334455667788), (WRITE, 4, 4, 0xAABBCCDD), (WRITE, 1, 1, 0xEE))
    assert [hex(value) for value in values["value"]] == [
        "0x1122334455667788",
        "0xaabbccdd55667788",
        "0xaabbccdd5566ee88",
    ]


def test_a_narrow_write_to_a_register_that_takes_the_low_bytes_replaces_it_all() -> None:
    low = Register(0, 32, narrow="low", name="LOW")
    assert list(held(low, (WRITE, 0, 4, 0x11223344), (WRITE, 0, 1, 0x55))["value"]) == [0x11223344, 0x55]


def test_an_access_wider_than_the_register_tells_its_part() -> None:
    assert list(held(Register(4, name="UPPER"), (WRITE, 0, 8, 0x1_0000_0002))["value"]) == [1]


def test_bits_that_nothing_tells_count_as_their_reset_value() -> None:
    values = held(Register(0, reset=0xAB00, fields={"A": (0, 8), "B": (8, 8)}, name="R"), (WRITE, 0, 1, 0xCD))
    assert list(values["value"]) == [0xABCD]


def test_failed_and_pending_accesses_tell_nothing() -> None:
    rows = trace_of(
        {"kind": READ, "value": 1}, {"kind": READ, "value": 2, "status": E_FAIL}, {"kind": READ, "status": E_PENDING}
    )
    assert list(df_values(rows.frame(), 0, 0, Register(0, name="R"))["value"]) == [1]


def test_segments_join_equal_values_and_the_last_lasts_to_the_end() -> None:
    values = held(Register(0, name="R"), *((READ, 0, 4, value) for value in (1, 1, 2, 2, 3)))
    segments = df_segments(values, 0, 100)
    assert list(segments.columns) == list(SEGMENT_COLUMNS)
    assert list(segments["t_ns"]) == [0, 20, 40]
    assert list(segments["end_ns"]) == [20, 40, 100]
    assert list(segments["value"]) == [1, 2, 3]


def test_segments_of_a_field_follow_its_bits_alone() -> None:
    values = held(Register(0, name="R"), *((READ, 0, 4, value) for value in (0b001, 0b101, 0b111, 0b110)))
    assert list(df_segments(values, 0, 40, Field(1, 2))["value"]) == [0b00, 0b10, 0b11]


def test_a_stretch_begins_with_the_value_known_before_it() -> None:
    values = held(Register(0, name="R"), *((READ, 0, 4, value) for value in (1, 2, 3, 4)))
    segments = df_segments(values, 25, 40)
    assert list(segments["value"]) == [3, 4]
    assert segments["t_ns"][0] == 20


def test_values_that_come_and_go_within_a_cell_are_one_segment_that_counts_them() -> None:
    fast = [(READ, 0, 4, value % 7) for value in range(1_000)]
    segments = df_segments(held(Register(0, name="R"), *fast), 0, 1_000_000, cells=100)
    assert list(segments["changes"]) == [999, 1]
    assert segments["value"].iloc[-1] == 999 % 7
    assert segments["end_ns"].iloc[-1] == 1_000_000


def test_segments_are_bounded_and_cover_the_time_without_a_gap() -> None:
    random = np.random.default_rng(5)
    noise = [(READ, 0, 4, int(value)) for value in random.integers(0, 9, 5_000)]
    segments = df_segments(held(Register(0, name="R"), *noise), 0, 50_000, cells=50)
    assert len(segments) <= 100
    assert (segments["t_ns"].to_numpy()[1:] == segments["end_ns"].to_numpy()[:-1]).all()


def test_nothing_known_gives_no_segments() -> None:
    assert df_segments(held(Register(0, name="R")), 0, 100).empty
