from __future__ import annotations

import pytest

from hdvlab import Lab, commands
from hdvlab.errors import AccessWarning, HdvError, StateError, UsageError


def test_peek_neither_touches_nor_leaves_a_row(lab: Lab) -> None:
    rows = len(lab.trace)
    assert commands.peek(lab, "EVENTS") == 0xFF
    assert commands.peek(lab, "EVENTS") == 0xFF
    assert commands.peek(lab, "config+0x0") == 0x00011234
    assert len(lab.trace) == rows


def test_peek_of_a_register_shows_its_fields(lab: Lab) -> None:
    commands.poke(lab, "CTRL=0x103")
    assert repr(commands.peek(lab, "CTRL")) == "0x103 (EN=1 RATE=1 MODE=fast)"
    assert repr(commands.peek(lab, "CTRL.MODE")) == "0x1 (fast)"
    assert repr(commands.peek(lab, "CTRL.RATE")) == "0x1"


def test_poke_of_a_field_keeps_the_others_and_runs_the_handler(lab: Lab) -> None:
    commands.poke(lab, "CTRL.RATE=5")
    poked = commands.poke(lab, "CTRL.EN = 1")
    assert repr(poked) == "CTRL.EN: 0x0 → 0x1"
    assert commands.peek(lab, "CTRL") == 1 | 5 << 1
    assert commands.peek(lab, "COUNT") == 1


def test_a_poke_is_a_row_of_the_user_and_needs_no_memory_decode(lab: Lab) -> None:
    commands.write(lab, "config+0x4", 0, size=2)
    commands.poke(lab, ["CTRL=1"])
    row = lab.trace.frame().iloc[-1]
    assert (row["kind"], row["origin"], row["value"]) == ("mmio_write", "user", 1)
    assert commands.peek(lab, "CTRL.EN") == 1


def test_several_pokes_are_done_in_their_order(lab: Lab) -> None:
    done = commands.poke(lab, ["CTRL.EN=1", "CTRL.EN=0", "WIDE=0x1_0000_0000"])
    assert repr(done) == "CTRL.EN: 0x0 → 0x1\nCTRL.EN: 0x1 → 0x0\nWIDE: 0x0 → 0x100000000"


def test_a_poke_that_the_device_drops_says_why(lab: Lab) -> None:
    with pytest.warns(AccessWarning, match="poke of blink COUNT had no effect: the register is read-only"):
        poked = commands.poke(lab, "COUNT=3")
    assert repr(poked) == "COUNT: 0x0, unchanged"


@pytest.mark.parametrize("text", ["CTRL", "CTRL=", "=1"])
def test_a_poke_without_both_sides_shows_how_it_is_written(lab: Lab, text: str) -> None:
    with pytest.raises(UsageError, match="write it as CTRL=1"):
        commands.poke(lab, text)


def test_poke_refuses_config_space_and_says_what_goes_there(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"write config\+0x4 6 goes over the bus"):
        commands.poke(lab, "config+0x4=6")


def test_read_has_its_side_effect_and_leaves_a_row_of_the_user(lab: Lab) -> None:
    assert commands.read(lab, "EVENTS") == 0xFF
    assert commands.read(lab, "EVENTS") == 0
    row = lab.trace.frame().iloc[-1]
    assert (row["kind"], row["origin"], row["address"]) == ("mmio_read", "user", 8)


def test_write_goes_over_the_bus_and_a_field_is_one_read_and_one_write(lab: Lab) -> None:
    commands.write(lab, "CTRL", "0x2")
    commands.write(lab, "CTRL.EN", "1")
    rows = lab.trace.frame().tail(3)
    assert list(rows["kind"]) == ["mmio_write", "mmio_read", "mmio_write"]
    assert list(rows["value"]) == [2, 2, 3]


def test_a_part_of_a_register_is_accessed_with_size(lab: Lab) -> None:
    commands.write(lab, "WIDE", 0x12, size=1)
    commands.write(lab, "bar0+0x14", 0x34, size=2)
    assert commands.read(lab, "WIDE") == 0x34_0000_0012
    assert commands.read(lab, "bar0+0x14", size=1) == 0x34
    assert commands.peek(lab, "WIDE", size=4) == 0x12


def test_a_read_that_nothing_answers_is_all_ones_and_says_why(lab: Lab) -> None:
    commands.write(lab, "config+0x4", 0, size=2)
    with pytest.warns(AccessWarning, match="read of blink CTRL answered all ones: nothing decodes that address"):
        assert commands.read(lab, "CTRL") == 0xFFFFFFFF


def test_config_space_is_accessed_within_a_dword(lab: Lab) -> None:
    assert commands.read(lab, "config+0x2", size=2) == 0x0001
    with pytest.raises(UsageError, match="within one dword"):
        commands.peek(lab, "config+0x2")
    with pytest.raises(HdvError, match="within one dword"):
        commands.read(lab, "config+0x2")


def test_peek_of_a_place_without_register_is_an_error(lab: Lab) -> None:
    with pytest.raises(HdvError, match="no register there"):
        commands.peek(lab, "bar0+0x100")


def test_on_a_machine_that_is_off_only_peek_works(lab: Lab) -> None:
    lab.stop()
    assert commands.peek(lab, "EVENTS") == 0xFF
    for access in (lambda: commands.read(lab, "CTRL"), lambda: commands.poke(lab, "CTRL=1")):
        with pytest.raises(StateError, match="%hdv start"):
            access()


@pytest.mark.parametrize("setting", ["CTRL.RATE 5", "CTRL.RATE=5", ["CTRL.RATE", "5"], "CTRL.RATE = 5"])
def test_a_poke_is_written_with_or_without_an_equals_sign(lab: Lab, setting: str | list[str]) -> None:
    commands.poke(lab, setting)
    assert commands.peek(lab, "CTRL.RATE") == 5


def test_a_write_is_written_with_or_without_an_equals_sign(lab: Lab) -> None:
    commands.write(lab, "CTRL.RATE=5")
    assert commands.peek(lab, "CTRL.RATE") == 5
    commands.write(lab, "CTRL.RATE", 6)
    assert commands.peek(lab, "CTRL.RATE") == 6
    for location, value in (("CTRL", None), ("CTRL=1", "2"), ("CTRL=", None)):
        with pytest.raises(UsageError, match="write takes one value; write %hdv write CTRL 1 or %hdv write CTRL=1"):
            commands.write(lab, location, value)


def test_looking_takes_no_value(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"^peek takes no value; write %hdv peek CTRL, or %hdv write CTRL 1$"):
        commands.peek(lab, "CTRL=")
    with pytest.raises(UsageError, match=r"^read takes no value; write %hdv read CTRL, or %hdv write CTRL 5$"):
        commands.read(lab, "CTRL=5")
