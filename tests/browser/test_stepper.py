"""The stepper, operated by mouse and by keyboard alone, against what the kernel holds."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from .page import PREAMBLE, LabPage

_DEVICE = """
class Blink(Device):
    vendor_id, device_id = 0x1234, 0x41
    class bar0(Bar):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")
    @bar0.COUNT.on_read
    def count(self, value):
        return 10
"""
_LAB = """
lab = Lab(); blink = lab.plug(Blink)
def driver(guest):
    bar = guest["blink"].bar0
    bar.CTRL.write(3)  # switch it on
    return bar.COUNT.read()
"""
_SHOW = "import hdvlab.widgets\np = hdvlab.widgets.stepper(lab)\np"
_EDITED = _DEVICE.replace("return 10", "return 11") + "lab.plug(Blink, name='blink')"
_CELLS = [PREAMBLE + _DEVICE, _LAB, _SHOW, "run = lab.run(driver)", _EDITED]


@pytest.fixture
def panel(lab_page: LabPage) -> Locator:
    lab_page.open(_CELLS)
    for cell in range(3):
        lab_page.run_cell(cell)
    lab_page.wait_ev("p.visible", "1")
    return lab_page.panel("stepper")


def hold(lab_page: LabPage, panel: Locator, where: str, **chosen: str) -> None:
    """Set a breakpoint in the panel and run the guest program into it."""
    panel.get_by_label("Where to stop").fill(where)
    for label, choice in chosen.items():
        panel.get_by_label(label.replace("_", " ")).select_option(choice)
    panel.get_by_role("button", name="Break").click()
    lab_page.wait_ev("len(lab.breakpoints)", "1")
    lab_page.run_cell(3)
    lab_page.wait_ev("len(lab.stops)", "1")


def test_a_program_held_by_a_breakpoint_of_the_panel_goes_on_with_the_value_that_was_typed(
    lab_page: LabPage, panel: Locator
) -> None:
    hold(lab_page, panel, "CTRL", Reads_or_writes="w")
    assert lab_page.ev("lab.breakpoints[1].text") == "'CTRL writes'"
    expect(panel.get_by_test_id("short")).to_have_text("blink.CTRL write 0x3, before the device")
    own = panel.get_by_test_id("source").locator("[aria-current=step]")
    expect(own).to_have_text("bar.CTRL.write(3)  # switch it on")
    expect(panel.get_by_test_id("source").locator("li")).to_have_count(5)
    expect(panel.get_by_test_id("place")).to_have_text("driver, Cell In[2] line 4")
    expect(panel.get_by_test_id("facts")).to_contain_text("EN=1 RATE=1")
    assert lab_page.ev("list(p.selection.rows) == [lab.stops[0].row]") == "True"
    panel.get_by_label("Value to go on with").fill("RATE=0xf")
    panel.get_by_role("button", name="Override").click()
    lab_page.wait_ev("lab.stops", "[]")
    lab_page.wait_ev("hex(blink.peek(0, 0, 4))", "'0x1f'")
    lab_page.wait_ev("run.value", "10")
    expect(panel.get_by_test_id("over")).to_contain_text("returned 10")
    expect(panel.get_by_test_id("short")).to_have_text("nothing is held")
    assert not [one for one in lab_page.outputs(3) if "held at" in one.get("text", "")], "the panel shows it"


def test_the_edited_device_serves_the_held_access_by_retry(lab_page: LabPage, panel: Locator) -> None:
    hold(lab_page, panel, "COUNT", Before_or_after_the_device_answers="after")
    expect(panel.get_by_test_id("facts")).to_contain_text("0xa")
    lab_page.run_cell(4)
    panel.get_by_role("button", name="Retry").click()
    lab_page.wait_ev("[stop.value for stop in lab.stops]", "[11]")
    expect(panel.get_by_test_id("facts")).to_contain_text("0xb")
    panel.get_by_role("button", name="Continue", exact=True).click()
    lab_page.wait_ev("run.value", "11")


def test_breakpoints_are_switched_off_and_on_and_removed(lab_page: LabPage, panel: Locator) -> None:
    lab_page.ev("[lab.break_at('CTRL'), lab.break_at('COUNT', log='{value}')]")
    rows = panel.get_by_test_id("breakpoints").get_by_role("listitem")
    expect(rows).to_have_count(2)
    panel.get_by_role("button", name="breakpoint 1 is on").click()
    lab_page.wait_ev("[one.enabled for one in lab.breakpoints]", "[False, True]")
    expect(rows.nth(0)).to_contain_text("off; 0 hits")
    panel.get_by_role("button", name="breakpoint 1 is on").click()
    lab_page.wait_ev("[one.enabled for one in lab.breakpoints]", "[True, True]")
    lab_page.ev("lab.breakpoints[1].disable()")
    lab_page.ev("lab.run(driver)")
    expect(rows.nth(1)).to_contain_text("tracepoint; 1 hit")
    panel.get_by_role("button", name="Remove tracepoint 2").click()
    lab_page.wait_ev("[one.number for one in lab.breakpoints]", "[1]")
    expect(rows).to_have_count(1)
    panel.get_by_label("Where to stop").fill("NOSUCH")
    panel.get_by_label("Where to stop").press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("NOSUCH")


def test_everything_is_done_by_keyboard_alone(lab_page: LabPage, panel: Locator) -> None:
    keys = lab_page.page.keyboard
    panel.get_by_label("Where to stop").focus()
    keys.type("CTRL")
    keys.press("Enter")
    lab_page.wait_ev("len(lab.breakpoints)", "1")
    lab_page.run_cell(3, wait=False)
    lab_page.wait_ev("len(lab.stops)", "1")
    panel.get_by_role("button", name="Continue", exact=True).focus()
    keys.press("ArrowRight")  # Step
    keys.press("Enter")
    lab_page.wait_ev("[stop.action for stop in lab.stops]", "['blink.COUNT read']")
    expect(panel.get_by_test_id("short")).to_contain_text("blink.COUNT read")
    focused = "() => document.activeElement.dataset.action || document.activeElement.getAttribute('aria-label')"
    assert lab_page.page.evaluate(focused) == "step", "what was pressed keeps the focus"
    keys.press("Tab")
    assert str(lab_page.page.evaluate(focused)).startswith("Value to go on with")
    keys.type("0x2a")
    keys.press("Enter")
    lab_page.wait_ev("run.value", "42")
    for _ in range(9):  # to the list, which is one tab stop
        keys.press("Tab")
        if lab_page.page.evaluate(focused) == "breakpoint 1 is on":
            break
    keys.press("Space")
    lab_page.wait_ev("lab.breakpoints[1].enabled", "False")
    keys.press("ArrowRight")
    keys.press("Enter")
    lab_page.wait_ev("len(lab.breakpoints)", "0")
    expect(panel.get_by_label("Where to stop")).to_be_focused()
    assert lab_page.page.locator(".jp-CodeCell").count() == len(_CELLS), "no key reached the notebook"


def test_of_two_that_are_held_one_is_chosen_and_goes_on(lab_page: LabPage, panel: Locator) -> None:
    hold(lab_page, panel, "CTRL")
    lab_page.ev("globals().update(other=lab.run(driver, wait=False))")
    which = panel.get_by_label("Which of what is held")
    expect(which).to_be_visible()
    second = lab_page.ev("lab.stops[1].ticket")
    which.select_option(second)
    lab_page.wait_ev("list(p.selection.rows) == [lab.stops[1].row]", "True")
    panel.get_by_role("button", name="Continue", exact=True).click()
    lab_page.wait_ev("len(lab.stops)", "1")
    lab_page.wait_ev("other.value", "10")
    expect(which).to_be_hidden()
    panel.get_by_role("button", name="Continue", exact=True).click()
    lab_page.wait_ev("run.value", "10")


def test_it_is_accessible_in_both_themes(lab_page: LabPage, panel: Locator) -> None:
    hold(lab_page, panel, "CTRL")
    lab_page.ev("[lab.break_at('COUNT').disable(), lab.break_at('dma', log='{action}')]")
    expect(panel.get_by_test_id("breakpoints").get_by_role("listitem")).to_have_count(3)
    for dark in (False, True):
        lab_page.dark(dark)
        assert lab_page.violations("stepper") == []
        lab_page.shot(f"stepper-{'dark' if dark else 'light'}")
    lab_page.ev("lab.breakpoints.clear()")
    lab_page.ev("lab.resume()")
