"""Pictures of traces: one call each, a :class:`~hdvlab.trace.trace.Trace` in, matplotlib axes out. They only draw."""

from hdvlab.plots.canvas import figure_png
from hdvlab.plots.heatmap import heatmap
from hdvlab.plots.latency import latency
from hdvlab.plots.theme import DARK, LIGHT, Theme, get_theme, set_theme
from hdvlab.plots.timeline import timeline
from hdvlab.plots.waveform import waveform

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "figure_png",
    "get_theme",
    "heatmap",
    "latency",
    "set_theme",
    "timeline",
    "waveform",
]
