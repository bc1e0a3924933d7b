from __future__ import annotations

import pytest

from hdvlab import Device, Lab
from hdvlab.commands.location import completions, find
from hdvlab.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CTRL", (0, 0x00, 4, "CTRL")),
        ("blink.CTRL", (0, 0x00, 4, "CTRL")),
        ("bar0.CTRL", (0, 0x00, 4, "CTRL")),
        ("CTRL.EN", (0, 0x00, 4, "CTRL.EN")),
        ("blink.CTRL.EN", (0, 0x00, 4, "CTRL.EN")),
        ("WIDE", (0, 0x10, 8, "WIDE")),
        ("bar0+0x10", (0, 0x10, 4, "bar0+0x10")),
        ("BAR0 + 16", (0, 0x10, 4, "bar0+0x10")),
        ("blink.bar0+0b1_0000", (0, 0x10, 4, "bar0+0x10")),
        ("config+0x4", (None, 0x04, 4, "config+0x4")),
        ("blink.config+4", (None, 0x04, 4, "config+0x4")),
    ],
)
def test_every_spelling_finds_its_place(lab: Lab, text: str, expected: tuple[int | None, int, int, str]) -> None:
    place = find(lab, text)
    assert (place.bar, place.offset, place.size, place.name) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CTLR", "no register CTLR; did you mean CTRL?"),
        ("ctrl.en", "no register ctrl.en; did you mean CTRL.EN?"),
        ("CTRL.ENN", "CTRL has no field ENN; did you mean EN?"),
        ("COUNT.EN", "COUNT has no field EN; it has none"),
        ("blink.CUONT", "blink has no register CUONT; did you mean COUNT?"),
        ("nothing", "no register nothing; there is CTRL, COUNT, EVENTS, WIDE"),
        ("bar0", "bar0 is no place by itself; write bar0+0x10"),
        ("blink.bar0", "blink.bar0 is no place by itself; write blink.bar0+0x10"),
        ("blink.foo", "blink has no register foo; there is CTRL, CTRL.EN, CTRL.RATE, CTRL.MODE, COUNT, EVENTS, WIDE"),
        ("bar1+0", "blink has no bar1; there is bar0"),
        ("link.bar0+0", "no device link is plugged in; did you mean blink?"),
        ("bar0+0xffe", "bar0 of blink is 0x1000 bytes long; 0xffe/4 is outside it"),
        ("bar0+zz", "'zz' is no number; write 31, 0x1f or 0b1_1111"),
    ],
)
def test_a_wrong_place_is_answered_with_the_nearest_right_one(lab: Lab, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        find(lab, text)
    assert str(error.value) == said


def test_a_register_that_two_devices_have_needs_its_device(lab: Lab, blink: type[Device]) -> None:
    lab.plug(blink, name="other")
    with pytest.raises(UsageError, match=r"^CTRL.EN is ambiguous; say which: blink.CTRL.EN or other.CTRL.EN$"):
        find(lab, "CTRL.EN")
    with pytest.raises(UsageError, match=r"^say which device: blink.bar0\+0x4 or other.bar0\+0x4$"):
        find(lab, "bar0+0x4")
    assert find(lab, "other.CTRL").plugged is lab["other"]


def test_without_devices_the_message_says_how_to_get_one() -> None:
    with Lab() as empty, pytest.raises(UsageError, match="%hdv plug edu for a first one"):
        find(empty, "CTRL")


def test_completions_are_what_find_takes(lab: Lab, blink: type[Device]) -> None:
    assert {"CTRL", "CTRL.EN", "bar0+0x", "config+0x"} <= set(completions(lab))
    assert "blink.CTRL" not in set(completions(lab))
    assert {"CTRL", "blink.CTRL.EN", "blink.bar0+0x"} <= set(completions(lab, full=True))
    lab.plug(blink, name="other")
    names = [word for word in completions(lab) if not word.endswith("+0x")]
    assert "CTRL" not in names
    assert "other.CTRL.MODE" in names
    for name in names:
        assert find(lab, name).register is not None


def test_a_value_must_fit_its_place_and_may_be_what_the_field_calls_it(lab: Lab) -> None:
    assert find(lab, "CTRL").parse_value("0xff_ff") == 0xFFFF
    assert find(lab, "CTRL.MODE").parse_value("fast") == 1
    with pytest.raises(UsageError, match=r"^CTRL.EN is 1 bit wide; 0x2 does not fit$"):
        find(lab, "CTRL.EN").parse_value("2")
    with pytest.raises(UsageError, match=r"^CTRL.MODE: 'quick' is no number; .* \(slow, fast\)$"):
        find(lab, "CTRL.MODE").parse_value("quick")


def test_a_field_is_not_accessed_in_part(lab: Lab) -> None:
    assert find(lab, "CTRL", 2).size == 2
    with pytest.raises(UsageError, match="CTRL.EN is a field"):
        find(lab, "CTRL.EN", 2)
