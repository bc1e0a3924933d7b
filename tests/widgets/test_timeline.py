from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdvlab import Lab
from hdvlab.analysis.events import df_links
from hdvlab.analysis.lanes import df_lanes, df_marks, lane_numbers
from hdvlab.plots.theme import DARK, LIGHT
from hdvlab.trace.schema import E_PENDING, Kind
from hdvlab.trace.trace import Trace
from hdvlab.widgets import timeline
from hdvlab.widgets.pump import PUMP
from hdvlab.widgets.row_text import describe_row
from hdvlab.widgets.selection import selection_of
from hdvlab.widgets.timeline import Timeline
from hdvlab.widgets.timeline_picture import CELL, CHOSEN, FAILED, MOST_ROWS, PENDING, RECORD, SHARE, TimelinePicture
from hdvlab.widgets.timeline_window import Window
from tests.plots.traces import busy, session, trace_of

from ..labs import PATIENCE
from .front_end import FrontEnd

Array = np.ndarray[Any, Any]
LOOK = {"first": 0, "stop": 1, "by_row": False, "mode": "whole", "bins": 200, "sequence": 7}


def parts(header: dict[str, Any], buffer: bytes) -> tuple[Array, Array, Array]:
    """Cells, shares of chosen rows, and single rows of a message."""
    found, at = [], 0
    for name, dtype in (("cells", CELL), ("shares", SHARE), ("rows", RECORD)):
        found.append(np.frombuffer(buffer, dtype, header[name], at))
        at += header[name] * dtype.itemsize
    assert at == len(buffer)
    return found[0], found[1], found[2]


@pytest.fixture
def panel() -> Iterator[Timeline]:
    made = timeline(session())
    yield made
    made.close()


def test_a_short_trace_is_drawn_row_by_row_in_the_lanes_of_the_plot(panel: Timeline) -> None:
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    ((header, (buffer,)),) = browser.take("picture")
    cells, shares, rows = parts(header, buffer)
    frame = session().frame()
    lanes = df_lanes(frame, session().tables)
    assert header["lanes"] == lanes["label"].tolist()
    assert (header["sequence"], header["binned"], header["shown"], header["pending"]) == (7, False, 16, 1)
    assert len(cells) == len(shares) == 0
    assert rows["row"].tolist() == list(range(16))
    for name in ("value", "address", "dur_ns", "cause", "size"):
        assert rows[name].tolist() == frame[name].tolist()
    assert rows["lane"].tolist() == lane_numbers(frame, session().tables, lanes).tolist()
    assert rows["row"][rows["flags"] & FAILED > 0].tolist() == [11]
    assert rows["row"][rows["flags"] & PENDING > 0].tolist() == [15]
    assert [(one["label"], one["row"]) for one in header["moments"]] == [("start", 0), ("load driver", 3)]
    assert header["lost"] == [{"first": 11_000, "stop": 12_000, "rows": 1204}]
    links = df_links(frame, lane_numbers(frame, session().tables, lanes))
    assert {(int(row["cause"]), int(row["row"])) for row in rows if row["cause"] >= 0} == set(
        zip(links["cause"], links["effect"], strict=True)
    )


@pytest.mark.parametrize("by_row", [False, True])
def test_a_long_trace_is_binned_and_every_row_counted(by_row: bool) -> None:
    trace = busy(50_000)
    picture = TimelinePicture()
    picture.update(trace)
    header, buffer = picture.picture(Window(by_row=by_row), 300)
    cells, _, rows = parts(header, buffer)
    assert header["binned"]
    assert header["shown"] == cells["count"].sum() == 50_000
    frame = trace.frame()
    lane = lane_numbers(frame, trace.tables, picture.lanes)
    marks = df_marks(frame, lane)
    for kind in Kind:
        for number in range(len(picture.lanes)):
            here = cells[(cells["kind"] == kind) & (cells["lane"] == number)]
            expected = marks[(marks["kind"] == kind.name) & (marks["lane"] == number)]
            assert here["count"].sum() == expected["count"].sum()
            assert here["failed"].sum() == expected["failed"].sum()
    assert len(rows) == 0


def test_zooming_in_gives_single_rows_with_their_values() -> None:
    trace = busy(100_000)
    picture = TimelinePicture()
    picture.update(trace)
    t_ns = trace.columns()["t_ns"]
    window = Window(int(t_ns[40_000]), int(t_ns[41_000]), mode="fixed")
    header, buffer = picture.picture(window, 1000)
    _, _, rows = parts(header, buffer)
    assert not header["binned"]
    assert header["shown"] == 1000
    inside = rows[rows["flags"] & 8 == 0]
    assert inside["row"].tolist() == list(range(40_000, 41_000))
    assert inside["value"].tolist() == trace.columns()["value"][40_000:41_000].tolist()
    wide = Window(int(t_ns[0]), int(t_ns[MOST_ROWS + 1]), mode="fixed")
    assert picture.picture(wide, 1000)[0]["binned"]


