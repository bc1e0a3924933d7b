"""The DMA map's lanes, transfers and cells."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import same_color

from hdvlab import plots
from hdvlab.analysis.dma import df_dma_cells, df_dma_regions
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.plots.dma import amount
from hdvlab.plots.theme import DARK
from hdvlab.trace.schema import Kind
from hdvlab.trace.trace import Trace

from .traces import E_FAIL, REAL_TRACE, TABLES, busy, trace_of


def few() -> Trace:
    """A ring at 0x1000, of which two descriptors are read and one is written back, and a buffer far away."""
    row = {"kind": Kind.dma_read, "bar": -1, "size": 16}
    return trace_of(
        {**row, "address": 0x1000, "t_ns": 0, "dur_ns": 50},
        {**row, "address": 0x1010, "t_ns": 1_000},
        {**row, "address": 0x80_0000, "size": 4096, "kind": Kind.dma_write, "t_ns": 2_000, "dur_ns": 500},
        {**row, "address": 0x1000, "kind": Kind.dma_write, "t_ns": 3_000},
        {**row, "address": 0x1010, "t_ns": 4_000, "status": E_FAIL},
    )


def test_each_region_has_a_lane_with_its_place_its_size_and_what_was_moved() -> None:
    ax = plots.dma(few())
    assert [" ".join(tick.get_text().split()) for tick in ax.get_yticklabels()] == ["0x1000 32 B", "0x800000 4 KiB"]
    (beside,) = ax.child_axes
    said = [tick.get_text() for tick in beside.get_yticklabels()]
    assert said == ["3 reads, 1 write of 16 B", "1 write of 4 KiB"]
    assert ax.get_title(loc="left") == "Guest memory touched by DMA · 5 transfers · 4.06 KiB"


def test_a_transfer_reaches_over_its_bytes_and_its_time() -> None:
    ax = plots.dma(few())
    marks = {str(one.get_gid()): one for one in ax.collections if isinstance(one, PolyCollection)}
    assert {name: len(one.get_paths()) for name, one in marks.items()} == {
        "transfers: device reads memory": 2,
        "transfers: device writes memory": 2,
        "transfers: failed": 1,
    }
    first, second = (path.get_extents() for path in marks["transfers: device reads memory"].get_paths())
    assert (first.y0, first.y1) == pytest.approx(
        (-0.42, 0)
    )  # the lower half of the ring's bytes is the upper of the lane
    assert (second.y0, second.y1) == pytest.approx((0, 0.42))
    large = marks["transfers: device writes memory"].get_paths()[0].get_extents()
    assert (large.x0, large.x1) == pytest.approx((2, 2.5))
    assert (large.y0, large.y1) == pytest.approx((1 - 0.42, 1 + 0.42))


def test_many_transfers_are_cells_whose_counts_are_the_frames_and_the_picture_says_so() -> None:
    trace = busy(100_000)
    ax = plots.dma(trace)
    (mesh,) = [one for one in ax.collections if isinstance(one, QuadMesh)]
    count = int((trace.frame()["kind"] == "dma_write").sum())
    counts = np.ma.filled(mesh.get_array(), 0)
    rows = trace.frame()
    assert counts.sum() == df_dma_cells(rows, df_dma_regions(rows))["writes"].sum() >= count
    (note,) = [text.get_text() for text in ax.texts if text.get_gid() == "note"]
    assert f"{count:,} transfers in all" in " ".join(note.split())
    assert f"up to {int(counts.max()):,};" in " ".join(note.split())


def test_regions_that_share_a_lane_are_told_of() -> None:
    rows = [{"kind": Kind.dma_read, "bar": -1, "address": n * 0x10000 * (1 + n % 7)} for n in range(60)]
    ax = plots.dma(trace_of(*rows), max_regions=8)
    assert len(ax.get_yticks()) == 8
    said = " ".join(text.get_text() for text in ax.texts)
    assert "stretches of memory share 8 lanes: gaps of less than" in said


def test_one_devices_dma_can_be_chosen_and_no_dma_says_what_to_do() -> None:
    row = {"kind": Kind.dma_read, "bar": -1, "address": 0x1000}
    ax = plots.dma(trace_of(row, {**row, "device": 1}, row), device="edu", theme="dark")
    assert "1 transfer " in ax.get_title(loc="left")
    assert same_color(ax.get_facecolor(), DARK.face)
    for trace, said in (
        (read_mmiotrace(REAL_TRACE), "No DMA in this trace; %hdv plot timeline shows what there is."),
        (trace_of(tables=TABLES), "No DMA in this trace; let a guest use the device first."),
    ):
        assert [text.get_text() for text in plots.dma(trace).texts] == [said]


@pytest.mark.parametrize(("size", "text"), [(16, "16 B"), (1023, "1023 B"), (4096, "4 KiB"), (1023 * 1024, "1023 KiB")])
def test_amounts_read_well(size: int, text: str) -> None:
    assert amount(size) == text
