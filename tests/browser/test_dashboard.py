"""All panels in one page: laid out, linked, quiet where nobody looks, and gone in good order."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from .charts import Chart
from .page import LabPage

_LAB = """
import hdvlab
from hdvlab.devices.edu import Edu
from hdvlab.devices.edu.driver import EduDriver
lab = hdvlab.Lab(); edu = lab.plug(Edu)
"""
_DRIVER = """
def driver(guest):
    edu = EduDriver(guest)
    edu.check_liveness()
    for number in range(3, 8):
        assert edu.factorial(number) > 1
        edu.echo(bytes(range(30 * number)))
    return edu.factorial(10)
run = lab.run(driver)
"""
_CELLS = [_LAB, _DRIVER, "board = lab.panel()\nboard", "other = lab.panel()\nother"]
#: Only the dashboard is on the page: what is not seen is not sent.
_HIDE_CODE = (
    """() => window.jupyterapp.shell.currentWidget.content.widgets.forEach(cell => { cell.inputHidden = true; })"""
)
_FOCUSED = "() => document.activeElement.textContent"


def tab(lab_page: LabPage, name: str) -> Locator:
    return lab_page.page.get_by_role("tab", name=name)


@pytest.fixture
def board(lab_page: LabPage) -> LabPage:
    lab_page.open(_CELLS)
    lab_page.dark(False)
    lab_page.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    lab_page.page.set_viewport_size({"width": 1280, "height": 1400})
    lab_page.page.evaluate(_HIDE_CODE)
    for cell in range(3):
        lab_page.run_cell(cell)
    lab_page.wait_text(lab_page.panel("registers"), "IDENTIFICATION")
    lab_page.wait_text(lab_page.panel("status"), "recording")
    return lab_page


@pytest.mark.parametrize("width", [1280, 800])
def test_it_is_accessible_and_fits_in_both_themes(board: LabPage, width: int) -> None:
    board.page.set_viewport_size({"width": width, "height": 1400})
    board.ev("lab.break_at('FACTORIAL', access='w', when='value == 5')")
    board.run_cell(1)
    expect(board.panel("stepper").get_by_test_id("short")).to_contain_text("FACTORIAL")
    for dark in (False, True):
        board.dark(dark)
        board.page.wait_for_timeout(400)
        board.shot(f"panel-{width}-{'dark' if dark else 'light'}")
        assert board.violations_in(".hdv-board") == []
    wide = board.page.evaluate(
        "() => [...document.querySelectorAll('.hdv-panel')].filter(one => one.scrollWidth > one.clientWidth).length"
    )
    assert wide == 0, "no panel is cut"
    if width == 1280:
        expect(board.panel("status").get_by_test_id("held")).to_be_hidden()
    board.ev("lab.breakpoints.clear()")
    board.ev("lab.resume()")


def test_a_row_of_the_table_is_marked_in_the_timeline_and_a_brush_chooses_rows_in_the_table(board: LabPage) -> None:
    table, chart = board.panel("table"), Chart(board, "timeline")
    chart.wait("true")
    table.get_by_role("row").nth(4).click()
    board.wait_ev("len(board.panels['table'].selection.rows)", "1")
    board.wait_text(board.panel("timeline"), "1 row chosen")
    box = chart.box()
    chart.drag(box["width"] / 2, 20, box["width"] - 20, 60, shift=True)
    board.wait_ev("len(board.panels['table'].selection.rows) > 5", "True")
    chosen = int(board.ev("len(board.panels['table'].selection.rows)"))
    board.wait_text(board.panel("timeline"), f"{chosen} rows chosen")
    board.wait_text(table, f"{chosen} selected")
    table.get_by_role("row", selected=True).first.wait_for()


def test_tabs_are_opened_by_keyboard_and_those_that_are_not_open_cost_nothing(board: LabPage) -> None:
    keys = board.page.keyboard
    board.wait_ev("[name for name, one in board.panels.items() if not one.visible]", "['config', 'memory', 'heatmap']")
    board.ev("globals().update(sent=[], hidden=[board.panels[name] for name in ('config', 'memory', 'heatmap')])")
    board.ev("[setattr(one, 'send', lambda *given, **more: sent.append(given)) for one in hidden]")
    board.ev("lab.run(driver)")
    board.wait_ev("len(lab.trace) > 200", "True")
    assert board.ev("sent") == "[]"
    board.ev("[vars(one).pop('send') for one in hidden]")
    tab(board, "Registers").focus()
    keys.press("ArrowRight")
    assert board.page.evaluate(_FOCUSED) == "Config space"
    keys.press("Enter")
    expect(board.panel("config")).to_be_visible()
    expect(board.panel("registers")).to_be_hidden()
    board.wait_ev("(board.panels['config'].visible, board.panels['registers'].visible)", "(1, 0)")


def test_two_dashboards_of_one_lab_have_names_of_their_own_and_one_that_is_closed_leaves_a_text(board: LabPage) -> None:
    board.run_cell(3)
    expect(board.page.locator(".hdv-board")).to_have_count(2)
    board.panel("stepper").nth(1).scroll_into_view_if_needed()
    board.wait_text(board.panel("stepper").nth(1), "nothing is held")
    names = board.page.locator(".hdv-panel").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert len(names) == len(set(names)) > 8
    assert board.violations_in(".hdv-board") == []
    board.ev("board.close()")
    expect(board.page.locator(".hdv-board")).to_have_count(1)
    board.wait_text(board.page.locator(".jp-OutputArea-output pre"), "== Registers")
    assert board.errors == []
