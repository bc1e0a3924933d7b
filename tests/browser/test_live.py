"""Panels while the kernel is busy, and what they cost."""

from __future__ import annotations

import time

from playwright.sync_api import expect

from hdvlab.bench.browser.server import PATIENCE

from .page import LabPage

LAB = """
import threading, time
import hdvlab, hdvlab.widgets
from hdvlab import Bar, Device, Lab, Register

class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0001
    class bar0(Bar, size=4096):
        CTRL = Register(0x00)

lab = Lab()
blink = lab.plug(Blink)
table = hdvlab.widgets.table(lab)
table
"""

#: A guest that writes as fast as it can until it is told to stop.
FULL_SPEED = """
stop = threading.Event()
def driver(guest):
    ctrl = guest["blink"].bar0.CTRL
    n = 0
    while not stop.is_set():
        ctrl.write(n & 0xff)
        n += 1
    return n
run = lab.run(driver, wait=False)
"""

SPIN = """
seen, deadline = [], time.monotonic() + 60
while time.monotonic() < deadline and table.filters.kind != "mmio":
    sum(range(1000))
told = table.filters.kind
"""

PLOT = """
import matplotlib.pyplot as plt
%matplotlib inline
plt.plot([1, 2, 3])
deadline = time.monotonic() + 60
while time.monotonic() < deadline and not table.filters:
    time.sleep(0.01)
"""


def status(page: LabPage, text: str) -> None:
    page.page.get_by_test_id("hdv-table-status").filter(has_text=text).wait_for()


def test_a_filter_works_while_a_cell_spins(lab_page: LabPage) -> None:
    lab_page.open([LAB, SPIN])
    lab_page.run_cell(0)
    lab_page.panel("table").wait_for()
    lab_page.run_cell(1, wait=False)
    lab_page.page.locator(".jp-Notebook-ExecutionIndicator[data-status='busy']").wait_for()
    lab_page.panel("table").get_by_role("button", name="mmio").click()
    status(lab_page, "0 of")
    lab_page.wait_ev("told", "'mmio'")  # the cell saw it: it was there before the cell ended


def test_the_persons_figure_is_not_lost_when_a_panel_is_used_while_its_cell_runs(lab_page: LabPage) -> None:
    lab_page.open([LAB, PLOT])
    lab_page.run_cell(0)
    lab_page.panel("table").wait_for()
    lab_page.run_cell(1, wait=False)
    lab_page.page.locator(".jp-Notebook-ExecutionIndicator[data-status='busy']").wait_for()
    lab_page.panel("table").get_by_role("button", name="mmio").click()
    lab_page.wait_ev("table.filters.kind", "'mmio'")
    lab_page.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    images = [out for out in lab_page.outputs(1) if "image/png" in out.get("data", {})]
    assert len(images) == 1


def scroll_to(page: LabPage, cell: int, where: str) -> None:
    script = "([cell, where]) => window.jupyterapp.shell.currentWidget.content.scrollToItem(cell, where)"
    page.page.evaluate(script, [cell, where])


def messages_in(page: LabPage, seconds: float) -> tuple[int, float]:
    """Messages of widgets that come in a while, and how long it was. It measures, so it does not wait for an event."""
    page.page.wait_for_timeout(1)  # those that came before are counted now
    before, began = page.comm_messages, time.monotonic()
    page.page.wait_for_timeout(1000 * seconds)
    return page.comm_messages - before, time.monotonic() - began


def test_a_guest_at_full_speed_costs_ten_messages_a_second_and_none_while_nobody_looks(lab_page: LabPage) -> None:
    far = "\n".join(["#"] * 120)
    lab_page.open([LAB, FULL_SPEED, far, "shown = 1"])
    lab_page.run_cell(0)
    lab_page.panel("table").wait_for()
    lab_page.wait_ev("table.visible", "1")
    # Asking the kernel takes seconds from here on: the guest wants the interpreter as well.
    lab_page.run_cell(1)
    scroll_to(lab_page, 0, "start")
    shown = lab_page.page.get_by_test_id("hdv-table-status").inner_text()
    expect(lab_page.page.get_by_test_id("hdv-table-status")).not_to_have_text(shown)  # it moves
    messages, seconds = messages_in(lab_page, 2)
    assert 0 < messages <= 10 * seconds + 2

    scroll_to(lab_page, 3, "end")
    deadline = time.monotonic() + PATIENCE
    while messages_in(lab_page, 0.5)[0]:
        assert time.monotonic() < deadline, "a hidden panel gets messages"
    assert messages_in(lab_page, 1)[0] == 0
    threads = "[t.name for t in threading.enumerate() if t.name == 'hdvlab-pump']"
    assert lab_page.ev(f"(table.visible, {threads}, run.program.running, stop.set())") == "(0, [], True, None)"
    lab_page.wait_ev("run.program.running", "False")
    scroll_to(lab_page, 0, "start")
    status(lab_page, f"{int(lab_page.ev('len(lab.trace)')):,} rows")


def test_a_closed_panel_leaves_its_last_rows_in_the_notebook(lab_page: LabPage) -> None:
    lab_page.open([LAB, "blink.bar0.CTRL.write(0x5a)\ntable.close()\nlab.close()"])
    lab_page.run_all()
    output = lab_page.page.locator(".jp-OutputArea-output")
    expect(output.get_by_text("0x5a")).to_be_visible()
    expect(lab_page.panel("table")).to_have_count(0)
    assert "application/vnd.jupyter.widget-view+json" not in lab_page.outputs(0)[0]["data"]
