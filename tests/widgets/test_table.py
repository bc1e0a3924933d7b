from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hdvlab.widgets
from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import UsageError
from hdvlab.trace.schema import COLUMNS, E_PENDING, Kind
from hdvlab.trace.trace import Trace
from hdvlab.widgets.row_index import PIECE, RowIndex
from hdvlab.widgets.table import RowFilter, TraceTable
from hdvlab.widgets.table_window import PENDING, RECORD, SELECTED

from .front_end import FrontEnd


class Blink(Device):
    """A register that is stored."""

    vendor_id, device_id = 0x1234, 0x0001

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")


@pytest.fixture
def table(lab: Lab) -> Iterator[TraceTable]:
    lab.plug(Blink)
    made = hdvlab.widgets.table(lab)
    yield made
    made.close()


def windows(browser: FrontEnd) -> list[tuple[dict[str, Any], Any]]:
    """What arrived: the message, and its records as an array."""
    return [(content, np.frombuffer(buffers[0], RECORD)) for content, buffers in browser.take("window")]


def ask(browser: FrontEnd, start: int, count: int, follow: bool = False) -> tuple[dict[str, Any], Any]:
    browser.show()
    browser.says("window", view="a", ask=1, start=start, count=count, follow=follow)
    return next(one for one in windows(browser) if one[0]["ask"] == 1)


def test_the_browser_gets_the_rows_that_it_asks_for_with_their_names(lab: Lab, table: TraceTable) -> None:
    lab["blink"].bar0.CTRL.write(5)
    content, records = ask(FrontEnd(table), len(lab.trace) - 2, 10)
    assert (content["total"], content["rows"], len(records)) == (len(lab.trace), len(lab.trace), 2)
    last = records[-1]
    assert (last["row"], last["kind"], last["value"]) == (len(lab.trace) - 1, Kind.mmio_write, 5)
    named = [content["texts"][last[name]] for name in ("device", "register", "fields", "status")]
    assert named == ["blink", "CTRL", "EN=1 RATE=2", ""]


def test_rows_that_come_are_followed_and_found_by_the_filter(lab: Lab, table: TraceTable) -> None:
    table.filter(register="CTRL.EN==1")
    assert table.wait() == 0
    browser = FrontEnd(table)
    assert len(ask(browser, 0, 5, follow=True)[1]) == 0
    for value in range(20):
        lab["blink"].bar0.CTRL.write(value)
    assert table.wait() == 10
    assert table.matching()["value"].tolist() == list(range(1, 20, 2))
    browser.says("window", view="a", ask=2, start=0, count=5, follow=True)
    assert windows(browser)[-1][1]["value"].tolist() == [11, 13, 15, 17, 19]


def test_a_filter_that_cannot_be_read_is_refused_to_the_view_that_wrote_it(table: TraceTable) -> None:
    browser = FrontEnd(table)
    browser.says("filter", view="a", filter={"register": "CTLR"})
    ((refused, _),) = browser.take("refused")
    assert (refused["view"], refused["name"], refused["text"]) == (
        "a",
        "register",
        "no register CTLR; did you mean CTRL?",
    )
    assert not table.filters
    with pytest.raises(UsageError, match="not by colour"):
        table.filter(colour="red")


def test_rows_are_selected_one_by_one_in_ranges_and_taken_out_again(lab: Lab, table: TraceTable) -> None:
    for value in range(10):
        lab["blink"].bar0.CTRL.write(value)
    first = len(lab.trace) - 10
    table.filter(kind="mmio")
    table.wait()
    browser = FrontEnd(table)
    browser.says("select", mode="only", place=2)
    browser.says("select", mode="range", place=5)
    browser.says("select", mode="toggle", place=3)
    assert table.selected.index.tolist() == [first + 2, first + 4, first + 5]
    assert table.selected["register"].tolist() == ["CTRL"] * 3
    _, records = ask(browser, 0, 10)
    assert [int(one["row"]) - first for one in records if one["flags"] & SELECTED] == [2, 4, 5]
    browser.says("select", mode="only", place=99)  # there is no such row any more
    assert len(table.selected) == 3


def test_a_panel_shows_what_another_of_its_lab_selected(lab: Lab, table: TraceTable) -> None:
    lab["blink"].bar0.CTRL.write(1)
    browser = FrontEnd(table)
    ask(browser, 0, 100)
    other = hdvlab.widgets.table(lab)
    other.selection.set_rows([1, 0])
    browser.says("hello", view="a")
    assert [one["row"] for one in windows(browser)[-1][1] if one["flags"] & SELECTED] == [0, 1]
    other.close()


