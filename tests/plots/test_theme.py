"""Themes and their colours."""

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.colors import same_color

from hdvlab import plots
from hdvlab.errors import UsageError
from hdvlab.plots.theme import DARK, LIGHT, THEMES, Theme
from hdvlab.trace.schema import Kind

from .traces import session, trace_of


@pytest.fixture
def _default_theme() -> Iterator[None]:
    before = plots.get_theme()
    yield
    plots.set_theme(before)


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.1)."""
    parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.usefixtures("_default_theme")
def test_the_default_theme_is_light_until_another_is_set() -> None:
    assert plots.get_theme() is LIGHT
    assert plots.set_theme("dark") is LIGHT
    ax = plots.timeline(session())
    assert same_color(ax.figure.get_facecolor(), DARK.face)


def test_a_theme_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="no theme 'sepia'; there are light, dark"):
        plots.timeline(trace_of(), theme="sepia")


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_words_and_lines_can_be_told_from_the_page(theme: Theme) -> None:
    assert contrast(theme.text, theme.face) >= 7
    assert contrast(theme.muted, theme.face) >= 4.5
    assert all(contrast(shade.line, theme.face) >= 3 for shade in theme.series)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_kinds_of_access_differ_by_more_than_colour(theme: Theme) -> None:
    kinds = [Kind.mmio_read, Kind.mmio_write, Kind.dma_read, Kind.dma_write, Kind.interrupt, Kind.doorbell, Kind.fault]
    assert len({theme.looks[kind].marker for kind in kinds}) == len(kinds)
    assert set(theme.looks) == set(Kind)
