"""Regions of guest memory, transfers and cells, checked by brute force."""

import numpy as np
import pandas as pd
import pytest

from hdvlab.analysis.dma import (
    CELL_COLUMNS,
    REGION_COLUMNS,
    TRANSFER_COLUMNS,
    df_dma_cells,
    df_dma_regions,
    df_transfers,
)
from hdvlab.trace.schema import Kind

from ..plots.traces import E_FAIL, busy, trace_of


def dma(address: int, size: int, kind: Kind = Kind.dma_read, **more: int) -> dict[str, int]:
    return {"kind": kind, "bar": -1, "address": address, "size": size, **more}


def scattered(length: int, seed: int = 3) -> pd.DataFrame:
    """Transfers in a few buffers, some of which touch or overlap."""
    random = np.random.default_rng(seed)
    base = random.choice([0x1000, 0x1800, 0x9000, 0x40_0000, 0x8000_0000], length)
    rows = [
        dma(
            int(address),
            int(size),
            Kind.dma_write if write else Kind.dma_read,
            t_ns=int(t),
        )
        for address, size, write, t in zip(
            base + 16 * random.integers(0, 64, length),
            random.choice([1, 16, 64, 512], length),
            random.random(length) < 0.4,
            np.cumsum(random.integers(1, 50, length)),
            strict=True,
        )
    ]
    return trace_of(*rows).frame()


def test_a_region_is_memory_that_was_touched_and_what_lies_between_is_none() -> None:
    rows = trace_of(
        dma(0x1000, 64), dma(0x1040, 64, Kind.dma_write), dma(0x2000, 512), dma(0x2100, 16, Kind.dma_write)
    ).frame()
    regions = df_dma_regions(rows)
    assert list(regions.columns) == list(REGION_COLUMNS)
    assert regions.to_numpy().tolist() == [
        [0x1000, 0x1080, 1, 1, 64, 64, 64, 64],
        [0x2000, 0x2200, 1, 1, 512, 16, 16, 512],
    ]
    assert regions.attrs == {"transfers": 4, "buffers": 2, "gap": 0x2000 - 0x1080}


def test_where_there_are_too_many_only_the_widest_gaps_part_regions() -> None:
    rows = trace_of(*(dma(address, 16) for address in (0x1000, 0x2000, 0x10000, 0x12000))).frame()
    regions = df_dma_regions(rows, max_regions=2)
    assert regions[["address", "end"]].to_numpy().tolist() == [[0x1000, 0x2010], [0x10000, 0x12010]]
    assert regions.attrs["buffers"] == 4


@pytest.mark.parametrize("most", [1, 2, 24])
def test_regions_hold_every_byte_touched_and_count_every_transfer(most: int) -> None:
    rows = scattered(800)
    regions = df_dma_regions(rows, most)
    assert len(regions) <= most
    found = df_transfers(rows, regions)
    for transfer in found.itertuples():
        region = regions.loc[transfer.region]
        assert region["address"] <= transfer.address < transfer.end <= region["end"]
    touched = {byte for row in found.itertuples() for byte in (row.address, row.end - 1)}
    assert set(regions["address"]) <= touched
    assert {end - 1 for end in regions["end"]} <= touched
    for number, region in regions.iterrows():
        mine = rows[found["region"].to_numpy() == number]
        reads, writes = mine[mine["kind"] == "dma_read"], mine[mine["kind"] == "dma_write"]
        assert (region["reads"], region["read_bytes"]) == (len(reads), reads["size"].sum())
        assert (region["writes"], region["written_bytes"]) == (len(writes), writes["size"].sum())
        assert (region["smallest"], region["largest"]) == (mine["size"].min(), mine["size"].max())


def test_transfers_know_their_bytes_their_times_and_whether_they_failed() -> None:
    rows = trace_of(dma(0x1000, 64, t_ns=5, dur_ns=7), dma(0x2000, 0, Kind.dma_write, status=E_FAIL)).frame()
    found = df_transfers(rows, df_dma_regions(rows))
    assert list(found.columns) == list(TRANSFER_COLUMNS)
    assert found.to_numpy().tolist() == [
        [0, 5, 12, 0x1000, 0x1040, False, False],
        [1, 0, 0, 0x2000, 0x2001, True, True],
    ]


def test_a_transfer_that_would_end_behind_the_last_address_is_kept_within() -> None:
    rows = trace_of(dma(2**64 - 16, 64)).frame()
    assert df_dma_regions(rows)[["address", "end"]].to_numpy().tolist() == [[2**64 - 16, 2**64 - 1]]


def test_cells_count_each_transfer_in_every_part_that_it_touches() -> None:
    rows = scattered(600)
    regions = df_dma_regions(rows)
    cells = df_dma_cells(rows, regions, bins=20, parts=5)
    assert list(cells.columns) == list(CELL_COLUMNS)
    stretches = cells.attrs["stretches"]
    expected: dict[tuple[int, int, int], list[int]] = {}
    for transfer in df_transfers(rows, regions).itertuples():
        address, end = (int(regions.loc[transfer.region, name]) for name in ("address", "end"))
        column = (transfer.t_ns - stretches.first_ns) // stretches.width_ns
        first, last = (5 * (byte - address) // (end - address) for byte in (transfer.address, transfer.end - 1))
        for part in range(first, last + 1):
            key = (transfer.region, part, stretches.first_ns + column * stretches.width_ns)
            expected.setdefault(key, [0, 0])[transfer.is_write] += 1
    found = {tuple(row[:3]): row[3:] for row in cells.to_numpy().tolist()}
    assert found == expected


def test_a_million_rows_are_all_counted() -> None:
    rows = busy(1_000_000).frame()
    regions = df_dma_regions(rows)
    assert regions["writes"].sum() == regions.attrs["transfers"] == (rows["kind"] == "dma_write").sum()
    cells = df_dma_cells(rows, regions)
    assert len(cells) <= len(regions) * 12 * 300
    assert cells["writes"].sum() >= regions["writes"].sum()


def test_no_dma_gives_no_regions() -> None:
    assert df_dma_regions(trace_of({"kind": Kind.mmio_read}).frame()).empty
