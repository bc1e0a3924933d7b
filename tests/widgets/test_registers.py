"""The register panel's kernel side: messages in, what it says out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hdvlab import Bar, Device, Field, Lab, Register
from hdvlab.device import CompiledDevice
from hdvlab.errors import HdvError, UsageError
from hdvlab.widgets import registers
from hdvlab.widgets.register_poke import Pokes
from hdvlab.widgets.register_view import MARKED_FOR, RegisterView
from hdvlab.widgets.registers import RegisterPanel

from ..c_devices import blink
from ..labs import PATIENCE
from .front_end import FrontEnd

_WIDE = 0xFFFF_8000_0000_0001


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x40

    class bar0(Bar):
        CTRL = Register(0x00, reset=0x110, fields={"EN": 0, "RATE": (4, 4), "DONE": Field(8, access="w1c")}, doc="do")
        POP = Register(0x04, access="rc", reset=0x99)
        COUNT = Register(0x08, access="ro")
        WIDE = Register(0x10, 64, reset=_WIDE)
        HANDLED = Register(0x18)

    def initialize(self) -> None:
        self.calls: list[str] = []

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += 1

    @bar0.HANDLED.on_read
    def handled(self) -> int:
        self.calls.append("read")
        return 0x42


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def view(lab: Lab) -> RegisterView:
    lab.plug(Blink)
    made = RegisterView(lab, clock=Clock())
    made.look()
    return made


@pytest.fixture
def panel(lab: Lab) -> Iterator[RegisterPanel]:
    made = registers(lab)
    yield made
    made.close()


def test_looking_for_a_second_leaves_no_row_and_calls_no_handler(lab: Lab, panel: RegisterPanel) -> None:
    blink = lab.plug(Blink)
    device: Any = blink.device
    looks: list[int] = []
    peek, rows, enough = lab.peek_many, len(lab.trace), threading.Event()

    def counted(places: Any) -> list[int | str]:
        looks.append(len(places))
        if len(looks) == 10:
            enough.set()
        return peek(places)

    vars(lab)["peek_many"] = counted
    FrontEnd(panel).show()
    assert enough.wait(PATIENCE)
    assert looks == [5] * len(looks), "each look asks once, for all"
    assert len(lab.trace) == rows
    assert device.calls == []
    assert blink.peek(0, 4, 4) == 0x99


def test_values_are_exact_and_come_in_one_buffer(lab: Lab, panel: RegisterPanel) -> None:
    lab.plug(Blink)
    browser = FrontEnd(panel)
    browser.show()
    layout, _ = browser.wait("layout")
    [device] = layout["devices"]
    assert (device["name"], device["bars"][0]["bar"]) == ("blink", 0)
    ctrl = device["bars"][0]["registers"][0]
    assert [field["name"] for field in ctrl["fields"]] == ["DONE", "RATE", "EN"]
    assert (ctrl["write"], ctrl["w1c"], ctrl["reserved"]) == ("f1", "100", "fffffe0e")
    _, [data] = browser.wait("values")
    assert np.frombuffer(data[: 5 * 8], "<u8").tolist() == [0x110, 0x99, 0, _WIDE, 0]
    assert data[-5:] == b"\1" * 5


def test_changed_bits_are_marked_for_a_while_and_since_the_mark_until_the_next(lab: Lab, view: RegisterView) -> None:
    clock: Any = view._clock
    assert not view.look(), "nothing has changed, so there is nothing to send"
    lab["blink"].poke(0, 0, 4, 0x121)
    assert view.look()
    assert lab["blink"].peek(0, 0, 4) == 0x21
    assert view.changed[0] == view.since_mark[0] == 0x110 ^ 0x21
    assert view.changed[2] == 1, "its handler counts"
    clock.now += MARKED_FOR
    assert view.look()
    assert view.changed[0] == 0 != view.since_mark[0]
    view.mark()
    assert view.since_mark[0] == 0


def test_a_poke_is_a_row_of_the_user_and_is_told_with_its_hresult(lab: Lab, panel: RegisterPanel) -> None:
    lab.plug(Blink)
    browser = FrontEnd(panel)
    browser.show()
    browser.wait("values")
    browser.says("poke", device="blink", bar=0, offset=0, field="EN", value="1")
    told, _ = browser.wait("poked")
    assert (told["name"], told["old"], told["new"], told["ok"], told["outcome"]) == (
        "blink.CTRL.EN", "110", "111", True, "S_OK",
    )  # fmt: skip
    row = lab.trace.frame().loc[told["row"]]
    assert (row["kind"], row["origin"], row["value"]) == ("mmio_write", "user", 0x11)
    browser.says("poke", device="blink", bar=0, offset=8, field=None, value="7")
    told, _ = browser.wait("poked")
    assert not told["ok"]
    assert told["outcome"] == "E_ACCESSDENIED: read-only: the write was dropped"


def test_undo_pokes_the_old_value_back_and_clears_no_write_1_bit(lab: Lab) -> None:
    blink, pokes = lab.plug(Blink), Pokes(lab)
    bar, ctrl = blink.find("CTRL")
    pokes.poke("blink", bar, ctrl, ctrl.fields["RATE"], 7)
    pokes.poke("blink", bar, ctrl, ctrl.fields["EN"], 1)
    assert blink.peek(0, 0, 4) == 0x171
    pokes.undo()
    pokes.undo()
    assert blink.peek(0, 0, 4) == 0x110, "DONE, which a 1 clears, is as it was"
    assert pokes.why_no_undo() == "nothing was poked"


def test_what_cannot_be_undone_says_why(lab: Lab) -> None:
    blink, pokes = lab.plug(Blink), Pokes(lab)
    bar, ctrl = blink.find("CTRL")
    _, count = blink.find("COUNT")
    assert pokes.why_no_undo() == "nothing was poked"
    pokes.poke("blink", bar, count, None, 3)
    assert "had no effect" in pokes.why_no_undo()
    pokes.poke("blink", bar, ctrl, ctrl.fields["DONE"], 1)
    assert pokes.why_no_undo() == "DONE of CTRL cannot be written back"
    pokes.poke("blink", bar, ctrl, ctrl.fields["EN"], 1)
    assert pokes.why_no_undo() == ""
    blink.poke(0, 0, 4, 0x20)
    assert pokes.why_no_undo() == "CTRL has changed since"
    pokes.poke("blink", bar, ctrl, ctrl.fields["EN"], 1)

    class Other(Blink):
        class bar0(Blink.bar0):
            MORE = Register(0x20)

    lab.plug(Other, name="blink")
    assert pokes.why_no_undo() == "blink was plugged in or reloaded since"
    lab.unplug("blink")
    with pytest.raises(HdvError, match="cannot be undone: blink is not running any more"):
        pokes.undo()


def test_choosing_a_field_chooses_the_rows_that_touched_its_bytes(lab: Lab, panel: RegisterPanel) -> None:
    blink = lab.plug(Blink)
    browser = FrontEnd(panel)
    browser.show()
    browser.wait("values")
    blink.bar0.CTRL.write(1)
    blink.bar0.COUNT.read()
    blink.bar0.read(1, 1)
    browser.says("rows", device="blink", bar=0, offset=0, field="EN")
    assert browser.wait("rows")[0]["count"] == 1
    chosen = panel.selection.frame()
    assert list(zip(chosen["kind"], chosen["address"], strict=True)) == [("mmio_write", 0)], "byte 1 has no bit of EN"
    assert panel.selection.register == (blink.index, 0, 0)
    browser.says("rows", device="blink", bar=0, offset=0, field=None)
    assert browser.wait("rows")[0]["count"] == 2
    assert len(panel.selection.rows) == 2


def test_rows_of_a_device_that_was_plugged_in_again_are_its_rows_too(lab: Lab, view: RegisterView) -> None:
    lab["blink"].bar0.CTRL.write(1)
    lab.plug(Blink)
    lab["blink"].bar0.CTRL.write(1)
    view.look()
    assert len(view.rows_of(view.cells[0])) == 2


def test_it_follows_devices_out_and_in_and_the_power(lab: Lab, view: RegisterView) -> None:
    before = view.generation
    lab.unplug("blink")
    assert view.look()
    assert (view.cells, view.layout()["devices"]) == ([], [])
    assert view.text(view.fetch()) == "no device is plugged in; lab.plug(Device) does that"
    lab.plug(Blink)
    assert view.look()
    assert view.generation == before + 2
    lab.stop()
    assert view.look()
    assert view.layout()["running"] is False
    assert "machine off" in view.text(view.fetch())


def test_a_device_that_goes_while_it_is_looked_at_is_told(lab: Lab, view: RegisterView) -> None:
    lab.unplug("blink")
    assert lab.peek_many([("blink", 0, 0, 4)] * 2) == ["blink is not plugged in"] * 2


def test_what_is_not_there_any_more_is_refused_and_shown(lab: Lab, panel: RegisterPanel) -> None:
    browser = FrontEnd(panel)
    browser.says("poke", device="gone", bar=0, offset=0, field=None, value="1")
    assert "gone has no register at bar0+0x0 any more" in browser.take("failed")[0][0]["text"]


def test_a_device_that_cannot_be_looked_at_says_so_and_is_asked_once(lab: Lab, panel: RegisterPanel) -> None:
    lab.plug(CompiledDevice(blink("-DNO_PEEK")))
    view, pokes = RegisterView(lab), Pokes(lab)
    view.look()
    [(first, last, why)] = view.reasons()
    assert (first, last) == (0, len(view.cells) - 1)
    assert "cannot be looked at without touching it" in why
    assert set(view.packed()[-len(view.cells) :]) == {0}
    name, bar, register = view.cells[0]
    assert pokes.poke(name, bar, register, None, 1).old is None
    assert "what was there before is not known" in pokes.why_no_undo()
    assert " ? " in panel.text()


def test_a_place_that_cannot_be_looked_at_says_why(lab: Lab) -> None:
    lab.plug(Blink)
    answers = lab.peek_many([("blink", 0, 0x800, 4), ("blink", 0, 0, 4), ("blink", 3, 0, 4)])
    assert answers == ["no register there (ERROR_NOT_FOUND)", 0x110, "outside the BAR (E_INVALIDARG)"]


def test_a_panel_shows_a_lab_and_says_so(lab: Lab) -> None:
    with pytest.raises(UsageError, match="give it the lab"):
        registers(lab.trace)


def test_the_text_form_has_every_register(lab: Lab, panel: RegisterPanel) -> None:
    lab.plug(Blink)
    text = panel.text()
    assert "CTRL                 rw          0x00000110  EN=0 RATE=1 DONE=1" in text
    assert "0xffff800000000001" in text
