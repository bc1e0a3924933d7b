"""Jupyter Notebook 7, which shows one notebook and nothing else."""

from __future__ import annotations

import importlib.util

import pytest
from playwright.sync_api import expect

from .page import PREAMBLE, LabPage

_LAB = """
import hdvlab.widgets
class Blink(Device):
    vendor_id, device_id = 0x1234, 0x40
    class bar0(Bar):
        CTRL = Register(0x00, reset=0x110)
lab = Lab(); blink = lab.plug(Blink)
table, registers = hdvlab.widgets.table(lab), hdvlab.widgets.registers(lab)
display(table, registers)
"""


@pytest.mark.skipif(importlib.util.find_spec("notebook") is None, reason="Notebook 7 is not installed")
def test_the_table_and_the_register_panel_work_there(lab_page: LabPage) -> None:
    lab_page.open([PREAMBLE + _LAB], classic=True)
    lab_page.run_all()
    lab_page.wait_text(lab_page.panel("registers"), "0x00000110")
    lab_page.ev("blink.bar0.CTRL.write(0x5a)")
    rows = lab_page.panel("table").locator(".hdv-rows .hdv-row:visible")
    expect(rows.get_by_text("0x0000005a")).to_be_visible()
    lab_page.wait_text(lab_page.panel("registers"), "0x0000005a")

    panel, keys = lab_page.panel("registers"), lab_page.page.keyboard
    panel.get_by_role("gridcell", name="CTRL 0x0000005a").focus()
    keys.press("Enter")
    keys.type("7")
    keys.press("Enter")
    lab_page.wait_ev("hex(blink.peek(0, 0, 4))", "'0x7'")
    lab_page.panel("table").get_by_role("button", name="mmio").click()
    lab_page.wait_ev("table.filters.kind", "'mmio'")
    expect(rows.get_by_text("0x00000007").first).to_be_visible()
    lab_page.shot("notebook")
    # Notebook 7.6 says this of itself, also without a panel: a table of its settings is read before it is there.
    lab_page.errors[:] = [one for one in lab_page.errors if "reading 'schema'" not in one]