def test_a_brush_chooses_rows_in_the_selection_that_all_panels_share(panel: Timeline) -> None:
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    browser.says("brush", first=4_000, stop=8_000, by_row=False, lanes=None)
    assert panel.selection.rows == range(4, 8)
    header, (buffer,) = browser.take("picture")[-1]
    _, _, rows = parts(header, buffer)
    assert rows["row"][rows["flags"] & CHOSEN > 0].tolist() == [4, 5, 6, 7]
    lane = header["lanes"].index("blink DMA")
    browser.says("brush", first=0, stop=99_000, by_row=False, lanes=[lane])
    assert list(panel.selection.rows) == [5, 6]
    browser.says("brush", first=9, stop=12, by_row=True, lanes=None)
    assert panel.selection.rows == range(9, 12)
    browser.says("choose", row=None)
    assert len(panel.selection.rows) == 0
    assert panel.failure == ""


def test_rows_chosen_elsewhere_are_drawn() -> None:
    trace = busy(50_000)
    panel = timeline(trace)
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    selection_of(trace).set_rows(range(10_000, 20_000))
    assert panel.is_stale()
    browser.says("look", **LOOK)
    header, (buffer,) = browser.take("picture")[-1]
    _, shares, _ = parts(header, buffer)
    assert shares["count"].sum() == 10_000
    selection_of(trace).set_rows(np.arange(0, 50_000, 5))
    browser.says("look", **LOOK)
    header, (buffer,) = browser.take("picture")[-1]
    _, shares, _ = parts(header, buffer)
    assert shares["count"].sum() == header["chosen"] == 10_000
    panel.close()


def test_the_chosen_row_is_drawn_with_its_cause_and_effects_wherever_they_are() -> None:
    filler = [{"t_ns": 1_000 * n, "kind": Kind.mmio_read} for n in range(9_000)]
    filler[4_000] |= {"kind": Kind.mmio_write}
    filler[4_500] |= {"kind": Kind.interrupt, "bar": -1, "cause": 4_000}
    picture = TimelinePicture()
    picture.update(trace_of(*filler))
    for row in (4_000, 4_500):
        header, buffer = picture.picture(Window(), 100, range(row, row + 1))
        _, _, rows = parts(header, buffer)
        assert header["binned"]
        assert rows["row"].tolist() == [4_000, 4_500]


def test_rows_that_come_are_shown_and_a_hidden_panel_sends_nothing(lab: Lab) -> None:
    panel = timeline(lab)
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    before = browser.take("picture")[-1][0]["total"]
    lab.mark("here")
    assert panel.is_stale()
    browser.says("look", **LOOK)
    header = browser.take("picture")[-1][0]
    assert header["total"] == before + 1
    assert header["moments"][-1]["label"] == "here"
    lab.mark("there")
    assert browser.received == []
    panel.close()


def test_following_keeps_the_end_in_view_and_its_bins_in_place() -> None:
    trace = busy(20_000)
    picture = TimelinePicture()
    last = 0
    for length in (12_000, 16_000, 20_000):
        picture.trace = trace
        picture.bins.update(trace.view().cut(0, length), 2)
        picture._name_lanes(trace.tables)
        header, _ = picture.picture(Window(0, 3_000_000, mode="follow"), 100)
        end = picture.bins.extent()[1]
        assert (header["stop"], header["first"]) == (end, end - 3_000_000)
        assert header["bin_first"] % header["width"] == 0
        assert header["stop"] > last
        last = header["stop"]


def test_a_stretch_can_be_asked_for_from_python() -> None:
    panel = timeline(session(), first=2_000, stop=9_000)
    assert (panel.window.first, panel.window.stop, panel.window.mode) == (2_000, 9_000, "fixed")
    panel.look(3, 7, by_row=True)
    assert PUMP.settle(PATIENCE)
    assert (panel.window.first, panel.window.stop, panel.window.by_row) == (3, 7, True)
    panel.look(follow=True)
    assert PUMP.settle(PATIENCE)
    assert (panel.window.mode, panel.window.stop) == ("follow", 15_501)
    panel.close()


