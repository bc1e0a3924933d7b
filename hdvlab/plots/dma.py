"""The DMA map: which guest memory devices touch, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba
from matplotlib.patches import Patch

from hdvlab.analysis.dma import df_dma_cells, df_dma_regions, df_transfers
from hdvlab.analysis.selection import Array, Moment, df_window, find_devices
from hdvlab.plots.canvas import FONT_SIZE, MARGIN, axes_for, height_points, legend, note, nothing, title, width_points
from hdvlab.plots.theme import Theme, get_theme
from hdvlab.plots.time_axis import TimeAxis, duration
from hdvlab.trace.source import HasTrace, trace_of
from hdvlab.trace.trace import Trace

_REGION_INCHES = 0.34
_HALF = 0.42  # a region reaches this far from the middle of its lane
_MAX_SINGLE = 2_000
_PARTS = 12
_THINNEST = 2.5  # points


def dma(
    trace: Trace | HasTrace,
    *,
    device: int | str | None = None,
    start: Moment | None = None,
    stop: Moment | None = None,
    ax: Axes | None = None,
    theme: Theme | str | None = None,
    max_regions: int = 24,
) -> Axes:
    """Draw which guest memory DMA touched, over time.

    Each stretch of memory that was touched has a lane of its own, the lowest address at the top; what lies between was
    never touched and is left out. All lanes are equally high, however long their memory is; their labels say where it
    begins and how much it is, and at the right what was moved there. A mark reaches over the bytes of one transfer and
    over the time it took.

    More than 2,000 transfers are counted in cells, each a part of a lane in a stretch of time; colour says whether
    they read, wrote, or both, its strength how many there were (logarithmic), and the picture says so.

    Parameters
    ----------
    trace : Trace, Lab or Run
        What to draw.
    device : int or str, optional
        Only the DMA of this device, by name or number.
    start, stop : int or str, optional
        First moment to show, and the first not to: nanoseconds since the trace began, or a length of time such as
        ``"32.8s"``.
    ax : Axes, optional
        Where; a new figure if not given.
    theme : Theme or str, optional
        ``"light"``, ``"dark"`` or a theme; the default one if not given.
    max_regions : int
        Most lanes; where there would be more, those nearest to each other share one.

    Returns
    -------
    Axes
        y is the number of the lane, downward, and within a lane the address; x is time in the unit of the label.
    """
    trace = trace_of(trace)
    look = get_theme(theme)
    rows = df_window(trace.frame(), start, stop)
    if device is not None:
        rows = rows[np.isin(rows["device"].to_numpy(), find_devices(trace.tables, device))]
    regions = df_dma_regions(rows, max_regions)
    if regions.empty:
        part = "here" if device is not None or start is not None or stop is not None else "in this trace"
        what = "%hdv plot timeline shows what there is" if len(rows) else "let a guest use the device first"
        return nothing(axes_for(ax, look, 2.0), look, f"No DMA {part}; {what}.")
    ax = axes_for(ax, look, min(max(MARGIN + _REGION_INCHES * len(regions), 2.6), 12.0))
    _draw_lanes(ax, look, regions)
    count = int(regions.attrs["transfers"])
    notes = _about_regions(regions)
    if count > _MAX_SINGLE:
        cells = df_dma_cells(rows, regions, parts=_PARTS)
        handles = _draw_cells(ax, look, cells)
        stretch = duration(cells.attrs["stretches"].width_ns)
        most = int((cells["reads"] + cells["writes"]).max())
        notes.insert(
            0,
            f"Each cell stands for the transfers in {stretch} that touch a twelfth of a lane: up to {most:,}; "
            f"{count:,} transfers in all.",
        )
    else:
        handles = _draw_transfers(ax, look, df_transfers(rows, regions))
    above = legend(ax, look, handles)
    total = int(regions["read_bytes"].sum() + regions["written_bytes"].sum())
    title(ax, look, f"Guest memory touched by DMA · {count:,} {_transfers(count)} · {amount(total)}", above)
    note(ax, look, notes)
    return ax


def _transfers(count: int) -> str:
    return "transfer" if count == 1 else "transfers"


def amount(size: int) -> str:
    """A number of bytes for people: ``"4 KiB"``; exact below 1 KiB, else three digits."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            number = size / (1 << shift)
            return f"{number:.0f} {unit}" if number >= 999.5 else f"{float(f'{number:.3g}'):g} {unit}"
    return f"{size} B"


