"""Axes to draw on: figures that belong to nobody's pyplot, show themselves in a notebook, and wear a theme."""

from __future__ import annotations

import io
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from hdvlab.plots.theme import Theme

#: Inches across; fits the output cell of a notebook at 100 dots per inch.
WIDTH = 9.0
FONT_SIZE = 8.0
DPI = 100.0

#: Inches above and below the axes for title, legend, ticks and notes.
MARGIN = 1.25

_SCALE = 2.0  # dots per dot of the page, for screens that have them


def figure_of(ax: Axes) -> Figure:
    """The whole figure that axes stand in, also where that is a part of another."""
    figure = ax.figure
    return figure.figure if isinstance(figure, SubFigure) else figure


def figure_png(figure: Figure | Axes, dpi: float = DPI * _SCALE) -> bytes:
    """A figure as a PNG file's bytes.

    Parameters
    ----------
    figure : Figure or Axes
        What to draw: a figure, or the one these axes stand in.
    dpi : float
        Dots per inch.
    """
    whole = figure_of(figure) if isinstance(figure, Axes) else figure
    buffer = io.BytesIO()
    whole.savefig(buffer, format="png", dpi=dpi, facecolor=whole.get_facecolor())
    return buffer.getvalue()


def _shown(figure: Figure) -> tuple[bytes, dict[str, int]]:
    width, height = figure.get_size_inches() * DPI
    return figure_png(figure), {"width": round(width), "height": round(height)}


class PlotFigure(Figure):
    """A figure that a notebook shows, whether pyplot was ever imported or not."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return _shown(self)


class PlotAxes(Axes):
    """Axes that a notebook shows as the figure they stand in; made only for figures of our own."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return _shown(figure_of(self))


def axes_for(ax: Axes | None, theme: Theme, height: float) -> Axes:
    """The axes to draw on, in the theme's colours.

    Parameters
    ----------
    ax : Axes or None
        The caller's axes, or None for a new figure. The figure of the caller's axes gets the theme's page too: words
        around the axes would not be readable on another.
    theme : Theme
        Colours.
    height : float
        Inches of the new figure.
    """
    if ax is None:
        figure = PlotFigure(figsize=(WIDTH, round(height, 1)), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot(axes_class=PlotAxes)
    figure_of(ax).set_facecolor(theme.face)
    _dress(ax, theme)
    return ax


def _dress(ax: Axes, theme: Theme) -> None:
    ax.set_facecolor(theme.face)
    for side, spine in ax.spines.items():
        spine.set_color(theme.grid)
        spine.set_visible(side == "bottom")
    ax.tick_params(which="both", colors=theme.muted, labelcolor=theme.text, labelsize=FONT_SIZE, left=False)
    ax.set_axisbelow(True)


def panels(ax: Axes, theme: Theme, *bounds: tuple[float, float, float, float]) -> list[Axes]:
    """Divide axes into parts, ``ax.child_axes``; they themselves hold title, legend and notes and no drawing.

    Parameters
    ----------
    ax : Axes
        What :func:`axes_for` gave.
    theme : Theme
        Colours.
    bounds : tuple of float
        Left, bottom, width and height of each part, as shares of the axes.
    """
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    parts = []
    for place in bounds:
        part = ax.inset_axes(place)
        _dress(part, theme)
        parts.append(part)
    return parts


def title(ax: Axes, theme: Theme, text: str, above: float = 0.0) -> None:
    """A title at the left, ``above`` points higher than usual to leave room for a legend."""
    ax.set_title(text, loc="left", color=theme.text, fontsize=FONT_SIZE + 2, fontweight="bold", pad=6 + above)


def note(ax: Axes, theme: Theme, sentences: list[str]) -> None:
    """Small sentences under the time axis: what the picture leaves out or puts together."""
    fits = max(int(width_points(ax) / (0.54 * (FONT_SIZE - 0.5))), 20)
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, fits)]
    if lines:
        ax.annotate(
            "\n".join(lines),
            xy=(0, 0),
            xycoords="axes fraction",
            xytext=(0, -32),
            textcoords="offset points",
            ha="left",
            va="top",
            color=theme.muted,
            fontsize=FONT_SIZE - 0.5,
            gid="note",
        )


def legend(ax: Axes, theme: Theme, handles: list[Any]) -> float:
    """A legend between axes and title, in as many columns as fit; returns its height in points."""
    if not handles:
        return 0.0
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), int(width_points(ax) * 1.05 / (longest * FONT_SIZE * 0.58 + 36))))
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.3,
        borderpad=0.1,
        ncols=columns,
        frameon=False,
        fontsize=FONT_SIZE,
        labelcolor=theme.text,
        handletextpad=0.5,
        columnspacing=1.4,
        handlelength=1.6,
    )
    return (FONT_SIZE + 5) * -(-len(handles) // columns)


def nothing(ax: Axes, theme: Theme, sentence: str) -> Axes:
    """Empty axes that say why they are empty."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.text(
        0.5, 0.5, sentence, transform=ax.transAxes, ha="center", va="center", color=theme.muted, fontsize=FONT_SIZE + 2
    )
    return ax


def height_points(ax: Axes) -> float:
    """Height of the axes in points, before the layout is final."""
    return float(ax.figure.bbox.height / figure_of(ax).dpi) * 72 * float(ax.get_position(original=True).height)


def width_points(ax: Axes) -> float:
    """Width of the axes in points, before the layout is final; to judge whether words fit."""
    share = 0.88 if isinstance(ax, PlotAxes) else ax.get_position(original=True).width
    return float(ax.figure.bbox.width / figure_of(ax).dpi) * 72 * float(share)
