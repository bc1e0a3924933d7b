from __future__ import annotations

from .charts import Chart
from .page import LabPage

BUSY = """
from hdvlab.widgets import timeline
from tests.plots.traces import busy
trace = busy({rows})
panel = timeline(trace)
panel
"""
SESSION = """
from hdvlab.widgets import timeline
from tests.plots.traces import session
trace = session()
panel = timeline(trace)
panel
"""


def opened(lab_page: LabPage, cell: str) -> Chart:
    lab_page.open([cell])
    lab_page.run_all()
    chart = Chart(lab_page, "timeline")
    chart.chart.wait_for()
    chart.wait("Number(d.total) > 0")
    return chart


def test_every_row_of_a_short_trace_is_drawn_in_both_themes(lab_page: LabPage) -> None:
    chart = opened(lab_page, SESSION)
    facts = chart.wait("d.rows === '16'")
    assert (facts["binned"], facts["links"]) == ("false", "3")
    lab_page.shot("timeline-light")
    light = chart.colours()
    assert light > 30
    assert lab_page.violations("timeline") == []
    lab_page.dark()
    lab_page.shot("timeline-dark")
    assert chart.colours() > 30
    assert lab_page.violations("timeline") == []


def test_keys_zoom_pan_choose_and_leave_the_notebook_alone(lab_page: LabPage) -> None:
    chart = opened(lab_page, SESSION)
    chart.focus()
    whole = chart.facts()
    press = lab_page.page.keyboard.press
    press("+")
    zoomed = chart.wait(f"d.first !== '{whole['first']}'")
    assert lab_page.ev("(panel.window.first, panel.window.stop)") == f"({zoomed['first']}, {zoomed['stop']})"
    press("ArrowRight")
    panned = chart.wait(f"Number(d.first) > {zoomed['first']}")
    assert int(panned["stop"]) - int(panned["first"]) == int(zoomed["stop"]) - int(zoomed["first"])
    press("Home")
    chart.wait(f"d.first === '{whole['first']}'")
    press("ArrowDown")
    press("n")
    tip = chart.panel.get_by_test_id("tip")
    lab_page.wait_text(tip, "mmio write  blink BAR0 CTRL")
    lab_page.wait_text(tip, "EN=1 MODE=run")
    press("Enter")
    chart.wait("d.chosen === '1'")
    assert lab_page.ev("panel.selection.rows") == "range(4, 5)"
    press("Escape")
    press("Escape")
    chart.wait("d.chosen === '0'")
    for _ in range(5):
        press("Shift+ArrowRight")
    press("Enter")
    chart.wait("d.chosen !== '0'")
    assert lab_page.ev("panel.selection.rows") == "range(8, 10)"
    press("t")
    assert chart.wait("d.stop === '17'")["rows"] == "16"
    press("d")
    lab_page.wait_text(chart.panel.locator("[aria-live]"), "16 of 16 rows, rows")
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    cells = lab_page.page.evaluate(count)
    for letter in "xabm":
        press(letter)  # JupyterLab's shortcuts, which cut and insert cells
    assert lab_page.page.evaluate(count) == cells
    assert lab_page.ev("panel.failure") == "''"


def test_a_brush_chooses_rows_in_the_kernel_and_what_the_kernel_chooses_is_drawn(lab_page: LabPage) -> None:
    chart = opened(lab_page, BUSY.format(rows=200_000))
    facts = chart.wait("d.rows === '200000'")
    assert facts["binned"] == "true"
    assert "binned" in chart.panel.get_by_test_id("status").inner_text()
    chart.drag(400, 5, 600, 60, shift=True)
    chosen = int(chart.wait("d.chosen !== '0'")["chosen"])
    assert 30_000 < chosen < 60_000
    assert lab_page.ev("len(panel.selection.rows)") == str(chosen)
    before = chart.colours()
    lab_page.ev("panel.selection.set_rows(range(7, 1007))")
    chart.wait("d.chosen === '1000'")
    assert before > 10
    assert lab_page.ev("panel.failure") == "''"


def test_the_wheel_zooms_to_single_rows_once_the_panel_was_clicked(lab_page: LabPage) -> None:
    chart = opened(lab_page, BUSY.format(rows=200_000))
    chart.wait("d.rows === '200000'")
    box = chart.box()
    page = lab_page.page
    page.mouse.move(box["x"] + 500, box["y"] + 100)
    first = chart.facts()["first"]
    page.mouse.wheel(0, -100)
    assert chart.facts()["first"] == first
    page.mouse.click(box["x"] + 500, box["y"] + 100)
    for _ in range(12):
        page.mouse.wheel(0, -300)
    facts = chart.wait("d.binned === 'false'")
    rows = lab_page.ev(
        f"int(((trace.columns()['t_ns'] >= {facts['first']}) & (trace.columns()['t_ns'] < {facts['stop']})).sum())"
    )
    assert facts["rows"] == rows
    lab_page.shot("timeline-zoomed")
    chart.drag(500, 100, 700, 100)
    moved = chart.wait(f"Number(d.first) < {facts['first']}")
    assert int(moved["stop"]) - int(moved["first"]) == int(facts["stop"]) - int(facts["first"])


def test_rows_that_the_lab_records_appear_while_it_is_looked_at(lab_page: LabPage) -> None:
    cells = """
import hdvlab
from hdvlab.widgets import timeline
lab = hdvlab.Lab()
panel = timeline(lab, follow=True)
panel
"""
    lab_page.open([cells, "for n in range(500): lab.mark(f'mark {n}')"])
    lab_page.run_cell(0)
    chart = Chart(lab_page, "timeline")
    chart.chart.wait_for()
    lab_page.wait_ev("panel.visible", "1")
    lab_page.run_cell(1)
    chart.wait("Number(d.total) >= 500")
    assert lab_page.ev("len(lab.trace) >= 500 and panel.failure == ''") == "True"
