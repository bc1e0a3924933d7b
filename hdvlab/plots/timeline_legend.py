"""The legend of a timeline: one entry for each way of drawing that the picture uses."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hdvlab.plots.theme import Theme
from hdvlab.trace.schema import KIND_GROUPS, Kind


def handles(theme: Theme, marks: pd.DataFrame, links: pd.DataFrame, lost: pd.DataFrame) -> list[Any]:
    """Entries for what is drawn: kinds, failed and pending accesses, connectors, lost rows."""
    found = set(marks["kind"].unique())
    kinds = [
        kind for kind in Kind if kind.name in found and kind not in KIND_GROUPS["lifecycle"] | KIND_GROUPS["fault"]
    ]
    made: list[Any] = (
        _stretch_handles(theme, kinds) if marks.attrs["binned"] else [_row_handle(theme, k) for k in kinds]
    )
    if marks["failed"].any():
        made.append(_marker("X", theme.failure.fill, theme.face, "failed"))
    if marks["pending"].any() and not marks.attrs["binned"]:
        made.append(_marker("o", theme.face, theme.muted, "pending"))
    if len(links):
        made.append(Line2D([], [], color=theme.muted, linewidth=0.9, label="caused"))
    if len(lost):
        made.append(
            Patch(facecolor=theme.face, edgecolor=theme.failure.line, hatch="////", label="rows lost", linewidth=0.6)
        )
    return made


def _row_handle(theme: Theme, kind: Kind) -> Any:
    look = theme.looks[kind]
    return _marker(look.marker, look.shade.fill, look.shade.line, kind.name.replace("_", " "))


def _stretch_handles(theme: Theme, kinds: list[Kind]) -> list[Any]:
    """One entry per colour: without markers, kinds of one colour differ by their lane alone."""
    texts = {theme.read.fill: "reads, upward", theme.write.fill: "writes, downward"}
    made = {}
    for kind in kinds:
        fill = theme.looks[kind].shade.fill
        made[fill] = Patch(facecolor=fill, label=texts.get(fill, kind.name.replace("_", " ")))
    return list(made.values())


def _marker(marker: str, face: str, edge: str, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markersize=6,
        markerfacecolor=face,
        markeredgecolor=edge,
        markeredgewidth=1.0,
        label=label,
    )
