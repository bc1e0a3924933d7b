"""Plugging, swapping, unplugging, powering: what stays, what goes, and that nothing leaks."""

from __future__ import annotations

import gc
import os
import threading
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register, Trace
from hdvlab._core import lib
from hdvlab.errors import StateError, UsageError

from ..labs import PATIENCE
from .blink import Blink


def test_plugging_powers_the_machine_on_and_takes_the_first_free_slot(lab: Lab) -> None:
    assert not lab.running
    one, other = lab.plug(Blink), lab.plug(Blink, name="other")
    assert lab.running
    assert (one.address, other.address) == ("00:01.0", "00:02.0")
    assert (one.name, "blink" in lab, [plugged.name for plugged in lab]) == ("blink", True, ["blink", "other"])
    assert repr(lab).startswith("<Lab: machine on, blink, other,")


def test_plugging_the_same_name_swaps_the_device_in_place(lab: Lab) -> None:
    first = lab.plug(Blink)
    first.bar0.CTRL.write(0x21)
    place = first.bar0.address
    lab.plug(Blink, name="other")

    class Better(Blink):
        device_id = 0x41

    second = lab.plug(Better, name="blink")
    assert (second.slot, second.bar0.address) == (first.slot, place)
    assert second.on().config_read(0) == 0x0041_1234
    assert second.bar0.CTRL.read() == 0x10
    assert lab["other"].bar0.CTRL.read() == 0x10, "the other one ran on"
    with pytest.raises(StateError, match="blink: the machine is off"):
        first.on()


def test_the_same_device_again_keeps_its_number_in_the_trace_and_another_gets_its_own(lab: Lab) -> None:
    first = lab.plug(Blink)
    again = lab.plug(Blink)

    class More(Blink):
        class bar0(Blink.bar0):
            MORE = Register(0x40)

    changed = lab.plug(More, name="blink")
    assert first.index == again.index != changed.index
    assert [info.name for info in lab.trace.devices] == ["blink", "blink"]
    changed.bar0.MORE.read()
    assert lab.trace.frame(decode=True)["register"].iloc[-1] == "MORE"


def test_a_running_program_sees_a_swapped_device_as_gone(lab: Lab) -> None:
    lab.plug(Blink)
    swapped, seen = threading.Event(), threading.Event()

    def driver(guest: Any) -> list[int]:
        before = guest["blink"].bar0.CTRL.read()
        seen.set()
        assert swapped.wait(PATIENCE)
        return [before, guest["blink"].bar0.CTRL.read(), guest["blink"].config_read(0)]

    run = lab.run(driver, wait=False)
    assert seen.wait(PATIENCE)
    lab.unplug("blink")
    swapped.set()
    assert run.program is not None
    assert run.program.result() == [0x10, 0xFFFF_FFFF, 0xFFFF_FFFF]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "two words"}, "'two words' cannot be a device's name; use letters, digits and _"),
        ({"name": "1st"}, "cannot be a device's name"),
        ({"slot": 32}, "slot 32: slots are 0 to 31"),
        ({"slot": -1}, "slot -1: slots are 0 to 31"),
        ({"slot": 1}, "slot 1: blink is in it"),
    ],
)
def test_a_name_or_slot_that_cannot_be_is_refused(lab: Lab, options: dict[str, Any], message: str) -> None:
    lab.plug(Blink)
    with pytest.raises(UsageError, match=message):
        lab.plug(Blink, **{"name": "other", **options})
    assert [plugged.name for plugged in lab] == ["blink"]


def test_what_is_no_device_is_refused_with_what_to_do(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"Bar is no device; derive it from hdvlab\.Device"):
        lab.plug(Bar)
    with pytest.raises(StateError, match="Device is to be subclassed"):
        lab.plug(Device)


def test_asking_for_what_is_not_plugged_in_says_what_is(lab: Lab) -> None:
    with pytest.raises(UsageError, match="no device 'blink' is plugged in; there is nothing"):
        lab["blink"]
    lab.plug(Blink)
    with pytest.raises(UsageError, match="no device 'blonk' is plugged in; there is blink"):
        lab.unplug("blonk")


def test_a_device_plugged_into_a_machine_that_is_off_waits_for_it(lab: Lab) -> None:
    lab.plug(Blink)
    lab.stop()
    assert lab["blink"].function is None
    lab.unplug("blink")
    assert list(lab) == []
    lab.start()
    assert lab.running


@pytest.mark.fault(43)
def test_many_power_cycles_and_swaps_leave_nothing_behind(lab: Lab) -> None:
    class Busy(Blink):
        def start(self) -> None:
            self.bell = self.doorbell(0x100)
            self.pages = self.section(0, 4096, bar=3)
            self.after(60, print)
            self.spawn(self.stopping.wait)

        class bar3(Bar):
            pass

    def used() -> tuple[int, int, int]:
        return lib.hdvlab_live_handles(), len(os.listdir("/proc/self/fd")), threading.active_count()

    lab.plug(Busy)
    lab.stop()
    lab.start()
    lab.stop()
    before = used()
    for _ in range(15):
        lab.start()
        for _ in range(3):
            lab.plug(Busy)
        lab.stop()
        assert lab["busy"].device.join_work(PATIENCE) == []
    gc.collect()
    assert used() == before


@pytest.mark.fault(43)
def test_many_swaps_in_a_running_machine_leave_nothing_behind(lab: Lab) -> None:
    device: Device | None = Blink()
    lab.plug(device)
    before = lib.hdvlab_live_handles()
    for _ in range(20):
        lab.unplug("blink")
        lab.plug(device)
    device = None
    gc.collect()
    assert lib.hdvlab_live_handles() == before


@pytest.mark.fault(43)
def test_a_closed_lab_gives_its_devices_free_for_another(lab: Lab) -> None:
    device = Blink()
    with Lab() as first:
        first.plug(device)
    first.close()
    lab.plug(device, name="again")
    assert lab["again"].bar0.CTRL.read() == 0x10
    assert device.name == "again"


def test_two_labs_live_side_by_side(lab: Lab) -> None:
    with Lab() as other:
        mine, theirs = lab.plug(Blink), other.plug(Blink)
        mine.bar0.CTRL.write(1)
        assert (theirs.bar0.CTRL.read(), theirs.bar0.address == mine.bar0.address) == (0x10, True)
        assert len(other.trace) != len(lab.trace) + 1
        del theirs


def test_the_trace_goes_on_over_power_cycles_and_ends_with_the_lab(lab: Lab, tmp_path: Any) -> None:
    with Lab(trace=tmp_path / "run") as other:
        other.plug(Blink)
        rows = len(other.trace)
        other.stop()
        other.start()
        assert len(other.trace) > rows
    kinds = list(Trace.open(tmp_path / "run").frame()["kind"])
    assert kinds.count("initialize") == kinds.count("teardown") == 2
