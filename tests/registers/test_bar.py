"""A BAR's description is checked when its class is made."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Bar, Register
from hdvlab.errors import RegisterError


def bar(*, options: dict[str, Any] | None = None, **registers: Any) -> type[Bar]:
    """Make a class ``bar0(Bar, **options)`` of these registers."""
    namespace: dict[str, Any] = dict(registers)
    return type(Bar)("bar0", (Bar,), namespace, **(options or {}))


@pytest.mark.parametrize("size", [0, 8, 15, 17, 100, 4095, -4096, 4096.0, "4k"])
def test_a_size_that_is_no_power_of_two_from_16_on_is_refused(size: Any) -> None:
    with pytest.raises(RegisterError, match=f"bar0: a BAR's size is a power of two, 16 bytes or more, not {size!r}"):
        bar(options={"size": size})


def test_a_32_bit_bar_of_4_gib_is_refused_with_the_remedy() -> None:
    with pytest.raises(RegisterError, match="0x100000000 bytes do not fit a 32-bit BAR; say bits=64"):
        bar(options={"size": 1 << 32})
    assert bar(options={"size": 1 << 31}).bar_size == 1 << 31
    assert bar(options={"size": 1 << 32, "bits": 64}).bar_size == 1 << 32


def test_a_bar_that_no_address_could_hold_is_refused() -> None:
    with pytest.raises(RegisterError, match="0x10000000000000000 bytes do not fit a BAR"):
        bar(options={"size": 1 << 64, "bits": 64})


def test_a_width_other_than_32_or_64_is_refused() -> None:
    with pytest.raises(RegisterError, match="bar0: a BAR has 32 or 64 bits, not 16"):
        bar(options={"bits": 16})


def test_a_register_past_the_end_is_refused_with_both_numbers() -> None:
    with pytest.raises(RegisterError, match="bar0 is 0x10 bytes long but LAST ends at 0x14"):
        bar(options={"size": 16}, FIRST=Register(0), LAST=Register(16))
    with pytest.raises(RegisterError, match="bar0 is 0x10 bytes long but LAST ends at 0x18"):
        bar(options={"size": 16}, LAST=Register(16, 64))


def test_registers_that_overlap_are_refused_with_both_names_and_places() -> None:
    with pytest.raises(RegisterError, match="bar0: WIDE ends at 0x8, behind the start of HIGH at 0x4"):
        bar(HIGH=Register(4), WIDE=Register(0, 64))


def test_the_same_register_under_two_names_is_refused() -> None:
    once = Register(0)
    with pytest.raises(RegisterError, match=r"bar0\.TWO is the register ONE again; give it one of its own"):
        bar(ONE=once, TWO=once)


@pytest.mark.parametrize(
    "name", ["on_read", "on_write", "map", "bits", "size", "read", "write", "address", "index", "registers", "_x"]
)
def test_a_register_name_that_would_be_hidden_is_refused(name: str) -> None:
    """On the guest's side ``bar0.size`` is the size, so a register of that name could never be reached."""
    with pytest.raises(RegisterError, match=f"bar0: '{name}' cannot be a register's name"):
        bar(**{name: Register(0)})


@pytest.mark.parametrize("name", ["read", "write", "modify", "register", "real", "to_bytes", "numerator"])
def test_a_field_name_that_would_be_hidden_is_refused(name: str) -> None:
    """A register's value is an int in the device: ``self.bar0.CTRL.real`` would be the number itself."""
    with pytest.raises(RegisterError, match=rf"bar0\.CTRL: '{name}' cannot be a field's name"):
        bar(CTRL=Register(0, fields={name: 0}))


def test_a_misspelt_register_in_a_decorator_is_refused_with_the_nearest() -> None:
    made = bar(DOORBELL=Register(0))
    with pytest.raises(RegisterError, match="bar0 has no register DORBELL; did you mean DOORBELL?"):
        made.DORBELL  # noqa: B018
    with pytest.raises(AttributeError):
        made.DORBELL  # noqa: B018


def test_a_derived_bar_has_its_parents_registers_size_and_width() -> None:
    parent = bar(options={"size": 8192, "bits": 64, "prefetchable": True}, CTRL=Register(0), STATUS=Register(4))

    class bar1(parent):
        MORE = Register(8)

    assert [register.name for register in bar1.map] == ["CTRL", "STATUS", "MORE"]
    assert (bar1.bar_size, bar1.bits, bar1.prefetchable) == (8192, 64, True)


def test_a_derived_bar_may_replace_a_register_and_its_own_size() -> None:
    parent = bar(options={"size": 4096}, CTRL=Register(0))

    class bar1(parent, size=8192):
        CTRL = Register(0x1000, 64)

    assert bar1.map["CTRL"].offset == 0x1000
    assert len(bar1.map) == 1


def test_a_derived_bar_that_collides_with_its_parent_is_refused() -> None:
    parent = bar(CTRL=Register(0))
    with pytest.raises(RegisterError, match="bar1: CTRL ends at 0x4, behind the start of NEW at 0x2"):

        class bar1(parent):
            NEW = Register(2, 16)
