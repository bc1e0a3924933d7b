"""A real Linux in a device host, stopped, answered and let go by the panels of a notebook."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .page import LabPage

pytestmark = pytest.mark.vm

_BOOT = """
import os, hdvlab
from hdvlab.devices.edu import Edu
from hdvlab.host import start
lab = start(f"panel-{os.getpid()}", machine="vm", lease=60)
edu = lab.plug(Edu)
vm = lab.boot()
"""
_SHOW = "board = lab.panel('stepper', 'registers', 'table')\nboard"
_READ = """
address = lab['edu'].place(0)
enable = f"echo 1 > /sys/bus/pci/devices/0000:{lab['edu'].address}/enable 2>/dev/null"
run = lab.sh(f"{enable}; busybox devmem {address:#x} 32", timeout=60)
"""
_END = "board.close(); lab.shut_down(); lab.close()"


def test_linux_reads_what_the_panel_answers_and_goes_on(lab_page: LabPage) -> None:
    lab_page.page.set_viewport_size({"width": 1280, "height": 1800})
    lab_page.open([_BOOT, _SHOW, _READ, _END])
    try:
        for cell in range(2):
            lab_page.run_cell(cell)
        panel = lab_page.panel("stepper")
        panel.scroll_into_view_if_needed()
        lab_page.wait_text(lab_page.panel("registers"), "IDENTIFICATION")
        panel.get_by_label("Where to stop").fill("IDENTIFICATION")
        panel.get_by_role("button", name="Break").click()
        lab_page.wait_ev("len(lab.breakpoints)", "1")
        rows = int(lab_page.ev("len(lab.trace)"))
        lab_page.run_cell(2)
        expect(panel.get_by_test_id("short")).to_contain_text("edu.IDENTIFICATION read")
        expect(panel.get_by_test_id("place")).to_have_text("the driver's line is not known")
        lab_page.wait_text(lab_page.panel("table"), "IDENTIFICATION")
        lab_page.shot("stepper-vm")
        panel.get_by_label("Value to go on with").fill("MAJOR=7")
        panel.get_by_role("button", name="Override").click()
        lab_page.wait_ev("(lab.stops, run.text.strip())", "([], '0x070000ED')")
        expect(panel.get_by_test_id("over")).to_contain_text("status 0")
        assert int(lab_page.ev("len(lab.trace)")) > rows
    finally:
        lab_page.run_cell(3)
