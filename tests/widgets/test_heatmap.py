from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind
from hdvlab.trace.trace import Trace
from hdvlab.widgets import heatmap
from hdvlab.widgets.heat_picture import CELL, HeatPicture, Look
from hdvlab.widgets.timeline_window import Window
from tests.plots.traces import busy, session, trace_of

from .front_end import FrontEnd

Array = np.ndarray[Any, Any]
LOOK = {"first": 0, "stop": 1, "mode": "whole", "low": 0, "high": 0, "bins": 100, "sequence": 3}


def cells_of(header: dict[str, Any], buffer: bytes) -> Array:
    """The counts of a message, by band and stretch."""
    cells = np.frombuffer(buffer, CELL, header["cells"])
    counts = np.zeros(header["bands"] * header["bins"], dtype=np.int64)
    counts[cells["at"]] = cells["count"]
    return counts.reshape(header["bands"], header["bins"])


def on_bar0(trace: Trace) -> Array:
    columns = trace.columns()
    chosen: Array = (columns["device"] == 0) & (columns["bar"] == 0)
    return chosen


def test_every_access_of_the_place_is_counted_and_reads_and_writes_apart() -> None:
    trace = busy(30_000)
    kind = trace.columns()["kind"][on_bar0(trace)]
    panel = heatmap(trace)
    browser = FrontEnd(panel)
    totals = {}
    for reads, writes in ((True, True), (True, False), (False, True)):
        browser.says("look", **LOOK | {"reads": reads, "writes": writes})
        ((header, (buffer,)),) = browser.take("picture")
        assert (header["sequence"], header["done"], header["step"]) == (3, 1.0, 16)
        counts = cells_of(header, buffer)
        assert header["most"] == counts.max()
        totals[reads, writes] = counts.sum()
    assert totals == {
        (True, True): len(kind),
        (True, False): np.count_nonzero(kind == Kind.mmio_read),
        (False, True): np.count_nonzero(kind == Kind.mmio_write),
    }
    assert panel.failure == ""
    panel.close()


def test_zooming_in_on_addresses_names_the_registers() -> None:
    trace = busy(30_000)
    panel = heatmap(trace)
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    browser.take("picture")
    browser.says("look", **LOOK | {"low": 0, "high": 0x18})
    ((header, (buffer,)),) = browser.take("picture")
    assert [one["name"] for one in header["names"]] == ["CTRL", "COUNT", "STATUS", "RING"]
    assert (header["low"], header["high"], header["step"], header["bands"]) == (0, 0x18, 1, 0x18)
    address = trace.columns()["address"][on_bar0(trace)]
    counts = cells_of(header, buffer)
    assert counts[4].sum() == counts[7].sum() == np.count_nonzero(address == 4)
    assert counts[12].sum() == 0
    panel.close()


def test_a_clicked_cell_chooses_its_rows() -> None:
    trace = session()
    panel = heatmap(trace)
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    browser.says("choose", first=8_500, stop=10_500, low=8, high=12)
    assert list(panel.selection.rows) == [9, 10]
    header, (buffer,) = browser.take("picture")[-1]
    assert header["chosen"] == 2
    chosen = np.frombuffer(buffer, "<u4", header["chosen_cells"], header["cells"] * CELL.itemsize)
    counts = cells_of(header, buffer).ravel()
    assert len(chosen) >= 1
    assert counts[chosen].sum() == 2
    browser.says("look", **LOOK | {"reads": False})
    browser.says("choose", first=8_500, stop=10_500, low=8, high=12)
    assert list(panel.selection.rows) == [10]
    browser.says("clear")
    assert len(panel.selection.rows) == 0
    assert panel.failure == ""
    panel.close()