def test_a_row_is_told_in_words() -> None:
    trace = session()
    assert describe_row(trace, 4) == [
        "row 4  mmio write  blink BAR0 CTRL",
        "0x00000003  EN=1 MODE=run",
        "at 0x0, 4 bytes",
        "at 0.000004000 s, 900 ns, by guest",
    ]
    assert describe_row(trace, 7)[-1] == "caused by row 4"
    assert "failed: 0x80004005" in describe_row(trace, 11)
    assert "1,204 rows were lost" in describe_row(trace, 12)
    assert "still being served" in describe_row(trace, 15)[-1]
    assert "load driver" in describe_row(trace, 3)
    assert "not in this trace" in describe_row(trace, 99)[0]


def test_the_text_form_has_a_line_for_each_lane_and_is_in_the_notebook(panel: Timeline) -> None:
    text = panel.text()
    assert text.startswith("16 of 16 rows")
    assert "1 failed. 1 pending." in text
    assert re.search(r"blink BAR0 \| .*█.*\| 5", text)
    assert "blink BAR0" in panel._repr_mimebundle_()["text/plain"]


def test_a_trace_without_rows_says_so() -> None:
    panel = timeline(Trace.from_columns({"kind": np.zeros(0)}))
    assert panel.text() == "No rows in this trace yet."
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    assert browser.take("picture")[-1][0]["total"] == 0
    assert panel.failure == ""
    panel.close()


@pytest.mark.parametrize("what", [{"first": "x"}, {"first": 1e300, "stop": -1e300}, {"bins": -5}, {"mode": "x"}, {}])
def test_nonsense_of_a_browser_is_answered_with_a_picture(panel: Timeline, what: dict[str, Any]) -> None:
    browser = FrontEnd(panel)
    browser.says("look", **LOOK | what)
    assert len(browser.take("picture")) == 1
    assert panel.failure == ""


def test_times_of_a_calendar_reach_the_browser_as_small_numbers() -> None:
    start = 1_790_000_000_000_000_000
    picture = TimelinePicture()
    picture.update(trace_of(*({"t_ns": start + n, "kind": Kind.mmio_read} for n in range(5))))
    header, buffer = picture.picture(Window(), 100)
    assert header["origin"] == str(start)
    assert parts(header, buffer)[2]["x"].tolist() == [0, 1, 2, 3, 4]


def test_a_panel_and_its_trace_go_when_nobody_holds_them() -> None:
    import gc
    import weakref

    trace = session()
    panel = timeline(trace)
    gone = weakref.ref(trace)
    panel.close()
    del panel, trace
    gc.collect()
    assert gone() is None


def test_an_access_that_is_served_for_long_is_seen_from_within() -> None:
    rows = [{"t_ns": 0, "kind": Kind.mmio_read, "dur_ns": 10**9}]
    rows += [{"t_ns": 10**6 * n, "kind": Kind.mmio_write} for n in range(1, 5)]
    rows += [{"t_ns": 10**7, "kind": Kind.mmio_read, "status": E_PENDING}]
    picture = TimelinePicture()
    picture.update(trace_of(*rows))
    header, buffer = picture.picture(Window(5 * 10**8, 6 * 10**8, mode="fixed"), 100)
    assert header["shown"] == 0
    assert parts(header, buffer)[2]["row"].tolist() == [0, 5]


def test_what_there_is_more_of_than_is_drawn_is_counted() -> None:
    rows: list[dict[str, Any]] = [{"t_ns": n, "kind": Kind.mmio_read, "dur_ns": 10**9} for n in range(270)]
    rows += [{"t_ns": 1_000 + n, "kind": Kind.lost, "value": 1} for n in range(103)]
    rows += [{"t_ns": 10**8, "kind": Kind.mmio_write, "cause": 0}] * 70_000
    picture = TimelinePicture()
    picture.update(trace_of(*rows))
    header, _ = picture.picture(Window(5 * 10**8, 6 * 10**8, mode="fixed"), 100, range(1))
    assert header["more_running"] == 70
    assert header["unsearched"] == len(rows) - 65_536
    header, _ = picture.picture(Window(), 100)
    assert (len(header["lost"]), header["more_lost"], header["unsearched"]) == (100, 3, 0)


def test_the_colours_are_those_of_the_plots() -> None:
    source = (Path(__file__).parents[2] / "widgets/src/palette.ts").read_text()
    for name, theme in (("LIGHT", LIGHT), ("DARK", DARK)):
        block = source[source.index(f"export const {name}") :].split("};")[0]
        shades = re.findall(r'(\w+): \{ fill: "(#\w+)", line: "(#\w+)" \}', block)
        assert {key: (fill, line) for key, fill, line in shades} == {
            key: (getattr(theme, key).fill, getattr(theme, key).line)
            for key in ("read", "write", "interrupt", "doorbell", "failure", "other")
        }
