"""All panels in one page: laid out, linked, quiet where nobody looks, and gone in good order."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from .page import LabPage

_LAB = """
import hdvlab
from hdvlab.devices.edu import Edu
from hdvlab.devices.edu.driver import EduDriver
lab = hdvlab.Lab(); lab.plug(Edu)
"""
_DRIVER = """
def driver(guest):
    edu = EduDriver(guest)
    edu.check_liveness()
    for number in range(3, 8):
        assert edu.factorial(number) > 1
        edu.echo(bytes(range(30 * number)))
    return edu.factorial(10)
lab.run(driver)
"""
_CELLS = [_LAB, _DRIVER, "board = lab.panel()\nboard"]
_FOCUSED = "() => document.activeElement.textContent"


def tab(lab_page: LabPage, name: str) -> Locator:
    return lab_page.page.get_by_role("tab", name=name)


@pytest.fixture
def board(lab_page: LabPage) -> LabPage:
    lab_page.open(_CELLS)
    lab_page.dark(False)
    lab_page.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    lab_page.run_all()
    lab_page.wait_text(lab_page.panel("registers"), "LIVENESS")
    lab_page.wait_text(lab_page.panel("status"), "recording")
    return lab_page


def hide_code(lab_page: LabPage) -> None:
    """Only the dashboard is on the page."""
    lab_page.page.evaluate(
        """() => {
            const app = window.jupyterapp;
            app.shell.currentWidget.content.widgets.forEach(cell => { cell.inputHidden = true; });
        }"""
    )


@pytest.mark.parametrize("width", [1280, 800])
def test_it_is_accessible_and_fits_in_both_themes(board: LabPage, width: int) -> None:
    hide_code(board)
    board.page.set_viewport_size({"width": width, "height": 1000 if width > 800 else 1300})
    board.ev("lab.break_at('FACTORIAL', access='w', when='value == 5')")
    board.run_cell(1)
    expect(board.panel("stepper").get_by_test_id("short")).to_contain_text("FACTORIAL")
    for dark in (False, True):
        board.dark(dark)
        board.page.wait_for_timeout(400)
        board.shot(f"panel-{width}-{'dark' if dark else 'light'}")
    assert board.violations("dashboard") == []
    wide = board.page.evaluate(
        "() => [...document.querySelectorAll('.hdv-panel')]"
        ".filter(e => e.clientWidth && e.scrollWidth > e.clientWidth).length"
    )
    assert wide == 0, "no panel is cut"
    board.ev("lab.breakpoints.clear()")
    board.ev("lab.resume()")
