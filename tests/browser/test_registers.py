"""The register panel, operated by mouse and keyboard, against what the kernel has."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import PREAMBLE, LabPage

_DEVICE = """
from hdvlab import Field
class Blink(Device):
    vendor_id, device_id = 0x1234, 0x40
    class bar0(Bar):
        CTRL = Register(0x00, reset=0x110, doc="what it does", fields={"EN": Field(0, doc="runs"), "RATE": (4, 4),
                        "DONE": Field(8, access="w1c"), "MODE": Field(12, 2, meanings={0: "idle", 1: "fast"})})
        POP = Register(0x04, access="rc", reset=0x99, doc="reading clears")
        COUNT = Register(0x08, access="ro", doc="writes to CTRL")
        WIDE = Register(0x10, 64, reset=0xffff_8000_0000_0001)
    calls = []
    @bar0.CTRL.on_write
    def ctrl(self, value):
        self.bar0.COUNT += 1
    @bar0.POP.on_read
    def pop(self, value):
        self.calls.append("read")
        return value
lab = Lab(); blink = lab.plug(Blink)
"""
_CELLS = [PREAMBLE + _DEVICE, "import hdvlab.widgets\np = hdvlab.widgets.registers(lab)\np"]


def _open(lab_page: LabPage) -> None:
    lab_page.open(_CELLS)
    lab_page.run_all()
    lab_page.wait_text(lab_page.panel("registers"), "0xffff800000000001")


def test_registers_are_shown_exactly_and_looking_leaves_no_row(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("registers")
    rows = lab_page.ev("len(lab.trace)")
    for text in ("CTRL", "0x00000110", "MODE", "idle", "w1c", "WIDE"):
        lab_page.wait_text(panel, text)
    lab_page.ev("setattr(blink.device.bar0, 'WIDE', 0x8000_0000_0000_0003)")
    lab_page.wait_text(panel, "0x8000000000000003")
    assert lab_page.ev("len(lab.trace)") == rows
    assert lab_page.ev("Blink.calls") == "[]"
    assert lab_page.ev("hex(blink.peek(0, 4, 4))") == "'0x99'"


def test_a_field_is_poked_by_keyboard_with_its_effect_told_before_and_undone(lab_page: LabPage) -> None:
    _open(lab_page)
    panel, keys = lab_page.panel("registers"), lab_page.page.keyboard
    panel.get_by_role("gridcell", name="CTRL 0x00000110").focus()
    for _ in range(4):  # MODE, DONE, RATE, EN
        keys.press("ArrowRight")
    keys.press("Enter")
    keys.type("1")
    expect(panel.get_by_test_id("effect")).to_contain_text("0x00000110 → 0x00000111")
    assert lab_page.ev("hex(blink.peek(0, 0, 4))") == "'0x110'", "telling is not doing"
    keys.press("Enter")
    lab_page.wait_ev("hex(blink.peek(0, 0, 4))", "'0x111'")
    assert lab_page.ev("lab.trace.frame().iloc[-1].origin") == "'user'"
    expect(panel.get_by_test_id("status")).to_contain_text("S_OK")
    keys.press("Escape")
    assert lab_page.page.evaluate("() => document.activeElement.dataset.name") == "CTRL.EN"
    undo = panel.get_by_role("button", name="Undo")
    expect(undo).to_be_enabled()
    undo.click()
    lab_page.wait_ev("hex(blink.peek(0, 0, 4))", "'0x110'")
    expect(undo).to_be_disabled()
    assert lab_page.page.locator(".jp-CodeCell").count() == 2, "no key reached the notebook"


def test_what_a_write_cannot_do_is_told(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("registers")
    panel.get_by_role("gridcell", name="COUNT").click()
    panel.get_by_label("New value").fill("5")
    expect(panel.get_by_test_id("effect")).to_contain_text("COUNT is read-only: the write is dropped")
    panel.get_by_role("button", name="Poke").click()
    expect(panel.get_by_test_id("status")).to_contain_text("E_ACCESSDENIED")
    panel.get_by_role("gridcell", name="DONE").click()
    panel.get_by_label("New value").fill("1")
    expect(panel.get_by_test_id("effect")).to_contain_text("written 1: cleared")
    panel.get_by_label("New value").press("Enter")
    lab_page.wait_ev("hex(blink.peek(0, 0, 4))", "'0x10'")
    expect(panel.get_by_test_id("undo-why")).to_contain_text("DONE of CTRL cannot be written back")


def test_choosing_a_field_chooses_the_rows_that_touched_it(lab_page: LabPage) -> None:
    _open(lab_page)
    lab_page.ev("[blink.bar0.CTRL.write(1), blink.bar0.CTRL.read(), blink.bar0.COUNT.read()]")
    lab_page.panel("registers").get_by_role("gridcell", name="CTRL.EN").click()
    lab_page.wait_ev("p.selection.frame(decode=True).register.tolist()", "['CTRL', 'CTRL']")
    expect(lab_page.panel("registers").get_by_test_id("status")).to_contain_text("2 rows touched blink.CTRL.EN")


def test_it_follows_the_device_out_and_in_again_in_two_views(lab_page: LabPage) -> None:
    lab_page.open([*_CELLS, "p"])
    lab_page.run_all()
    lab_page.wait_ev("p.visible", "2")
    first, second = lab_page.panel("registers").nth(0), lab_page.panel("registers").nth(1)
    for one in (first, second):
        lab_page.wait_text(one, "0xffff800000000001")
    lab_page.ev("lab.unplug('blink')")
    for one in (first, second):
        lab_page.wait_text(one, "No device is plugged in.")
    lab_page.ev("lab.plug(Blink)")
    for one in (first, second):
        lab_page.wait_text(one, "0xffff800000000001")
    lab_page.ev("lab.stop()")
    lab_page.wait_text(first, "machine off")


def test_it_is_accessible_in_both_themes(lab_page: LabPage) -> None:
    _open(lab_page)
    lab_page.dark(False)  # JupyterLab keeps what the test before chose
    panel = lab_page.panel("registers")
    panel.get_by_role("button", name="Mark").click()
    panel.get_by_role("gridcell", name="CTRL.RATE").click()
    lab_page.ev("blink.poke(0, 0, 4, 0x121)")
    panel.get_by_label("New value").fill("3")
    lab_page.wait_text(panel, "Δ")
    assert lab_page.violations("registers") == []
    lab_page.shot("registers-light")
    lab_page.dark()
    assert lab_page.violations("registers") == []
    lab_page.shot("registers-dark")