def test_guest_memory_is_a_place_whose_transfers_count_in_every_cell_they_touch() -> None:
    panel = heatmap(session(), place="blink guest memory (DMA)")
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    ((header, (buffer,)),) = browser.take("picture")
    assert header["places"][header["place"]] == "blink guest memory (DMA)"
    assert (header["base"], header["touched"]) == ("0x1000", [0, 0x1040])
    counts = cells_of(header, buffer)
    assert np.count_nonzero(counts) == 2 * (64 // header["step"])
    browser.says("choose", first=0, stop=100_000, low=0x1000, high=0x1040)
    assert list(panel.selection.rows) == [6]
    assert panel.selection.address == 0x2000
    panel.close()


def test_a_place_that_nothing_touched_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="it has blink BAR0"):
        heatmap(session(), place="nvme BAR0")


def test_a_growing_trace_is_not_counted_anew_at_each_look() -> None:
    trace = busy(40_000)
    picture = HeatPicture()
    picture.trace = trace
    grids = set()
    view = trace.view()

    class Growing(Trace):
        length = 0

        def view(self) -> Any:
            return view.cut(0, self.length)

    growing = Growing(trace.columns(), trace.tables)
    for length in range(500, 40_001, 500):
        growing.length = length
        picture.update(growing)
        grids.add(picture.heat)
    assert len(grids) <= 12  # once for each doubling, and for new lowest addresses
    assert picture.heat is not None
    assert picture.heat.rows == np.count_nonzero(on_bar0(trace))
    header, buffer = picture.picture()
    assert cells_of(header, buffer).sum() == picture.heat.rows


def test_a_long_trace_is_counted_in_steps_and_says_how_far_it_is() -> None:
    picture = HeatPicture()
    trace = busy(20_000)
    steps = 0
    while not picture.is_complete or not steps:
        assert picture.update(trace, 3_000)
        header, buffer = picture.picture()
        steps += 1
        assert (header["done"] < 1) == (not picture.is_complete)
    assert steps > 3
    once = HeatPicture()
    once.update(trace)
    assert once.picture() == (header, buffer)


def test_a_stretch_of_time_counts_only_its_rows() -> None:
    trace = busy(30_000)
    t_ns = trace.columns()["t_ns"]
    picture = HeatPicture()
    picture.look = Look(window=Window(int(t_ns[10_000]), int(t_ns[20_000]), mode="fixed"))
    picture.update(trace)
    assert picture.heat is not None
    first, end = picture.heat.first, picture.heat.end
    assert picture.heat.rows == np.count_nonzero(on_bar0(trace) & (t_ns >= first) & (t_ns < end))
    assert picture.heat.rows < 10_000


@pytest.mark.parametrize(
    "what", [{"first": None}, {"low": 1e300, "high": -5}, {"place": 99}, {"low": -9, "high": 2**65}]
)
def test_nonsense_of_a_browser_is_answered_with_a_picture(what: dict[str, Any]) -> None:
    panel = heatmap(busy(1_000))
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    browser.says("look", **LOOK | what)
    assert len(browser.take("picture")) == 2
    assert panel.failure == ""
    panel.close()


def test_addresses_at_the_end_of_64_bits_are_exact() -> None:
    rows = [{"t_ns": n, "kind": Kind.dma_read, "bar": -1, "address": np.uint64(2**64 - 64 + n)} for n in range(8)]
    panel = heatmap(trace_of(*rows))
    browser = FrontEnd(panel)
    browser.says("look", **LOOK)
    ((header, (buffer,)),) = browser.take("picture")
    assert int(header["base"], 16) + header["touched"][1] == 2**64 - 64 + 7 + 4
    assert cells_of(header, buffer).sum() == 8 * 4
    assert panel.failure == ""
    panel.close()


def test_the_text_form_has_a_line_for_each_stretch_of_addresses_that_was_touched() -> None:
    panel = heatmap(busy(10_000))
    text = panel.text()
    assert text.startswith("Accesses of blink BAR0 from 0x0 to 0x803")
    assert "(CTRL)" in text
    assert "0x400 |" in text
    assert "0x200 |" not in text
    empty = heatmap(Trace.from_columns({"kind": np.zeros(0)}))
    assert empty.text() == "No access to a BAR or to guest memory in this trace yet."
    for one in (panel, empty):
        one.close()
