"""Panels of a lab whose devices live in a device host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from .page import PREAMBLE, LabPage

_LAB = """
import os, tempfile
import hdvlab.host, hdvlab.widgets
from hdvlab.devices.edu import Edu
place = tempfile.TemporaryDirectory()
os.environ.update(XDG_RUNTIME_DIR=place.name, XDG_STATE_HOME=place.name)
lab = hdvlab.host.start("panels", lease=60)
edu = lab.plug(Edu)
"""
_PANELS = """
registers, table = hdvlab.widgets.registers(lab), hdvlab.widgets.table(lab)
memory = hdvlab.widgets.memory(lab, 0x2000, size=64)
display(registers, table, memory)
"""


@pytest.fixture
def hosted(lab_page: LabPage) -> Iterator[LabPage]:
    """A page with a lab in a device host, and the host's end."""
    lab_page.open([PREAMBLE + _LAB, _PANELS])
    lab_page.run_cell(0)
    try:
        lab_page.run_cell(1)
        yield lab_page
    finally:
        lab_page.ev("lab.shut_down()")


def test_registers_table_and_memory_show_what_the_host_has(hosted: LabPage) -> None:
    registers, table = hosted.panel("registers"), hosted.panel("table")
    hosted.wait_text(registers, "0x010000ed")
    rows = hosted.ev("len(lab.trace)")
    hosted.wait_ev("registers.visible + table.visible", "2")
    assert hosted.ev("len(lab.trace)") == rows, "looking leaves no row"

    hosted.ev("edu.bar0.LIVENESS.write(0x1234)")
    hosted.wait_text(registers, "0xffffedcb")  # inverted
    expect(table.locator(".hdv-rows").get_by_text("LIVENESS").last).to_be_visible()

    panel = hosted.panel("memory")
    panel.scroll_into_view_if_needed()
    hosted.ev("lab.machine.ram_write(0x2008, b'\\xaa\\x55')")
    expect(panel.locator("[data-at='8']")).to_have_text("aa")
    assert hosted.ev("[one.failure for one in (registers, table, memory)]") == "['', '', '']"
    hosted.shot("remote")


def test_a_poke_goes_to_the_host_as_a_row_of_the_user(hosted: LabPage) -> None:
    registers, keys = hosted.panel("registers"), hosted.page.keyboard
    registers.get_by_role("gridcell", name="LIVENESS").first.focus()
    keys.press("Enter")
    keys.type("0x10")
    keys.press("Enter")
    hosted.wait_ev("lab.trace.frame().iloc[-1].origin", "'user'")
    hosted.wait_text(registers, "0xffffffef")
