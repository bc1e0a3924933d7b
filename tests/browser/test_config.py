"""The PCI config explorer, operated, against what the kernel has."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import PREAMBLE, LabPage

_CELLS = [
    PREAMBLE + "from hdvlab.devices.edu import Edu\nlab = Lab(); edu = lab.plug(Edu)",
    "import hdvlab.widgets\nc = hdvlab.widgets.config(lab)\nc",
]


def _open(lab_page: LabPage) -> None:
    lab_page.open(_CELLS)
    lab_page.run_all()
    lab_page.wait_text(lab_page.panel("config"), "1234:11e8")


def _peek(lab_page: LabPage, expected: str) -> None:
    lab_page.wait_ev("lab.machine.config_peek(edu.slot)[0x3c]", expected)


def test_the_tree_and_the_bytes_show_what_is_chosen_in_the_other(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("config")
    panel.get_by_role("treeitem", name="[40] MSI").click()
    chosen = panel.locator(".hdv-hex-byte.hdv-chosen")
    expect(chosen).to_have_count(14)
    assert chosen.first.get_attribute("data-at") == str(0x40)
    panel.locator("[data-at='4']").click()
    expect(panel.locator("[role=treeitem][aria-selected=true]")).to_contain_text("Command")
    expect(chosen).to_have_count(2)
    rows = lab_page.ev("len(lab.trace)")
    lab_page.wait_ev(
        "len(c.selection.rows) > 0 and set(c.selection.frame().kind) <= {'config_read', 'config_write'}", "True"
    )
    assert lab_page.ev("len(lab.trace)") == rows


def test_an_edit_is_a_config_write_of_the_user_and_marks_what_changed(lab_page: LabPage) -> None:
    _open(lab_page)
    panel = lab_page.panel("config")
    panel.get_by_role("treeitem", name="Interrupt line").focus()
    panel.get_by_role("button", name="Mark").click()
    panel.get_by_role("treeitem", name="Interrupt line").press("Enter")
    panel.get_by_label("New value").fill("0x0b")
    expect(panel.get_by_test_id("effect")).to_contain_text("0x00 → 0x0b")
    panel.get_by_label("New value").press("Enter")
    _peek(lab_page, "11")
    assert lab_page.ev("[*lab.trace.frame().iloc[-1][['kind', 'origin']]]") == "['config_write', 'user']"
    expect(panel.locator("[data-at='60']")).to_have_text("0b")
    expect(panel.locator("[data-at='60'].hdv-changed, [data-at='60'].hdv-marked")).to_have_count(1)
    panel.get_by_role("treeitem", name="Class code").click()
    expect(panel.get_by_test_id("effect")).to_contain_text("no single access")


def test_machine_off_and_a_device_that_is_gone_are_said(lab_page: LabPage) -> None:
    _open(lab_page)
    lab_page.ev("lab.stop()")
    lab_page.wait_text(lab_page.panel("config"), "the machine is off")
    lab_page.ev("lab.start()")
    lab_page.wait_text(lab_page.panel("config"), "1234:11e8")
    lab_page.ev("lab.unplug('edu')")
    lab_page.wait_text(lab_page.panel("config"), "no device is plugged in")


def test_it_is_accessible_in_both_themes(lab_page: LabPage) -> None:
    _open(lab_page)
    lab_page.dark(False)  # JupyterLab keeps what the test before chose
    lab_page.panel("config").get_by_role("treeitem", name="Command").click()
    lab_page.panel("config").get_by_label("New value").fill("7")
    assert lab_page.violations("config") == []
    lab_page.shot("config-light")
    lab_page.dark()
    assert lab_page.violations("config") == []
    lab_page.shot("config-dark")
