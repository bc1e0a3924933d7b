from __future__ import annotations

import pytest

from hdvlab import Device, Lab, commands
from hdvlab.commands.parser import HelpWanted, verb_parser
from hdvlab.commands.plugging import library, pluggable
from hdvlab.device import RemoteDevice
from hdvlab.errors import HdvError, UsageError

#: What comes with hdvlab.
KNOWN = "edu, nvme, ring, virtio.blk, virtio.rng, edu.c"


def test_a_name_means_the_persons_class_before_the_librarys(blink: type[Device]) -> None:
    with Lab() as lab:
        assert type(commands.plug(lab, "edu", namespace={"edu": blink}).device) is blink
        assert commands.plug(lab, "edu").device.device_id == 0x11E8
        assert commands.plug(lab, "Edu", name="second").name == "second"


def test_a_device_object_is_plugged_in_under_its_own_name(blink: type[Device]) -> None:
    left, right = blink(), blink()
    with Lab() as lab:
        names = {"left": left, "Right": right}
        commands.plug(lab, "left", namespace=names)
        commands.plug(lab, "Right", namespace=names)
        assert (lab["left"].device, lab["right"].device) == (left, right)


def test_a_remote_device_is_one_that_can_be_plugged(lab: Lab, blink: type[Device]) -> None:
    far = RemoteDevice(blink)
    assert "far" in pluggable({"far": far})
    with pytest.raises(HdvError, match=r"find far: no process has that device; call lab\.broker"):
        commands.plug(lab, "far", namespace={"far": far})


def test_plugging_a_class_again_swaps_the_device(lab: Lab, blink: type[Device]) -> None:
    commands.poke(lab, "CTRL=1")
    commands.plug(lab, blink)
    assert [one.slot for one in lab] == [1]
    assert commands.peek(lab, "COUNT") == 0


def test_configuration_and_slot_reach_the_device() -> None:
    with Lab() as lab:
        plugged = commands.plug(lab, "edu", slot=5, config=["dma_delay_ms=2"])
        assert plugged.address == "00:05.0"
        assert plugged.device.configuration == {"dma_delay_ms": "2"}
        with pytest.raises(UsageError, match="--config fast: write key=value"):
            commands.plug(lab, "edu", config=["fast"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Blnk", "no device Blnk; did you mean Blink?"),
        ("number", f"number is 3, no device; derive a class from hdvlab.Device, or take one of Blink, {KNOWN}"),
        ("Text", f"Text is no device; derive a class from hdvlab.Device, or take one of Blink, {KNOWN}"),
    ],
)
def test_what_is_no_device_is_refused_with_what_is(lab: Lab, blink: type[Device], name: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        commands.plug(lab, name, namespace={"Blink": blink, "number": 3, "Text": str})
    assert str(error.value) == said


def test_unplug_names_the_nearest_device(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"^no device blinc is plugged in; did you mean blink\?$"):
        commands.unplug(lab, "blinc")
    commands.unplug(lab, "blink")
    assert list(lab) == []


def test_the_library_is_pluggable_after_the_persons_own(blink: type[Device]) -> None:
    assert library() == ["edu", "nvme", "ring", "virtio"]
    assert pluggable({"Blink": blink, "_Hidden": blink, "x": 1, "Device": Device}) == ["Blink", *KNOWN.split(", ")]


def test_plugging_what_is_nowhere_says_that_its_cell_was_not_run(lab: Lab) -> None:
    with pytest.raises(UsageError) as error:
        commands.plug(lab, "Nope", namespace={})
    assert str(error.value) == f"no device Nope; run the cell that defines the class first, or take one of {KNOWN}"


def test_unplug_confirms_and_says_when_there_is_nothing(lab: Lab) -> None:
    assert repr(commands.unplug(lab, "blink")) == "blink is unplugged; slot 1 is free"
    for look in (commands.unplug, commands.regs):
        with pytest.raises(UsageError, match=r"^no device blink is plugged in; nothing is plugged in$"):
            look(lab, "blink")


def test_help_and_message_agree_on_the_slots(lab: Lab, blink: type[Device]) -> None:
    assert commands.plug(lab, blink, name="zero", slot=0).address == "00:00.0"
    with pytest.raises(UsageError, match="slots are 0 to 31"):
        commands.plug(lab, blink, name="late", slot=32)
    with pytest.raises(HelpWanted, match="0 to 31; the first free one from 1"):
        verb_parser("plug").parse_words(["--help"])
