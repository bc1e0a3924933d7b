"""An NVMe drive in Python, read by Linux: how many 4 KiB reads a second, and how much of the time hdvlab had them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hdvlab.bench.figure import US, Figure
from hdvlab.bench.guest_accesses import GuestLab, GuestLoop

DISK, SECONDS = "/dev/nvme0n1", 2.0
#: Reads in flight.
DEPTHS = (1, 8)


def busy_ns(columns: Mapping[str, Any], start: int) -> int:
    """How long hdvlab was at work in the rows from ``start`` on, in nanoseconds.

    A row that another one caused (a DMA or an interrupt, by a doorbell) is at work since that one began: the worker's
    wake-up is hdvlab's time, too. What overlaps counts once.
    """
    began, causes = columns["t_ns"].astype(np.int64), columns["cause"]
    ends = (began + columns["dur_ns"])[start:]
    own = causes[start:]
    begins = np.where(own >= start, began[np.maximum(own, 0)], began[start:])
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], ends[order]
    if not len(begins):
        return 0
    covered = np.concatenate(([begins[0]], np.maximum.accumulate(ends)[:-1]))
    return int(np.maximum(ends - np.maximum(begins, covered), 0).sum())


def bench_nvme(lab: GuestLab) -> Iterator[Figure]:
    """Random reads of a lab whose VM has an NVMe drive."""
    program = GuestLoop("random_reads")
    for depth in DEPTHS:
        start = len(lab.trace)
        reads, wall = map(int, program.run(lab.vm, [DISK, str(depth), str(SECONDS)]).split())
        busy = busy_ns(lab.trace.columns(), start)
        each, mine = wall / reads, busy / reads
        what = f"  4 KiB random reads, depth {depth}: {reads / wall * 1e9:,.0f} IOPS; each takes"
        yield Figure(what, each, each, None, "us", US)
        yield Figure(f"    of it in hdvlab, doorbell to interrupt: {busy / wall:.0%}", mine, mine, None, "us", US)