def _draw_lanes(ax: Axes, theme: Theme, regions: pd.DataFrame) -> None:
    ax.set_ylim(len(regions) - 0.5, -0.5)
    fits = max(int(height_points(ax) / (FONT_SIZE * 1.2)), 1)
    step = -(-len(regions) // fits)
    shown = list(range(0, len(regions), step))
    ends = zip(regions["address"].tolist(), regions["end"].tolist(), strict=True)
    labels = [f"{address:#x}  {amount(end - address):>8}" for address, end in ends]
    ax.set_yticks(shown, labels=[labels[n] for n in shown], fontsize=FONT_SIZE - 0.5, family="monospace")
    for lane in range(0, len(regions), 2):
        ax.axhspan(lane - 0.5, lane + 0.5, color=theme.stripe, linewidth=0, zorder=0)
    # Between lanes is memory that nobody touched: a broken line, where there is a break in the addresses.
    for lane in range(1, len(regions)):
        ax.axhline(lane - 0.5, color=theme.grid, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.5)
    beside = ax.secondary_yaxis("right")
    beside.set_yticks(shown, labels=[_moved(regions.iloc[n]) for n in shown], fontsize=FONT_SIZE - 1)
    beside.tick_params(colors=theme.muted, labelcolor=theme.muted, length=0)
    beside.spines[:].set_visible(False)


def _moved(region: pd.Series[Any]) -> str:
    """``3 reads, 12 writes of 16 B…4 KiB``."""
    parts = [
        f"{int(count):,} {name}{'' if count == 1 else 's'}"
        for count, name in ((region["reads"], "read"), (region["writes"], "write"))
        if count
    ]
    sizes = [amount(int(region["smallest"])), amount(int(region["largest"]))]
    return f"{', '.join(parts)} of {'…'.join(dict.fromkeys(sizes))}"


def _draw_transfers(ax: Axes, theme: Theme, transfers: pd.DataFrame) -> list[Any]:
    """One mark per transfer; returns the legend's entries."""
    axis = TimeAxis.spanning(int(transfers["t_ns"].min()), int(transfers["end_ns"].max()))
    axis.dress(ax, theme)
    regions = transfers.groupby("region")
    low, high = (regions["address"].min().to_dict(), regions["end"].max().to_dict())
    lane = transfers["region"].tolist()
    first = np.array([low[n] for n in lane], dtype=np.uint64)
    length = np.array([high[n] - low[n] for n in lane], dtype=np.float64)
    top = np.array(lane) - _HALF + 2 * _HALF * (transfers["address"].to_numpy() - first) / length
    bottom = np.array(lane) - _HALF + 2 * _HALF * (transfers["end"].to_numpy() - first) / length
    left, right = axis.place(transfers["t_ns"].to_numpy()), axis.place(transfers["end_ns"].to_numpy())
    lanes = ax.get_ylim()[0] - ax.get_ylim()[1]
    lacking = np.maximum(_THINNEST * lanes / height_points(ax) - (bottom - top), 0) / 2
    top, bottom = top - lacking, bottom + lacking
    right = np.maximum(right, left + _THINNEST / axis.points_per_unit(width_points(ax)))
    is_write, bad = transfers["is_write"].to_numpy(), transfers["failed"].to_numpy()
    handles: list[Any] = []
    for which, shade, name, hatch in (
        (~is_write & ~bad, theme.read, "device reads memory", None),
        (is_write & ~bad, theme.write, "device writes memory", "////"),
        (bad, theme.failure, "failed", "xxxx"),
    ):
        if which.any():
            corners = _corners(left[which], right[which], top[which], bottom[which])
            made = PolyCollection(
                corners,
                facecolors=shade.fill,
                edgecolors=shade.line,
                linewidths=0.7,
                hatch=hatch,
                alpha=0.85,
                zorder=3,
                gid=f"transfers: {name}",
            )
            ax.add_collection(made, autolim=False)
            handles.append(Patch(facecolor=shade.fill, edgecolor=shade.line, hatch=hatch, label=name))
    return handles


def _corners(left: Array, right: Array, top: Array, bottom: Array) -> list[Array]:
    pairs = ((left, top), (right, top), (right, bottom), (left, bottom))
    return list(np.stack([np.column_stack(pair) for pair in pairs], axis=1))


def _draw_cells(ax: Axes, theme: Theme, cells: pd.DataFrame) -> list[Any]:
    """One rectangle per cell; returns the legend's entries."""
    stretches = cells.attrs["stretches"]
    axis = TimeAxis.spanning(int(stretches.edges_ns[0]), int(stretches.edges_ns[-1]))
    axis.dress(ax, theme)
    ax.grid(visible=False)
    parts = int(cells.attrs["parts"])
    lanes = int(cells["region"].max()) + 1
    at = (
        cells["region"].to_numpy() * (parts + 1) + cells["part"].to_numpy(),
        (cells["t_ns"].to_numpy() - stretches.first_ns) // stretches.width_ns,
    )
    # Behind the parts of a lane comes the empty place up to the next lane.
    inner = -_HALF + 2 * _HALF * np.arange(parts + 1) / parts
    edges = np.append((np.arange(lanes)[:, np.newaxis] + inner).ravel(), lanes - _HALF)
    reads, writes = cells["reads"].to_numpy(), cells["writes"].to_numpy()
    norm = LogNorm(1, max(int((reads + writes).max()), 2))
    handles: list[Any] = []
    for which, shade, name in (
        ((reads > 0) & (writes == 0), theme.read, "device reads memory"),
        ((reads == 0) & (writes > 0), theme.write, "device writes memory"),
        ((reads > 0) & (writes > 0), theme.interrupt, "both in the same cell"),
    ):
        if which.any():
            counts = np.zeros((lanes * (parts + 1), stretches.count))
            counts[at[0][which], at[1][which]] = (reads + writes)[which]
            ax.pcolormesh(
                axis.place(stretches.edges_ns),
                edges,
                np.ma.masked_equal(counts, 0),
                cmap=LinearSegmentedColormap.from_list(name, [to_rgba(shade.fill, 0.35), to_rgba(shade.fill, 1.0)]),
                norm=norm,
                rasterized=True,
                zorder=3,
                gid=f"cells: {name}",
            )
            handles.append(Patch(facecolor=shade.fill, label=name))
    ax.set_ylim(lanes - 0.5, -0.5)
    return handles


def _about_regions(regions: pd.DataFrame) -> list[str]:
    count, buffers = len(regions), int(regions.attrs["buffers"])
    if buffers > count:
        return [
            f"{buffers:,} stretches of memory share {count} lanes: gaps of less than "
            f"{amount(int(regions.attrs['gap']))} do not part them."
        ]
    return ["Memory between the lanes was never touched."] if count > 1 else []
