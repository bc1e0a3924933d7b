from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from .page import LabPage

#: A trace of a million rows with values of 64 bits, of which a test knows every one.
MILLION = """
import numpy as np
import hdvlab, hdvlab.widgets
from hdvlab.registers import Register, RegisterMap
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import BarInfo, DeviceInfo, Tables
from hdvlab.trace.trace import Trace
n = 1_000_000
i = np.arange(n)
ctrl = Register(0, fields={"EN": 0, "RATE": (1, 4)}, name="CTRL")
registers = RegisterMap([ctrl, Register(8, 64, name="RING")], 4096, "bar0")
kinds = np.array([Kind.mmio_read, Kind.mmio_write, Kind.dma_read, Kind.interrupt], dtype=np.uint8)
kind = kinds[i % 4]
on_bar = i % 4 < 2
trace = Trace.from_columns(
    {
        "kind": kind,
        "t_ns": i * 1000,
        "dur_ns": np.full(n, 700),
        "device": np.zeros(n),
        "bar": np.where(on_bar, 0, -1),
        "size": np.full(n, 8),
        "address": np.where(on_bar, (8 * (i % 3)).astype(np.uint64), 0xFFFF_8000_0000_0000 + 64 * i.astype(np.uint64)),
        "value": np.uint64(0xF000_0000_0000_0001) + i.astype(np.uint64),
        "cause": np.where(on_bar, -1, i - 2),
    },
    Tables([DeviceInfo("blink", 0x1234, 1, "00:03.0", bars={0: BarInfo(4096, None, registers)})]),
)
table = hdvlab.widgets.table(trace)
table
"""


@pytest.fixture(scope="module")
def million(module_page: LabPage) -> LabPage:
    """A page with the table of a million rows."""
    module_page.open([MILLION])
    module_page.run_all()
    return module_page


@pytest.fixture
def table(million: LabPage) -> LabPage:
    """The table as it is in the beginning."""
    million.ev("table.filter(), table.selection.clear()")
    say(million, "1,000,000 rows")
    return million


def say(page: LabPage, text: str) -> None:
    """Wait until the line below the table says something."""
    page.page.get_by_test_id("hdv-table-status").filter(has_text=text).wait_for()


def grid(page: LabPage) -> Locator:
    return page.panel("table").get_by_role("grid")


def cell(page: LabPage, row: int, column: str) -> Locator:
    """A cell on screen, by its row's number."""
    return page.panel("table").locator(f".hdv-rows .hdv-row[data-row='{row}']:visible .hdv-col-{column}")


def first_row(page: LabPage) -> int:
    """The number of the row on top."""
    script = """grid => Math.min(...[...grid.querySelectorAll('.hdv-rows .hdv-row')]
        .filter(row => !row.hidden && row.dataset.row !== '').map(row => Number(row.dataset.row)))"""
    return int(grid(page).evaluate(script))


def test_the_last_row_is_shown_with_all_its_64_bits(table: LabPage) -> None:
    table.panel("table").get_by_role("button", name="Follow").press("Enter")
    grid(table).press("End")
    last = 999_999
    expect(cell(table, last, "value")).to_have_text(hex(0xF000_0000_0000_0001 + last))
    expect(cell(table, last, "place")).to_have_text(hex(0xFFFF_8000_0000_0000 + 64 * last))
    expect(cell(table, last, "kind")).to_have_text("↯ interrupt")
    expect(cell(table, last, "cause")).to_have_text("999,997")
    expect(cell(table, last, "time")).to_have_text("0.999 999 000")
    expect(cell(table, 999_997, "register")).to_have_text("RING")
    expect(cell(table, 999_993, "fields")).to_have_text("EN=0 RATE=0xd")


def test_it_scrolls_to_the_first_row_by_key_and_anywhere_by_its_bar(table: LabPage) -> None:
    grid(table).press("Home")
    expect(cell(table, 0, "value")).to_have_text("0xf000000000000001")
    grid(table).evaluate("grid => { grid.scrollTop = (grid.scrollHeight - grid.clientHeight) / 2 }")
    expect(cell(table, 500_000, "value")).to_have_text(hex(0xF000_0000_0000_0001 + 500_000))
    top = first_row(table)
    grid(table).hover()
    table.page.mouse.wheel(0, 440)  # 20 rows, though a px of the bar is more than one
    expect(cell(table, top, "row")).to_be_hidden()
    assert abs(first_row(table) - (top + 20)) <= 1


