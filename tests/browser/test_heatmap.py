from __future__ import annotations

from .charts import Chart
from .page import LabPage

BUSY = """
import numpy as np
from hdvlab.widgets import heatmap
from tests.plots.traces import busy
trace = busy({rows})
panel = heatmap(trace)
panel
"""


def opened(lab_page: LabPage, rows: int) -> Chart:
    lab_page.open([BUSY.format(rows=rows)])
    lab_page.run_all()
    chart = Chart(lab_page, "heatmap")
    chart.chart.wait_for()
    chart.wait("d.done === '1' && Number(d.most) > 0")
    return chart


def test_it_is_drawn_in_both_themes(lab_page: LabPage) -> None:
    chart = opened(lab_page, 100_000)
    assert chart.facts()["place"] == "blink BAR0"
    lab_page.shot("heatmap-light")
    assert chart.colours() > 100
    assert lab_page.violations("heatmap") == []
    lab_page.dark()
    lab_page.shot("heatmap-dark")
    assert chart.colours() > 100
    assert lab_page.violations("heatmap") == []


def test_a_clicked_cell_chooses_its_rows_and_a_box_too(lab_page: LabPage) -> None:
    chart = opened(lab_page, 100_000)
    chart.focus()
    press = lab_page.page.keyboard.press
    press("c")  # a cell in the middle: 0x400 to 0x40f
    press("Enter")
    tip = chart.panel.get_by_test_id("tip").inner_text().split()
    count = int(tip[0].replace(",", ""))
    lab_page.wait_ev("len(panel.selection.rows)", str(count))
    press("Escape")
    box = chart.box()
    lab_page.page.mouse.click(box["x"] + 500, box["y"] + 11)  # CTRL
    chart.wait(f"d.chosen !== '0' && d.chosen !== '{count}'")
    assert lab_page.ev("set(trace.columns()['address'][panel.selection.rows].tolist()) <= {0, 4, 8}") == "True"
    chart.drag(300, 150, 500, 250, shift=True)
    chart.wait("Number(d.chosen) > 500")
    at = "trace.columns()['address'][panel.selection.rows]"
    assert lab_page.ev(f"bool({at}.min() >= 0x300 and {at}.max() <= 0x700)") == "True"
    assert lab_page.ev("panel.failure") == "''"


def test_keys_zoom_in_both_axes_and_count_reads_or_writes(lab_page: LabPage) -> None:
    chart = opened(lab_page, 100_000)
    chart.focus()
    press = lab_page.page.keyboard.press
    whole = chart.facts()
    press("+")
    zoomed = chart.wait(f"d.first !== '{whole['first']}'")
    assert zoomed["low"] == whole["low"]
    press("]")
    chart.wait(f"d.low !== '{whole['low']}'")
    press("Home")
    chart.wait(f"d.low === '{whole['low']}' && d.first === '{whole['first']}'")
    press("w")
    reads = chart.wait(f"d.most !== '{whole['most']}'")
    assert int(reads["most"]) < int(whole["most"])
    assert lab_page.ev("panel.picture.look.writes") == "False"
    lab_page.page.get_by_label("Place", exact=True).select_option("blink guest memory (DMA)")
    assert chart.wait("d.place === 'blink guest memory (DMA)' && d.done === '1'")["most"] == "0"  # only writes there
    lab_page.page.keyboard.press("Escape")
    assert lab_page.ev("panel.failure") == "''"
