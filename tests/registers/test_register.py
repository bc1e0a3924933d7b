"""A register's description: what is refused, and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Field, Register
from hdvlab.errors import HResult, RegisterError
from hdvlab.registers import Access, BitMasks


def named(*arguments: Any, **options: Any) -> Register:
    """A register CTRL whose description has been checked."""
    register = Register(*arguments, name="CTRL", **options)
    register.check()
    return register


@pytest.mark.parametrize("width", [0, 1, 7, 24, 128, -32, 32.5, "32"])
def test_a_width_that_no_register_has_is_refused_with_the_widths_there_are(width: Any) -> None:
    with pytest.raises(RegisterError, match=rf"^CTRL is {width} bits wide; a register has 8, 16, 32 or 64$"):
        named(0, width)


def test_an_offset_that_is_not_a_multiple_of_the_size_is_refused_with_both_numbers() -> None:
    with pytest.raises(RegisterError, match="CTRL is 4 bytes wide; its offset 0x6 is not a multiple"):
        named(6)
    with pytest.raises(RegisterError, match="CTRL is 8 bytes wide; its offset 0xc"):
        named(12, 64)
    assert named(6, 16).end == 8


@pytest.mark.parametrize("offset", [-4, "0", 4.0, None, True])
def test_an_offset_that_is_no_number_of_bytes_is_refused(offset: Any) -> None:
    with pytest.raises(RegisterError, match=f"number of bytes from the BAR's start, not {offset!r}"):
        named(offset)


@pytest.mark.parametrize(("width", "reset"), [(8, 256), (32, 1 << 32), (64, 1 << 64), (16, -1), (32, "1"), (32, True)])
def test_a_reset_value_that_does_not_fit_is_refused_with_width_and_value(width: int, reset: Any) -> None:
    with pytest.raises(RegisterError, match=f"CTRL is {width} bits wide; its reset value {reset!r} does not fit"):
        named(0, width, reset=reset)


def test_the_largest_reset_value_fits() -> None:
    assert named(0, 64, reset=(1 << 64) - 1).reset == (1 << 64) - 1


@pytest.mark.parametrize("access", ["rx", "", "RW", None, 3])
def test_an_unknown_access_mode_is_refused_with_those_there_are(access: Any) -> None:
    with pytest.raises(RegisterError, match=r"CTRL: access .* is not one of rw, ro, wo, w1c, w1s, rc"):
        named(0, access=access)


def test_an_unknown_access_mode_of_a_field_names_the_field() -> None:
    with pytest.raises(RegisterError, match=r"CTRL\.EN: access 'w' is not one of"):
        named(0, fields={"EN": Field(0, access="w")})


def test_fields_that_are_too_wide_are_refused_with_both_numbers() -> None:
    with pytest.raises(RegisterError, match="CTRL is 32 bits wide but its fields cover 33"):
        named(0, fields={"EN": 0, "BIG": (1, 32)})


def test_fields_that_overlap_are_refused_with_the_bit_and_both_names() -> None:
    with pytest.raises(RegisterError, match="CTRL: bit 4 is in both RATE and MODE"):
        named(0, fields={"RATE": (1, 4), "MODE": (4, 2)})


def test_fields_that_touch_are_accepted() -> None:
    assert named(0, 8, fields={"LOW": (0, 4), "HIGH": (4, 4)}).decode(0xA5) == {"LOW": 5, "HIGH": 0xA}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("3", r"write a bit number, \(lsb, width\) or Field"),
        (True, r"write a bit number"),
        ((1, 2, 3), r"a tuple is \(lsb, width\)"),
        ((1, "2"), r"a tuple is \(lsb, width\)"),
        (-1, r"lsb -1 and width 1 describe no bits"),
        ((0, 0), r"lsb 0 and width 0 describe no bits"),
        (Field("0"), r"lsb '0' and width 1 are numbers of bits"),
        (Field(0, 1.5), r"lsb 0 and width 1.5 are numbers of bits"),
    ],
)
def test_a_field_written_wrongly_is_refused_with_its_name(given: Any, message: str) -> None:
    with pytest.raises(RegisterError, match=rf"CTRL\.EN: {message}"):
        named(0, fields={"EN": given})


@pytest.mark.parametrize("name", ["_EN", "E N", "", "3X"])
def test_a_field_name_that_python_could_not_write_is_refused(name: str) -> None:
    with pytest.raises(RegisterError, match="cannot be a field's name"):
        named(0, fields={name: 0})


def test_fields_that_are_no_mapping_are_refused_with_an_example() -> None:
    with pytest.raises(RegisterError, match=r"fields are given as \{'EN': 0"):
        named(0, fields=["EN"])


@pytest.mark.parametrize("sizes", [[3], [4, 16], [], [0], 4, ["4"], [None]])
def test_access_sizes_other_than_1_2_4_and_8_are_refused(sizes: Any) -> None:
    with pytest.raises(RegisterError, match="CTRL: access sizes are"):
        named(0, access_sizes=sizes)


def test_access_sizes_may_come_from_any_iterable() -> None:
    assert named(0, access_sizes=(size for size in (4, 8))).access_sizes == {4, 8}


def test_an_unknown_way_of_narrow_accesses_is_refused() -> None:
    with pytest.raises(RegisterError, match="narrow is 'merge' or 'low', not 'wide'"):
        named(0, narrow="wide")


def test_a_decorator_on_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(RegisterError, match="on_write decorates a function, not 3"):
        named(0).on_write(3)


def test_the_error_is_a_type_error_and_carries_its_hresult() -> None:
    with pytest.raises(TypeError) as caught:
        named(0, 24)
    assert isinstance(caught.value, RegisterError)
    assert caught.value.hresult == HResult.E_INVALIDARG


def test_each_access_mode_has_its_masks() -> None:
    whole = 0xFF
    masks = {access: named(0, 8, access=access).masks for access in Access}
    assert masks == {
        Access.RW: BitMasks(read=whole, write=whole),
        Access.RO: BitMasks(read=whole),
        Access.WO: BitMasks(write=whole),
        Access.W1C: BitMasks(read=whole, write_one_to_clear=whole),
        Access.W1S: BitMasks(read=whole, write_one_to_set=whole),
        Access.RC: BitMasks(read=whole, read_to_clear=whole),
    }


def test_bits_without_a_field_are_reserved_and_read_only() -> None:
    register = named(0, 8, fields={"EN": 0, "DONE": Field(3, access="w1c"), "KEY": Field(4, 2, access="wo")})
    assert register.masks == BitMasks(read=0b1100_1111, write=0b0011_0001, write_one_to_clear=0b1000)


def test_a_field_describes_its_value_by_its_meaning() -> None:
    register = named(0, fields={"BUSY": Field(0, meanings={0: "idle", 1: "busy"}), "RATE": (4, 8)})
    assert register.describe(0x0A1) == "BUSY=busy RATE=0xa"
    assert register.describe(0x030) == "BUSY=idle RATE=3"


def test_a_field_refuses_a_value_that_does_not_fit_with_both_numbers() -> None:
    rate = named(0, fields={"RATE": (1, 4)}).fields["RATE"]
    assert rate.insert(0xFFFF_FFFF, 0) == 0xFFFF_FFE1
    for part in (16, -1):
        with pytest.raises(RegisterError, match=f"RATE is 4 bits wide; {part:#x} does not fit"):
            rate.insert(0, part)
