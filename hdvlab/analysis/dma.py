"""DMA: which guest memory devices touched, when, in which pieces."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import Array, failed, kind_codes, of_kinds
from hdvlab.analysis.stretches import Stretches, pieces
from hdvlab.trace.schema import KIND_GROUPS, Kind

#: Columns of :func:`df_dma_regions`.
REGION_COLUMNS = {
    "address": "guest-physical address of the first byte touched",
    "end": "first byte behind the last one touched",
    "reads": "transfers from guest memory to a device",
    "writes": "transfers from a device to guest memory",
    "read_bytes": "bytes read, each as often as it was",
    "written_bytes": "bytes written",
    "smallest": "bytes of the smallest transfer",
    "largest": "bytes of the largest transfer",
}

#: Columns of :func:`df_transfers`.
TRANSFER_COLUMNS = {
    "region": "number of the region, an index of df_dma_regions' frame",
    "t_ns": "start of the transfer",
    "end_ns": "its end",
    "address": "guest-physical address",
    "end": "first byte behind it",
    "is_write": "to guest memory; else from it",
    "failed": "it ended with a failure",
}

#: Columns of :func:`df_dma_cells`.
CELL_COLUMNS = {
    "region": "number of the region",
    "part": "part of the region, lowest addresses first",
    "t_ns": "start of the stretch of time",
    "reads": "transfers from guest memory that touched the part in the stretch",
    "writes": "transfers to guest memory that did",
}

#: Regions are apart where at least this many bytes between them are never touched.
_GAP = 256

_LAST = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _transfers(rows: pd.DataFrame) -> pd.DataFrame:
    chosen = of_kinds(kind_codes(rows), KIND_GROUPS["dma"])
    few = rows[["t_ns", "dur_ns", "kind", "size", "address", "status"]]
    return few if chosen.all() else few[chosen]


def _extents(transfers: pd.DataFrame) -> tuple[Array, Array]:
    """First byte and first byte behind of each transfer; one of no bytes counts as one byte of its place."""
    start = transfers["address"].to_numpy()
    size = np.maximum(transfers["size"].to_numpy(), 1).astype(np.uint64)
    # A device may ask for what ends behind the last address there can be.
    return start, start + np.minimum(size, _LAST - start)


def df_dma_regions(rows: pd.DataFrame, max_regions: int = 24) -> pd.DataFrame:
    """The stretches of guest memory that DMA touched, lowest address first.

    What lies between them was never touched. Neighbours less than 256 bytes apart are one region; where more than
    ``max_regions`` would be left, only the widest gaps keep regions apart.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    max_regions : int
        Most regions.

    Returns
    -------
    DataFrame
        Columns :data:`REGION_COLUMNS`, index ``region``. ``attrs``: ``transfers``, ``buffers`` (regions there would be
        without ``max_regions``) and ``gap`` (bytes of the narrowest gap between two regions; 0 = one region).
    """
    transfers = _transfers(rows)
    if transfers.empty:
        return pd.DataFrame({name: [] for name in REGION_COLUMNS})
    start, end = _extents(transfers)
    starts, ends = np.sort(start), np.sort(end)
    # All that began before the i-th start have ended when the i-th smallest end is not behind it.
    apart = starts[1:] > ends[:-1]
    gaps = np.where(apart, starts[1:] - ends[:-1], np.uint64(0))
    breaks = np.flatnonzero(gaps >= _GAP)
    buffers = len(breaks) + 1
    if buffers > max_regions:
        widest = np.argsort(gaps[breaks], kind="stable")[buffers - max_regions :]
        breaks = np.sort(breaks[widest])
    address = starts[np.append(0, breaks + 1)]
    behind = ends[np.append(breaks, len(ends) - 1)]
    gap = int(gaps[breaks].min()) if len(breaks) else 0
    del starts, ends, gaps, apart
    count = len(address)
    regions = pd.DataFrame({"address": address, "end": behind, **dict.fromkeys(list(REGION_COLUMNS)[2:], 0)})
    size, codes = transfers["size"].to_numpy(), kind_codes(transfers)
    for piece in pieces(len(transfers)):
        region = _region_of(start[piece], address)
        for kind, name in ((Kind.dma_read, "read"), (Kind.dma_write, "write")):
            which = codes[piece] == int(kind)
            regions[f"{name}s"] += np.bincount(region[which], minlength=count)
            moved = np.bincount(region[which], weights=size[piece][which], minlength=count).astype(np.int64)
            regions["read_bytes" if name == "read" else "written_bytes"] += moved
        some = pd.Series(size[piece]).groupby(region).agg(["min", "max"])
        known = regions.loc[some.index, "largest"] > 0
        least = regions.loc[some.index, "smallest"].where(known, some["min"])
        regions.loc[some.index, "smallest"] = np.minimum(least, some["min"])
        regions.loc[some.index, "largest"] = np.maximum(regions.loc[some.index, "largest"], some["max"])
    regions.index.name = "region"
    regions.attrs.update(transfers=len(transfers), buffers=buffers, gap=gap)
    return regions


def _region_of(start: Array, address: Array) -> Array:
    found: Array = np.searchsorted(address, start, side="right") - 1
    return found


def df_transfers(rows: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """One row per DMA transfer.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    regions : DataFrame
        As :func:`df_dma_regions` gives it for the same rows.

    Returns
    -------
    DataFrame
        Columns :data:`TRANSFER_COLUMNS`, index ``row``.
    """
    transfers = _transfers(rows)
    start, end = _extents(transfers)
    t_ns = transfers["t_ns"].to_numpy()
    return pd.DataFrame(
        {
            "region": _region_of(start, regions["address"].to_numpy(dtype=np.uint64)),
            "t_ns": t_ns,
            "end_ns": t_ns + transfers["dur_ns"].to_numpy(),
            "address": start,
            "end": end,
            "is_write": kind_codes(transfers) == int(Kind.dma_write),
            "failed": failed(transfers),
        },
        index=transfers.index,
    )


def df_dma_cells(rows: pd.DataFrame, regions: pd.DataFrame, bins: int = 300, parts: int = 12) -> pd.DataFrame:
    """Transfers counted by place and stretch of time: each region is divided into parts of equal length.

    A transfer counts in every part that it touches, in the stretch in which it begins.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them.
    regions : DataFrame
        As :func:`df_dma_regions` gives it for the same rows.
    bins : int
        Most stretches of time.
    parts : int
        Parts of a region.

    Returns
    -------
    DataFrame
        Columns :data:`CELL_COLUMNS`, only cells that something touched. ``attrs``: ``stretches`` (a
        :class:`~hdvlab.analysis.stretches.Stretches`), ``parts`` and ``transfers``.
    """
    transfers = _transfers(rows)
    start, end = _extents(transfers)
    address = regions["address"].to_numpy(dtype=np.uint64)
    length = regions["end"].to_numpy(dtype=np.uint64) - address
    t_ns, codes = transfers["t_ns"].to_numpy(), kind_codes(transfers)
    stretches = Stretches.over(int(t_ns.min()), int(t_ns.max()), bins)
    per_byte = parts / length.astype(np.float64)
    # One more part than there are: where a transfer's last part is the region's, its end falls there.
    shape = (len(regions), parts + 1, stretches.count)
    counts = [np.zeros(int(np.prod(shape)), dtype=np.int64) for _ in range(2)]
    for piece in pieces(len(transfers)):
        region = _region_of(start[piece], address)
        place = region * (parts + 1) * stretches.count + stretches.of(t_ns[piece])
        first, last = (
            np.minimum(((edge - address[region]) * per_byte[region]).astype(np.int64), parts - 1)
            for edge in (start[piece], end[piece] - np.uint64(1))
        )
        for count, kind in zip(counts, (Kind.dma_read, Kind.dma_write), strict=True):
            which = codes[piece] == int(kind)
            # Only cells that change: a picture's worth of them would be summed up for every piece otherwise.
            begun, over = (place + first * stretches.count)[which], (place + (last + 1) * stretches.count)[which]
            np.add.at(count, begun, 1)
            np.subtract.at(count, over, 1)
    counts = [np.cumsum(count.reshape(shape), axis=1) for count in counts]
    at = np.nonzero(counts[0] + counts[1])
    cells = pd.DataFrame(
        {
            "region": at[0],
            "part": at[1],
            "t_ns": stretches.first_ns + at[2] * stretches.width_ns,
            "reads": counts[0][at],
            "writes": counts[1][at],
        }
    )
    cells.attrs.update(stretches=stretches, parts=parts, transfers=len(transfers))
    return cells
