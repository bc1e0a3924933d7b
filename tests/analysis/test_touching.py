from __future__ import annotations

import numpy as np

from hdvlab.analysis.dma_regions import DmaRegion, DmaRegions
from hdvlab.analysis.touching import rows_of_config, rows_of_memory, rows_of_register
from hdvlab.trace.schema import Kind
from hdvlab.trace.trace import Trace

_TOP = (1 << 64) - 1


def _trace(*rows: tuple[Kind, int, int, int, int]) -> Trace:
    """Kind, device, bar, address, size."""
    names = ("kind", "device", "bar", "address", "size")
    types = {"address": np.uint64}
    return Trace.from_columns(
        {name: np.array([row[at] for row in rows], types.get(name, np.int64)) for at, name in enumerate(names)}
    )


def test_a_register_is_touched_by_every_access_that_overlaps_it() -> None:
    trace = _trace(
        (Kind.mmio_read, 0, 0, 0, 4),
        (Kind.mmio_write, 0, 0, 3, 1),
        (Kind.mmio_write, 0, 0, 4, 4),
        (Kind.mmio_read, 0, 1, 0, 4),
        (Kind.mmio_read, 1, 0, 0, 8),
        (Kind.config_read, 0, -1, 0, 4),
        (Kind.doorbell, 0, 0, 0, 8),
    )
    view = trace.view()
    assert rows_of_register(view, [0], 0, 0, 3).tolist() == [0, 1, 6]
    assert rows_of_register(view, [0], 0, 3, 3).tolist() == [0, 1, 6]
    assert rows_of_register(view, [0, 1], 0, 4, 7).tolist() == [2, 4, 6]
    assert rows_of_register(view, [], 0, 0, 3).tolist() == []
    assert rows_of_config(view, [0], 2, 2).tolist() == [5]
    assert rows_of_register(trace[3:].view(), [1], 0, 0, 0).tolist() == [4], "a slice keeps its row numbers"


def test_memory_is_touched_up_to_the_last_byte_there_can_be() -> None:
    view = _trace(
        (Kind.dma_write, 0, -1, 0x1000, 0x100),
        (Kind.dma_read, 0, -1, 0x1100, 1),
        (Kind.aperture_map, 0, -1, 0x1000, 0x1000),
        (Kind.dma_read, 0, -1, _TOP - 7, 8),
        (Kind.interrupt, 0, -1, 0x1000, 4),
    ).view()
    assert rows_of_memory(view, 0x10FF, 0x10FF).tolist() == [0, 2]
    assert rows_of_memory(view, 0x10FF, 0x1100).tolist() == [0, 1, 2]
    assert rows_of_memory(view, 0x1FFF, 0x2000).tolist() == [2]
    assert rows_of_memory(view, _TOP, _TOP).tolist() == [3]
    assert rows_of_memory(view, 0, 0).tolist() == []


def test_dma_regions_grow_with_the_trace_and_are_those_of_one_look() -> None:
    rng = np.random.default_rng(1)
    count = 400
    trace = Trace.from_columns(
        {
            "kind": rng.choice([Kind.dma_read, Kind.dma_write, Kind.mmio_read], count).astype(np.uint8),
            "device": rng.integers(0, 3, count),
            "address": rng.integers(0, 1 << 20, count) // 16 * 16,
            "size": rng.integers(1, 300, count),
        }
    )
    once, often = DmaRegions(), DmaRegions()
    assert once.look(trace.view())
    assert not once.look(trace.view())
    for end in range(0, count + 1, 50):
        often.look(trace.view().cut(0, end))
    assert often.regions == once.regions
    assert (
        sum(one.rows for one in once.regions) == np.isin(trace.columns()["kind"], [Kind.dma_read, Kind.dma_write]).sum()
    )


def test_stretches_that_are_far_apart_or_of_other_devices_are_others() -> None:
    regions = DmaRegions()
    regions.look(
        _trace(
            (Kind.dma_write, 0, -1, 0x1000, 16),
            (Kind.dma_write, 0, -1, 0x1010, 16),
            (Kind.dma_read, 0, -1, 0x9000, 1),
            (Kind.dma_read, 1, -1, 0x1000, 4),
        ).view()
    )
    assert regions.regions == [
        DmaRegion(0, 0x1000, 0x101F, 2),
        DmaRegion(0, 0x9000, 0x9000, 1),
        DmaRegion(1, 0x1000, 0x1003, 1),
    ]
