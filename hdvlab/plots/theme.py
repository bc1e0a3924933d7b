"""Themes: explicit colours for light and dark pages, and a colour, marker and line for every kind of row.

Colours start from Petroff's six (arXiv:2107.02270), which stay apart in colour blindness; the shades that lines and the
dark theme need were chosen so that any two stay 20 or more apart (CIE 1976) under simulated deuteranopia, protanopia
and tritanopia, and every one has a contrast of 3 or more against its page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hdvlab.errors import UsageError
from hdvlab.plots.remembered import remembered
from hdvlab.trace.schema import KIND_GROUPS, Kind

LineStyle = Literal["-", "--", "-.", ":"]


@dataclass(frozen=True)
class Shade:
    """One hue: ``fill`` for areas and markers, ``line`` for thin lines and outlines."""

    fill: str
    line: str


@dataclass(frozen=True)
class Look:
    """How rows of one kind are drawn, with more than colour to tell them apart."""

    shade: Shade
    marker: str
    line: LineStyle
    """Line style of the kind in histograms."""


@dataclass(frozen=True)
class Theme:
    """Colours of a plot, all explicit, so that a picture reads the same on any page.

    ``face`` is the page, ``stripe`` every other lane, ``text`` and ``muted`` are for words, ``grid`` for lines that
    should not be noticed. Reads are blue, writes orange, in whatever lane; failures are red.
    """

    name: str
    face: str
    stripe: str
    text: str
    muted: str
    grid: str
    read: Shade
    write: Shade
    interrupt: Shade
    doorbell: Shade
    failure: Shade
    other: Shade
    heat: str = "cividis"
    heat_range: tuple[float, float] = (1.0, 0.0)
    """Ends of the heat map's colours for one access and for the most: dark is much on a light page."""
    looks: Mapping[Kind, Look] = field(init=False)

    def __post_init__(self) -> None:
        looks = {kind: Look(self.other, "d", ":") for kind in Kind}
        looks |= {
            Kind.config_read: Look(self.read, "o", ":"),
            Kind.config_write: Look(self.write, "s", ":"),
            Kind.mmio_read: Look(self.read, "o", "-"),
            Kind.mmio_write: Look(self.write, "s", "-"),
            Kind.dma_read: Look(self.read, "<", "--"),
            Kind.dma_write: Look(self.write, ">", "--"),
            Kind.interrupt: Look(self.interrupt, "D", "-."),
            Kind.fault: Look(self.failure, "X", "-"),
        }
        looks |= {kind: Look(self.doorbell, "P", "-.") for kind in KIND_GROUPS["doorbell"]}
        looks |= {kind: Look(self.other, "|", ":") for kind in KIND_GROUPS["lifecycle"]}
        object.__setattr__(self, "looks", looks)

    @property
    def series(self) -> tuple[Shade, ...]:
        """Colours for things that have no kind, such as registers, in the order of use."""
        return (self.read, self.write, self.failure, self.doorbell, self.interrupt, self.other)


LIGHT = Theme(
    name="light",
    face="#ffffff",
    stripe="#f4f5f7",
    text="#1b1d22",
    muted="#5c6068",
    grid="#d5d8dd",
    read=Shade("#5790fc", "#4080f5"),
    write=Shade("#f89c20", "#d07800"),
    interrupt=Shade("#7a21dd", "#5008b0"),
    doorbell=Shade("#964a8b", "#84357a"),
    failure=Shade("#e42536", "#c40f2b"),
    other=Shade("#9c9ca1", "#77777d"),
)

DARK = Theme(
    name="dark",
    face="#1b1d22",
    stripe="#23262d",
    text="#e8eaed",
    muted="#a9aeb8",
    grid="#3c4049",
    read=Shade("#74abff", "#74abff"),
    write=Shade("#f89c20", "#f89c20"),
    interrupt=Shade("#9457f5", "#9457f5"),
    doorbell=Shade("#b05fa3", "#b05fa3"),
    failure=Shade("#f2404f", "#f2404f"),
    other=Shade("#c4c4ca", "#c4c4ca"),
    heat_range=(0.25, 1.0),
)

THEMES: dict[str, Theme] = {theme.name: theme for theme in (LIGHT, DARK)}

#: None until a theme is first needed or set: then it is what the person had remembered, else light.
_default: Theme | None = None


def get_theme(theme: Theme | str | None = None) -> Theme:
    """The theme that ``theme`` means: itself, one of :data:`THEMES` by name, or the default for None.

    Raises
    ------
    UsageError
        No theme has that name.
    """
    global _default
    if theme is None:
        if _default is None:
            _default = THEMES[remembered(tuple(THEMES)) or LIGHT.name]
        return _default
    if isinstance(theme, Theme):
        return theme
    try:
        return THEMES[theme]
    except KeyError:
        raise UsageError(f"there is no theme {theme!r}; there are {', '.join(THEMES)}") from None


def set_theme(theme: Theme | str) -> Theme:
    """Make ``theme`` the default of every plot from now on, and return the one that was."""
    global _default
    before = get_theme()
    _default = get_theme(theme)
    return before