def test_a_filter_leaves_the_rows_that_numpy_leaves(table: LabPage) -> None:
    panel = table.panel("table")
    panel.get_by_label("Register, field or address").fill("CTRL.EN==1")
    count = table.ev("int(((kind == 3) | (kind == 4))[(8 * (i % 3) == 0) & ((i + 1) % 2 == 1)].sum())")
    say(table, f"{int(count):,} of 1,000,000 rows")
    assert table.ev("table.wait()") == count
    panel.get_by_role("button", name="mmio").click()
    panel.get_by_label("Value").fill("<0xf000_0000_0000_0100")
    say(table, "22 of 1,000,000 rows")
    assert table.ev("table.matching().index[:3].tolist()") == "[0, 12, 24]"
    table.shot("table-filtered")
    panel.get_by_role("button", name="Clear").click()
    say(table, "1,000,000 rows")


def test_a_filter_that_cannot_be_read_says_what_may_be_written(table: LabPage) -> None:
    box = table.panel("table").get_by_label("Register, field or address")
    box.fill("CTLR")
    alert = table.panel("table").get_by_text("no register CTLR; did you mean CTRL?")
    alert.wait_for()
    expect(box).to_have_attribute("aria-invalid", "true")
    table.shot("table-refused")
    assert table.ev("bool(table.filters)") == "False"
    table.panel("table").get_by_role("button", name="Clear").click()
    alert.wait_for(state="hidden")


def test_it_jumps_to_a_row_and_to_the_cause_of_one(table: LabPage) -> None:
    box = table.panel("table").get_by_label("Jump to a row")
    box.fill("123,458")
    box.press("Enter")
    cell(table, 123_458, "cause").click()
    expect(table.panel("table").locator(".hdv-active .hdv-col-row")).to_have_text("123,456")
    table.ev("table.jump(777_777)")
    expect(table.panel("table").locator(".hdv-active .hdv-col-row")).to_have_text("777,777")
    table.ev("table.filter(kind='dma')")
    table.ev("table.jump(4)")
    say(table, "row 4 is not shown; the next one is 6")


def test_what_is_selected_is_a_frame_in_the_kernel(table: LabPage) -> None:
    grid(table).press("Home")
    cell(table, 3, "value").click()
    table.wait_ev("table.selected.index.tolist()", "[3]")
    cell(table, 6, "value").click(modifiers=["Shift"])
    table.wait_ev("table.selected.index.tolist()", "[3, 4, 5, 6]")
    cell(table, 4, "value").click(modifiers=["ControlOrMeta"])
    table.wait_ev("table.selected.index.tolist()", "[3, 5, 6]")
    say(table, "3 selected")
    assert table.ev("table.selected['value'].map(hex).tolist()") == str(
        [hex(0xF000_0000_0000_0001 + n) for n in (3, 5, 6)]
    )
    grid(table).press("ArrowDown")
    grid(table).press("Shift+ArrowDown")
    table.wait_ev("table.selected.index.tolist()", "[4, 5, 6]")
    table.ev("table.selection.set_rows([1, 2])")
    expect(table.panel("table").locator(".hdv-rows .hdv-row[aria-selected='true']")).to_have_count(2)
    expect(cell(table, 2, "row").locator("..")).to_have_attribute("aria-selected", "true")


def test_letters_typed_into_it_cut_no_cells(table: LabPage) -> None:
    grid(table).press("x")
    grid(table).press("b")
    assert table.page.locator(".jp-Notebook .jp-CodeCell").count() == 1


def test_axe_finds_nothing_in_light_and_in_dark(table: LabPage) -> None:
    grid(table).press("Home")
    cell(table, 2, "value").click()
    table.wait_ev("len(table.selected)", "1")
    table.shot("table-light")
    assert table.violations("table") == []
    table.dark()
    table.shot("table-dark")
    assert table.violations("table") == []
