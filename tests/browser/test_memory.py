"""The memory panel, operated, against what the kernel has."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import PREAMBLE, LabPage

_DEVICE = """
class Copy(Device):
    vendor_id, device_id = 0x1234, 0x41
    class bar0(Bar):
        GO = Register(0x00, 64)
    @bar0.GO.on_write
    def go(self, value):
        self.dma_write(value, bytes(range(1, 33)))
lab = Lab(ram=1 << 20); copy = lab.plug(Copy); copy.on().enable()
lab.machine.ram_write(0x2000, bytes.fromhex('00100000 0080ffff 40000000 0200 0100'))
"""
_CELLS = [
    PREAMBLE + _DEVICE,
    "import hdvlab.widgets\nm = hdvlab.widgets.memory(lab, 0x2000, overlay='virtq_desc', size=128)\nm",
]


def _open(lab_page: LabPage) -> None:
    lab_page.open(_CELLS)
    lab_page.run_all()
    lab_page.wait_text(lab_page.panel("memory"), "0000000000002000")


def test_overlay_values_are_exact_and_looking_leaves_no_row(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("memory")
    rows = lab_page.ev("len(lab.trace)")
    lab_page.wait_text(panel.get_by_role("table"), "0xffff800000001000")
    lab_page.ev("lab.machine.ram_write(0x2010, b'\\xaa')")
    expect(panel.locator("[data-at='16']")).to_have_text("aa")
    expect(panel.locator("[data-at='16'].hdv-changed")).to_have_count(1)
    panel.locator("[data-at='9']").click()
    expect(panel.get_by_test_id("cursor")).to_contain_text("virtq_desc[0].len")
    assert lab_page.ev("len(lab.trace)") == rows


def test_the_rows_that_touched_a_byte_are_chosen(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("memory")
    lab_page.ev("copy.bar0.GO.write(0x2040)")
    expect(panel.locator("[data-at='64']")).to_have_text("01")
    panel.locator("[data-at='64']").click()
    lab_page.wait_ev("m.selection.frame().kind.tolist()", "['dma_write']")
    panel.get_by_label("Address").fill("copy.dma0")
    panel.get_by_label("Address").press("Enter")
    lab_page.wait_ev("hex(m.address)", "'0x2040'")


def test_keys_move_the_window_and_the_end_of_ram_is_said(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("memory")
    panel.locator("[data-at='0']").focus()
    panel.locator("[data-at='0']").press("PageDown")
    lab_page.wait_ev("hex(m.address)", "'0x2080'")
    panel.locator("[data-at='0']").press("ArrowUp")
    lab_page.wait_ev("hex(m.address)", "'0x2070'")
    panel.get_by_label("Address").fill("fffc0")
    panel.get_by_label("Address").press("Enter")
    lab_page.wait_text(panel, "0x100000 to 0x10003f: no RAM is here")
    panel.get_by_label("Address").fill("nowhere")
    panel.get_by_label("Address").press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("is no address")
    lab_page.ev("lab.stop()")
    lab_page.wait_text(panel, "the machine is off")


def test_it_is_accessible_in_both_themes(lab_page: LabPage) -> None:
    _open(lab_page)
    lab_page.dark(False)  # JupyterLab keeps what the test before chose
    panel = lab_page.panel("memory")
    panel.get_by_role("button", name="Mark").click()
    lab_page.ev("lab.machine.ram_write(0x2030, b'hello, device')")
    panel.locator("[data-at='0']").click()
    assert lab_page.violations("memory") == []
    lab_page.shot("memory-light")
    lab_page.dark()
    assert lab_page.violations("memory") == []
    lab_page.shot("memory-dark")
