"""Registers as the device sees them: ``self.bar0.CTRL.EN = 1``."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import numpy as np
import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import RegisterError
from hdvlab.registers import NoSuchRegisterError


class Blink(Device):
    vendor_id, device_id = 0x1234, 7

    class bar0(Bar):
        CTRL = Register(0x00, reset=0x80, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")
        BYTE = Register(0x08, 8)
        BIG = Register(0x10, 64)


@pytest.fixture
def state() -> Any:
    return Blink().bar0


def test_registers_are_there_at_their_reset_values_before_any_machine(state: Any) -> None:
    assert (state.CTRL, state.CTRL.EN, state.COUNT) == (0x80, 0, 0)


def test_a_field_is_stored_and_its_neighbours_stay(state: Any) -> None:
    state.CTRL.RATE = 0xF
    state.CTRL.EN = 1
    assert state.CTRL == 0x9F
    state.CTRL.RATE = 0
    assert state.CTRL == 0x81


def test_in_place_operators_work_on_registers_and_fields(state: Any) -> None:
    state.COUNT += 1
    state.COUNT += 1
    state.COUNT |= 0x10
    state.CTRL.RATE += 3
    state.CTRL.RATE -= 1
    assert (state.COUNT, state.CTRL.RATE) == (0x12, 2)


def test_access_modes_do_not_bind_the_device(state: Any) -> None:
    state.COUNT = 0xFFFF_FFFF
    assert state.COUNT == 0xFFFF_FFFF


def test_values_that_do_not_fit_are_refused_with_both_numbers(state: Any) -> None:
    for name, value, width in (("BYTE", 256, 8), ("COUNT", 1 << 32, 32), ("BIG", 1 << 64, 64), ("COUNT", -1, 32)):
        with pytest.raises(RegisterError, match=f"{name} is {width} bits wide; {value:#x} does not fit"):
            setattr(state, name, value)
    with pytest.raises(RegisterError, match="RATE is 4 bits wide; 0x10 does not fit"):
        state.CTRL.RATE = 16
    with pytest.raises(RegisterError, match="COUNT is 32 bits wide; -0x1 does not fit"):
        state.COUNT -= 1
    assert (state.BYTE, state.COUNT, state.BIG, state.CTRL) == (0, 0, 0, 0x80)


@pytest.mark.parametrize("value", [1.0, 1.7, "1", None, [1]])
def test_what_is_no_int_is_refused_and_never_rounded(state: Any, value: Any) -> None:
    with pytest.raises(RegisterError, match="COUNT holds an int, not"):
        state.COUNT = value
    with pytest.raises(RegisterError, match="RATE holds an int, not"):
        state.CTRL.RATE = value
    assert (state.COUNT, state.CTRL) == (0, 0x80)


def test_bools_and_numbers_of_numpy_are_ints(state: Any) -> None:
    state.CTRL.EN = True
    state.CTRL.RATE = np.uint8(3)
    state.COUNT = np.int64(5)
    assert (state.CTRL.EN, state.CTRL.RATE, state.COUNT) == (1, 3, 5)


def test_a_misspelt_register_or_field_says_what_there_is(state: Any) -> None:
    with pytest.raises(NoSuchRegisterError, match="bar0 has no register COUNTER; did you mean COUNT?"):
        state.COUNTER = 1
    with pytest.raises(AttributeError, match="bar0 has no register XYZ; it has CTRL, COUNT, BYTE, BIG"):
        state.XYZ  # noqa: B018
    with pytest.raises(NoSuchRegisterError, match="CTRL has no field ENABLE; it has EN, RATE"):
        state.CTRL.ENABLE = 1
    with pytest.raises(AttributeError, match="CTRL has no field ENABLE"):
        state.CTRL.ENABLE  # noqa: B018
    with pytest.raises(NoSuchRegisterError, match="COUNT has no field EN; it has none"):
        state.COUNT.EN = 1


def test_a_value_read_is_an_int_like_any_other(state: Any) -> None:
    state.COUNT = 6
    value = state.COUNT
    state.COUNT = 7
    assert (value, value * 2, f"{value:#x}", list(range(value))[-1]) == (6, 12, "0x6", 5)
    for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert (again, type(again)) == (6, int)


def test_the_state_shows_and_completes_its_registers(state: Any) -> None:
    state.COUNT = 0x20
    assert repr(state) == "<bar0: CTRL=0x80, COUNT=0x20, BYTE=0x0, BIG=0x0>"
    assert dir(state) == ["BIG", "BYTE", "COUNT", "CTRL"]


def test_the_device_and_the_guest_see_the_same_registers_and_the_devices_use_leaves_no_row(lab: Lab) -> None:
    plugged = lab.plug(Blink)
    state: Any = plugged.device.bar0
    plugged.bar0.CTRL.write(0x13)
    rows = len(lab.trace)
    assert (state.CTRL, state.CTRL.RATE) == (0x93, 9)
    state.COUNT = 44
    assert len(lab.trace) == rows
    assert plugged.bar0.COUNT.read() == 44


def test_stored_values_stay_readable_when_the_device_is_forgotten() -> None:
    kept = []
    for _ in range(50):
        state = Blink().bar0
        state.CTRL = 3
        kept.append(state)
    gc.collect()
    assert [int(state.CTRL) for state in kept] == [3] * 50
