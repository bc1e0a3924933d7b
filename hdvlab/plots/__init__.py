"""Pictures of traces: one call each, a :class:`~hdvlab.trace.trace.Trace` in, matplotlib axes out. They only draw."""

from hdvlab.plots.canvas import figure_png
from hdvlab.plots.compare import compare
from hdvlab.plots.dma import dma
from hdvlab.plots.heatmap import heatmap
from hdvlab.plots.interrupts import interrupts
from hdvlab.plots.latency import latency
from hdvlab.plots.rate import rate
from hdvlab.plots.states import states
from hdvlab.plots.theme import DARK, LIGHT, Theme, get_theme, set_theme
from hdvlab.plots.timeline import timeline
from hdvlab.plots.waveform import waveform

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "compare",
    "dma",
    "figure_png",
    "get_theme",
    "heatmap",
    "interrupts",
    "latency",
    "rate",
    "set_theme",
    "states",
    "timeline",
    "waveform",
]
