"""Registers as datasheets draw them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab import Bar, Field, Register
from hdvlab.registers.diagram import cells, html_diagram, text_diagram

CTRL = Register(
    0x10,
    name="CTRL",
    reset=2,
    doc="<control>",
    fields={"EN": 0, "RATE": (1, 4), "MODE": Field(8, meanings={0: "slow", 1: "fast"}, doc="how <fast>")},
)


def test_a_register_is_drawn_from_its_highest_bit_with_its_gaps() -> None:
    assert CTRL.diagram(0x107).splitlines() == [
        "CTRL = 0x107 at 0x10, 32 bits, rw, reset 0x2: <control>",
        "+-------+------+------+------+----+",
        "| 31..9 |  8   | 7..5 | 4..1 | 0  |",
        "|   -   | MODE |  -   | RATE | EN |",
        "|       |  rw  |      |  rw  | rw |",
        "|       | fast |      |  3   | 1  |",
        "+-------+------+------+------+----+",
    ]
    assert "= " not in CTRL.diagram().splitlines()[0]


def test_a_register_without_fields_is_one_cell() -> None:
    plain = Register(0, 64, name="WIDE", access="ro")
    (cell,) = cells(plain, 5)
    assert (cell.bits, cell.name, cell.access, cell.value) == ("63..0", "WIDE", "ro", "0x5")


def test_the_html_has_no_script_no_fixed_colour_and_escapes_what_people_wrote() -> None:
    text = html_diagram(CTRL, 0x107)
    assert "<control>" not in text
    assert "&lt;control&gt;" in text
    assert 'title="how &lt;fast&gt;"' in text
    assert "<script" not in text
    assert set(re.findall(r"(?:color|background):(?!var\()([^;\"]*)", text)) == set()
    assert CTRL._repr_html_() == html_diagram(CTRL)


@given(st.lists(st.booleans(), min_size=32, max_size=32), st.integers(0, 2**32 - 1))
def test_the_cells_cover_each_bit_once_and_hold_the_value(cuts: list[bool], value: int) -> None:
    edges = [bit for bit, cut in enumerate(cuts) if cut]
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    register = Register(0, name="R", fields={f"F{low}": (low, high - low) for low, high in pairs})
    found = list(cells(register, value))
    assert [bit for one in found for bit in range(one.msb, one.lsb - 1, -1)] == list(range(31, -1, -1))
    for one in found:
        if one.name and one.name != "R":
            part = value >> one.lsb & ((1 << (one.msb - one.lsb + 1)) - 1)
            assert int(one.value, 0) == part
    assert text_diagram(register, value).count("\n") == 6


def test_a_map_is_a_table_of_its_registers() -> None:
    class bar0(Bar, size=4096):
        A = Register(0, fields={"LOW": 0})
        B = Register(4, doc="<b>")

    text = bar0.map._repr_html_()
    assert "LOW[0]" in text
    assert "&lt;b&gt;" in text


@pytest.mark.parametrize("value", [None, 0])
def test_drawing_never_fails_on_a_register_full_of_fields(value: int | None) -> None:
    full = Register(0, 8, name="FULL", fields={f"B{bit}": bit for bit in range(8)})
    assert [one.bits for one in cells(full, value)] == list("76543210")
