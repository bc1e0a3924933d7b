from __future__ import annotations

import pickle

import pytest

from hdvlab.commands.number import Value, parse_number, parse_size
from hdvlab.errors import UsageError


@pytest.mark.parametrize(
    ("text", "number"), [("31", 31), ("0x1f", 31), ("0b1_1111", 31), ("0o37", 31), ("1_000", 1000), ("0", 0)]
)
def test_numbers_are_read_as_people_write_them(text: str, number: int) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0x", "'0x' is no number; write 31, 0x1f or 0b1_1111"),
        ("ff", "'ff' is no number; write 31, 0x1f or 0b1_1111"),
        ("010", "'010' is no number; write 10 or 0x10"),
        ("-1", "-1 is negative; write the bits, for example 0xffffffff"),
    ],
)
def test_what_is_no_number_is_refused_with_a_way_to_write_it(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_number(text)
    assert str(error.value) == said


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64K", 65536), ("64MiB", 64 << 20), ("1g", 1 << 30)])
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_value_is_an_int_that_shows_itself_in_hexadecimal() -> None:
    value = Value(0x1F, "EN=1")
    assert repr(value) == "0x1f (EN=1)"
    assert f"{value}" == "0x1f"
    assert value + 1 == 32
    assert pickle.loads(pickle.dumps(value)).fields == "EN=1"