def test_a_row_that_the_filter_hides_is_answered_with_the_next_one(lab: Lab, table: TraceTable) -> None:
    lab["blink"].bar0.CTRL.write(1)
    table.filter(kind="mmio")
    table.wait()
    browser = FrontEnd(table)
    browser.says("find", view="a", row=0)
    assert browser.take("found")[0][0]["row"] == len(lab.trace) - 1


def columns_of(count: int, **given: Any) -> dict[str, Any]:
    made = {name: np.zeros(count, dtype=kind) for name, kind in COLUMNS.items()}
    made["kind"][:] = Kind.mmio_read
    return made | given


def test_an_index_goes_on_piece_by_piece_and_finds_what_numpy_finds() -> None:
    count = 2 * PIECE + 100
    value = np.arange(count, dtype=np.uint64) % np.uint64(1000)
    trace = Trace.from_columns(columns_of(count, value=value))
    index = RowIndex(trace, RowFilter(value="7"))
    assert [index.advance(), index.scanned, index.advance(), index.advance()] == [True, PIECE, True, False]
    assert np.array_equal(index.positions(0, count), np.flatnonzero(value == 7))
    assert [index.place(7), index.place(8), index.place(count + 5)] == [0, 1, len(index) - 1]
    assert index.rows(1, 3).tolist() == [1007, 2007]


def test_a_row_that_waits_is_judged_anew_when_it_is_answered() -> None:
    columns = columns_of(6, value=np.array([7, 0, 7, 0, 7, 0], dtype=np.uint64))
    columns["status"][[1, 2, 3]] = E_PENDING
    index = RowIndex(Trace(columns, Trace.from_columns(columns).tables), RowFilter(value="7"))
    index.advance()
    assert index.positions(0, 9).tolist() == [0, 2, 4]
    columns["status"][1], columns["value"][1] = 0, 7  # answered with what is looked for
    columns["status"][2], columns["value"][2] = 0, 8  # and with something else
    index.advance()
    assert index.positions(0, 9).tolist() == [0, 1, 4]
    columns["status"][3] = 0
    index.advance()
    assert index.positions(0, 9).tolist() == [0, 1, 4]


def test_a_row_that_waits_says_so_and_is_not_sent_ten_times_a_second() -> None:
    columns = columns_of(3)
    columns["status"][1] = E_PENDING
    table = TraceTable(Trace(columns, Trace.from_columns(columns).tables))
    browser = FrontEnd(table)
    _, records = ask(browser, 0, 3)
    assert [bool(one["flags"] & PENDING) for one in records] == [False, True, False]
    table.on_pump(table.refresh)
    windows(browser)
    for _ in range(3):
        assert table.is_stale()
        table.on_pump(table.refresh)
    assert windows(browser) == []
    columns["status"][1] = 0
    table.on_pump(table.refresh)
    assert len(windows(browser)) == 1
    table.close()


def test_a_panel_that_is_closed_is_given_back(lab: Lab) -> None:
    panel = hdvlab.widgets.table(lab)
    FrontEnd(panel).says("hello", view="a")
    gone = weakref.ref(panel)
    panel.close()
    del panel
    gc.collect()
    assert gone() is None


def test_the_text_form_has_the_last_rows_and_says_of_how_many(lab: Lab, table: TraceTable) -> None:
    for value in range(30):
        lab["blink"].bar0.CTRL.write(value)
    table.filter(kind="mmio_write")
    text = table.text()
    assert text.startswith(f"Trace table: 30 of {len(lab.trace)} rows (kind mmio_write); the last 20:")
    assert "0x1d" in text
    assert "RATE=" in text
    assert "0x9 " not in text
    assert "<table" in table.html()
    assert "<script" not in table.html()


def test_the_front_end_has_the_names_and_offsets_of_the_kernel() -> None:
    source = Path(__file__).parents[2] / "widgets/src"
    kinds = (source / "kinds.ts").read_text()
    names = kinds[kinds.index("KINDS = [") : kinds.index("];")]
    assert list(names.split('"')[1::2]) == [kind.name for kind in Kind]
    assert f"RECORD_SIZE = {RECORD.itemsize};" in (source / "records.ts").read_text()


def test_the_function_is_not_hidden_by_the_module_of_its_name() -> None:
    import hdvlab.widgets.table as named

    assert named is hdvlab.widgets.table
    assert callable(named)


def test_a_mark_is_its_text_and_no_number(lab: Lab) -> None:
    lab.mark("kurz")
    panel = hdvlab.widgets.table(lab)
    told = panel.text()
    panel.close()
    assert "kurz" in told
    assert f"{int.from_bytes(b'kurz', 'little'):#x}" not in told
