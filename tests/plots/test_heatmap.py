"""The heat map's cells and names."""

import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm

from hdvlab import plots
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.trace.schema import Kind

from .traces import REAL_TRACE, busy, session, trace_of


def mesh_of(ax: Axes) -> QuadMesh:
    (mesh,) = [collection for collection in ax.collections if isinstance(collection, QuadMesh)]
    return mesh


def labels_of(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_the_busiest_bar_is_drawn_with_its_registers_named() -> None:
    ax = plots.heatmap(session())
    assert ax.get_title(loc="left") == "Accesses to blink BAR0 · 5 rows"
    assert labels_of(ax) == ["CTRL", "COUNT", "STATUS", "0x800"]


def test_cells_count_accesses_and_untouched_ones_are_empty() -> None:
    rows = [{"kind": Kind.mmio_read, "t_ns": t} for t in (0, 0, 0, 239)] + [{"kind": Kind.mmio_read, "address": 4}]
    counts = mesh_of(plots.heatmap(trace_of(*rows))).get_array()
    assert counts.shape == (2, 240)
    assert counts[0, 0] == 3
    assert counts[0, 239] == 1
    assert counts[1, 0] == 1
    assert np.ma.count(counts) == 3


def test_the_scale_is_logarithmic_and_says_for_how_long_a_cell_stands() -> None:
    ax = plots.heatmap(busy(5_000))
    assert isinstance(mesh_of(ax).norm, LogNorm)
    (scale,) = ax.child_axes
    assert scale.get_ylabel().startswith("accesses in ")


def test_the_scale_spans_the_counts_that_there_are() -> None:
    rows = [{"kind": Kind.mmio_read, "t_ns": t} for t in (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)]
    ax = plots.heatmap(trace_of(*rows))
    norm = mesh_of(ax).norm
    assert (norm.vmin, norm.vmax) == (5, 11)
    assert list(ax.child_axes[0].get_yticks()) == [5, 11]


@pytest.mark.parametrize(("theme", "grows"), [("light", -1), ("dark", 1)])
def test_more_accesses_stand_out_more_from_the_page(theme: str, grows: int) -> None:
    colours = mesh_of(plots.heatmap(busy(500), theme=theme)).get_cmap()([0.0, 1.0])[:, :3].sum(axis=1)
    assert np.sign(colours[1] - colours[0]) == grows


def test_a_line_stands_where_untouched_places_are_left_out() -> None:
    ax = plots.heatmap(session())
    (lines,) = [collection for collection in ax.collections if collection.get_gid() == "skipped"]
    assert [segment[0][1] for segment in lines.get_segments()] == [2.5]  # between STATUS and 0x800


def test_device_and_bar_can_be_chosen() -> None:
    assert plots.heatmap(session(), bar=2).get_title(loc="left") == "Accesses to blink BAR2 · 1 row"
    assert plots.heatmap(session(), device="edu").get_title(loc="left") == "Accesses to edu BAR0 · 2 rows"


def test_a_bar_without_accesses_gives_a_sentence() -> None:
    assert [text.get_text() for text in plots.heatmap(session(), bar=4).texts] == [
        "No access to this BAR in this trace."
    ]


def test_a_real_driver_has_a_row_per_place_and_says_what_is_put_together() -> None:
    ax = plots.heatmap(read_mmiotrace(REAL_TRACE), device="e1000")
    (note,) = [text.get_text().replace("\n", " ") for text in ax.texts]
    assert note.startswith("384 of 32,768 dwords touched; the others have no row.")
    assert "share" in note
    assert mesh_of(ax).get_array().sum() == 13_764


def test_labels_never_stand_closer_than_they_are_high() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2), layout="constrained")
    ax = plots.heatmap(read_mmiotrace(REAL_TRACE), ax=figure.add_subplot())
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(lower.y1 <= upper.y0 + 2 for upper, lower in itertools.pairwise(boxes))
