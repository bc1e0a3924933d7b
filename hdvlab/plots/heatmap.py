"""The heat map: which registers of a BAR are touched, how often, and when."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.ticker import FuncFormatter, NullFormatter

from hdvlab.analysis.heat import df_heat
from hdvlab.analysis.selection import Moment, device_name, df_window, find_device
from hdvlab.plots.canvas import FONT_SIZE, MARGIN, axes_for, figure_of, height_points, note, nothing, title
from hdvlab.plots.theme import Theme, get_theme
from hdvlab.plots.time_axis import TimeAxis, duration
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_BAND_INCHES = 0.14
_BINS = 240


def heatmap(
    trace: Trace | HasTrace,
    *,
    device: int | str | None = None,
    bar: int | None = None,
    start: Moment | None = None,
    stop: Moment | None = None,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
) -> Axes:
    """Draw how often each place of one BAR was read or written, over time.

    A row is a register, or an offset where nothing describes it, lowest at the top. Places that were never touched
    have no row; a thin line stands where some are left out. Where too many places were touched, neighbours share a row
    that says how many they are.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    device : int or str, optional
        Device by number or name.
    bar : int, optional
        BAR 0 to 5. The busiest BAR of those that fit is drawn where device or BAR is not given.
    start, stop : int or str, optional
        First moment to show, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"``.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.

    Returns
    -------
    Axes
        y is the number of the row, x is time in the unit of the label. Colour is the number of accesses, logarithmic.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = df_window(trace.frame(), start, stop)
    number = None if device is None else find_device(trace.tables, device, rows)
    heat = df_heat(rows, trace.tables, number, bar, _BINS)
    if heat.empty:
        where = "this BAR" if bar is not None else "a BAR of this device" if device is not None else "a BAR"
        some = "trace" if start is None and stop is None else "stretch of the trace"
        return nothing(axes_for(ax, look, 2.0), look, f"No access to {where} in this {some}.")
    bands = heat.drop_duplicates("band").sort_values("band").set_index("band")
    width, first, bins = (int(heat.attrs[name]) for name in ("bin_ns", "start_ns", "bins"))
    counts = np.zeros((len(bands), bins))
    counts[heat["band"].to_numpy(), (heat["t_ns"].to_numpy() - first) // width] = heat["count"].to_numpy()

    fewest, most = float(heat["count"].min()), float(heat["count"].max())

    ax = axes_for(ax, look, max(MARGIN + _BAND_INCHES * len(bands), 2.4))
    axis = TimeAxis.spanning(first, first + width * bins)
    axis.dress(ax, look)
    ax.grid(visible=False)
    mesh = ax.pcolormesh(
        axis.place(first + width * np.arange(bins + 1)),
        np.arange(len(bands) + 1) - 0.5,
        np.ma.masked_equal(counts, 0),
        cmap=_colours(look),
        norm=LogNorm(fewest, max(most, 2 * fewest)),
        rasterized=True,
    )
    ax.set_xlim(*axis.place(np.array([first, first + width * bins])))
    ax.set_ylim(len(bands) - 0.5, -0.5)
    _name_bands(ax, look, bands)
    _draw_scale(ax, look, mesh, width)
    place = device_name(trace.tables, heat.attrs["device"])
    heading = " ".join(part for part in (place, f"BAR{heat.attrs['bar']}" if heat.attrs["bar"] >= 0 else "") if part)
    count = int(heat.attrs["rows"])
    title(ax, look, f"Accesses to {heading or 'no known BAR'} · {count:,} {'row' if count == 1 else 'rows'}")
    note(ax, look, _about(trace, heat, bands))
    return ax


def _colours(theme: Theme) -> LinearSegmentedColormap:
    """The theme's colour map without the end that would vanish on the page; more accesses stand out more from it."""
    first, last = theme.heat_range
    samples = matplotlib.colormaps[theme.heat](np.linspace(first, last, 256))
    return LinearSegmentedColormap.from_list(f"{theme.heat} on {theme.name}", samples)


def _name_bands(ax: Axes, theme: Theme, bands: pd.DataFrame) -> None:
    size = FONT_SIZE - 1
    step = int(np.ceil(len(bands) * size * 1.15 / height_points(ax)))  # every step-th label fits under the one before
    ax.set_yticks(range(0, len(bands), step), labels=list(bands["label"])[::step], fontsize=size, family="monospace")
    address, end = bands["address"].to_numpy(), bands["end"].to_numpy()
    skipped = np.flatnonzero(address[1:] > end[:-1])
    ax.hlines(skipped + 0.5, 0, 1, transform=ax.get_yaxis_transform(), colors=theme.grid, linewidths=0.6, gid="skipped")


def _draw_scale(ax: Axes, theme: Theme, mesh: QuadMesh, width_ns: int) -> None:
    # Inside axes of its own beside ours, so that a caller's layout loses no space.
    beside = ax.inset_axes((1.012, 0.0, 0.016, 1.0))
    scale = figure_of(ax).colorbar(mesh, cax=beside, format=FuncFormatter(lambda count, _: f"{count:,.0f}"))
    scale.set_label(f"accesses in {duration(width_ns)}", color=theme.text, fontsize=FONT_SIZE)
    scale.ax.tick_params(which="both", colors=theme.muted, labelcolor=theme.text, labelsize=FONT_SIZE - 0.5)
    fewest, most = (float(end or 1) for end in mesh.get_clim())
    scale.set_ticks([fewest, *(10.0**n for n in range(1, 20) if fewest * 2 < 10.0**n < most / 2), most], minor=False)
    scale.ax.yaxis.set_minor_formatter(NullFormatter())
    scale.outline.set_visible(False)


def _about(trace: Trace, heat: pd.DataFrame, bands: pd.DataFrame) -> list[str]:
    touched = int(heat.attrs["places"])
    device, bar = heat.attrs["device"], heat.attrs["bar"]
    info = trace.devices[device].bars.get(bar) if device < len(trace.devices) else None
    of_all = f" of {info.size // 4:,} dwords" if info is not None and info.registers is None and info.size else ""
    sentence = f"{touched:,}{of_all or (' place' if touched == 1 else ' places')} touched; the others have no row."
    shared = bands[bands["places"] > 1]
    if len(shared):
        some = f"{len(shared):,} {'row' if len(shared) == 1 else 'rows'}"
        sentence += f" {int(shared['places'].sum()):,} of them share {some} with neighbours."
    return [sentence]
