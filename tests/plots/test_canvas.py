"""Axes of our own and of the caller, and how a notebook shows them."""

import struct
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from hdvlab import plots
from hdvlab.errors import UsageError
from hdvlab.plots.theme import DARK
from hdvlab.trace.trace import Trace

from .traces import session, trace_of


def compare(trace: Trace, **options: Any) -> Axes:
    return plots.compare(trace, trace, **options)


PLOTS = [
    plots.timeline,
    plots.heatmap,
    plots.latency,
    plots.waveform,
    plots.dma,
    plots.interrupts,
    plots.states,
    plots.rate,
    compare,
]


def png_size(data: bytes) -> tuple[int, int]:
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.mark.parametrize("plot", PLOTS)
def test_axes_and_their_figure_show_themselves_without_pyplot(plot) -> None:
    ax = plot(session())
    assert isinstance(ax, Axes)
    for shown in (ax, ax.figure):
        data, metadata = DisplayFormatter().format(shown)
        size = metadata["image/png"]
        assert png_size(data["image/png"]) == (2 * size["width"], 2 * size["height"])
        assert size["width"] == 900


def test_no_plot_imports_pyplot() -> None:
    code = "import hdvlab.plots, sys; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("plot", PLOTS)
def test_the_axes_of_the_caller_are_drawn_on_and_returned(plot) -> None:
    figure = Figure()
    ax = figure.add_subplot()
    assert plot(session(), ax=ax, theme="dark") is ax
    assert any(part.has_data() for part in (ax, *ax.child_axes))
    assert figure.get_facecolor() == ax.get_facecolor()


@pytest.mark.parametrize("plot", PLOTS)
def test_a_subfigure_can_be_drawn_on_and_saved(plot) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    ax = plot(session(), ax=figure.subfigures(1, 2)[0].add_subplot())
    assert png_size(plots.figure_png(ax, dpi=50)) == (400, 200)


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_empty_trace_gives_empty_axes_with_a_sentence(plot, theme: str) -> None:
    ax = plot(trace_of(), theme=theme)
    assert [text.get_text()[-1] for text in ax.texts] == ["."]
    assert not ax.get_xticks().size
    assert plots.figure_png(ax.figure)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_trace_of_one_row_can_be_drawn(plot) -> None:
    assert plots.figure_png(plot(trace_of({"kind": 3, "dur_ns": 5, "t_ns": 10**15})), dpi=30)


@pytest.mark.parametrize("plot", PLOTS[:-1])  # compare shows runs as they are
def test_a_stretch_without_rows_is_said_to_be_one(plot) -> None:
    ax = plot(session(), start="1s")
    assert len(ax.texts) == 1


def test_words_are_in_the_colours_of_the_theme() -> None:
    ax = plots.timeline(session(), theme=DARK)
    assert ax.get_title(loc="left") == "Timeline · 16 rows"
    assert ax.xaxis.label.get_color() == DARK.text
    assert {label.get_color() for label in ax.get_yticklabels()} == {DARK.text}
    legend = ax.get_legend()
    assert legend is not None
    assert all(same_color(text.get_color(), DARK.text) for text in legend.get_texts())


@pytest.mark.parametrize("draw", PLOTS[:-1])
def test_a_picture_is_drawn_of_what_has_a_trace_and_of_nothing_else(draw: Callable[..., Axes]) -> None:
    trace = session()
    assert draw(SimpleNamespace(trace=trace)).get_title(loc="left") == draw(trace).get_title(loc="left")
    with pytest.raises(UsageError, match="shown of a trace, a lab or a run, not of Rows"):
        draw(trace.frame())
    with pytest.raises(UsageError, match=r"read it first: hdvlab\.read_trace"):
        draw("run.mmiotrace")
