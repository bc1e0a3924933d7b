from __future__ import annotations

import pytest

from hdvlab import Lab
from hdvlab.errors import UsageError
from hdvlab.stepping.place import find_place
from hdvlab.trace.schema import Kind

from .blink import Bleep, Blink


@pytest.fixture
def devices(lab: Lab) -> Lab:
    lab.plug(Blink)
    lab.plug(Bleep)
    return lab


@pytest.mark.parametrize(
    ("text", "device", "bar", "first", "last", "value", "mask"),
    [
        ("COUNT", "blink", 0, 4, 7, 0, 0),
        ("blink.CTRL", "blink", 0, 0, 3, 0, 0),
        ("blink.bar0.CTRL.RATE", "blink", 0, 0, 0, 0, 0),
        ("blink.CTRL.MODE==fast", "blink", 0, 0, 1, 0x100, 0x100),
        ("COUNT=3", "blink", 0, 4, 7, 3, 0xFFFF_FFFF),
        ("blink.bar0+0x10..0x1f", "blink", 0, 0x10, 0x1F, 0, 0),
        ("bleep.bar0", "bleep", 0, 0, 0xFFF, 0, 0),
        ("blink.config+0x4", "blink", -1, 4, 7, 0, 0),
        ("dma 0x1000..0x1fff", None, -1, 0x1000, 0x1FFF, 0, 0),
        ("blink.reset", "blink", -1, 0, (1 << 64) - 1, 0, 0),
    ],
)
def test_a_place_is_found_by_its_name(
    devices: Lab, text: str, device: str | None, bar: int, first: int, last: int, value: int, mask: int
) -> None:
    place = find_place(text, devices)
    assert (place.device, place.bar, place.first, place.last) == (device, bar, first, last)
    assert (place.value, place.mask) == (value, mask)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("blink.CTRL", {Kind.mmio_read, Kind.mmio_write, Kind.doorbell}),
        ("dma", {Kind.dma_read, Kind.dma_write}),
        ("dma_write", {Kind.dma_write}),
        ("interrupt", {Kind.interrupt}),
        ("doorbell", {Kind.doorbell}),
        ("start", {Kind.start}),
        ("blink.config", {Kind.config_read, Kind.config_write}),
    ],
)
def test_a_place_says_what_happens_there(devices: Lab, text: str, kinds: set[Kind]) -> None:
    assert find_place(text, devices).kinds == kinds


def test_reads_and_writes_can_be_told_apart(devices: Lab) -> None:
    assert find_place("COUNT", devices, access="r").kinds == {Kind.mmio_read}
    assert find_place("COUNT", devices, access="w").kinds == {Kind.mmio_write, Kind.doorbell}


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("CTRL", {}, "CTRL is ambiguous; say which: blink.bar0.CTRL or bleep.bar0.CTRL"),
        ("CUONT", {}, "no register CUONT; did you mean COUNT?"),
        ("blink.CTRL.ENN", {}, "did you mean CTRL.EN?"),
        ("interupt", {}, "did you mean interrupt?"),
        ("blink.CTRL.MODE==quick", {}, "'quick' is no number; write 31, 0x1f or 0b1_1111 (slow, fast)"),
        ("blink.CTRL.EN==2", {}, "is 1 bit wide; 0x2 does not fit"),
        ("bar0+0x10", {}, "say which device: blink.bar0+0x10 or bleep.bar0+0x10"),
        ("blink.bar0+0x1000", {}, "0x1000 is outside it"),
        ("blink.bar1", {}, "blink has no bar1; there is bar0"),
        ("blink.bar0+8..4", {}, "write the lower one first"),
        ("COUNT", {"device": "blnk"}, "no device blnk is plugged in; did you mean blink?"),
        ("COUNT", {"kind": "dma"}, "COUNT is never of kind dma"),
        ("interrupt", {"access": "r"}, "interrupt has no reads"),
        ("mark", {}, "nothing stops at mark"),
    ],
)
def test_what_is_no_place_says_what_to_write(devices: Lab, text: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_place(text, devices, **given)
    assert said in caught.value.message


def test_a_device_tells_registers_of_one_name_apart(devices: Lab) -> None:
    assert find_place("CTRL", devices, device="bleep").device == "bleep"
