"""Counts of accesses by place and time."""

import numpy as np

from hdvlab.analysis.heat import HEAT_COLUMNS, df_heat
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.trace.schema import Kind

from ..plots.traces import REAL_TRACE, TABLES, busy, trace_of


def test_only_touched_places_have_a_band_and_described_ones_their_name() -> None:
    rows = trace_of(*({"kind": Kind.mmio_read, "address": address} for address in (0x800, 0x00, 0x00, 0x10))).frame()
    heat = df_heat(rows, TABLES)
    assert list(heat.columns) == list(HEAT_COLUMNS)
    assert list(heat["label"]) == ["CTRL", "RING", "0x800"]
    assert list(heat["band"]) == [0, 1, 2]
    assert list(heat["count"]) == [2, 1, 1]
    assert list(heat["end"]) == [0x04, 0x18, 0x804]
    assert (heat.attrs["device"], heat.attrs["bar"], heat.attrs["places"], heat.attrs["rows"]) == (0, 0, 3, 4)


def test_accesses_are_counted_in_the_stretch_they_begin_in() -> None:
    rows = trace_of(*({"kind": Kind.mmio_read, "t_ns": t} for t in (0, 9, 10, 99))).frame()
    heat = df_heat(rows, TABLES, bins=10)
    assert heat.attrs["bin_ns"] == 10
    assert list(heat["t_ns"]) == [0, 10, 90]
    assert list(heat["count"]) == [2, 1, 1]


def test_a_stretch_of_few_nanoseconds_has_few_bins() -> None:
    heat = df_heat(trace_of({"kind": Kind.mmio_read}, {"kind": Kind.mmio_read, "t_ns": 2}).frame(), TABLES)
    assert (heat.attrs["bins"], heat.attrs["bin_ns"]) == (3, 1)


def test_a_real_driver_fits_the_bands_and_loses_no_access() -> None:
    trace = read_mmiotrace(REAL_TRACE)
    heat = df_heat(trace.frame(), trace.tables)
    bands = heat.drop_duplicates("band")
    assert len(bands) <= 48
    assert bands["places"].sum() == heat.attrs["places"] == 384
    assert heat["count"].sum() == heat.attrs["rows"] == 13_764
    labels = list(bands.sort_values("band")["label"])
    assert {"0x8", "0x10", "0x20"} <= set(labels)  # status, EEPROM and MDI: polled, so apart from their neighbours
    assert "0x5200…0x5474 (158)" in labels  # the multicast table and what follows it without a gap
    assert bands.sort_values("band")["address"].is_monotonic_increasing


def test_a_place_much_busier_than_those_around_it_keeps_its_band() -> None:
    table = [{"kind": Kind.mmio_write, "bar": 2, "address": 4 * place} for place in range(200)]
    polled = [{"kind": Kind.mmio_read, "bar": 2, "address": 0x80}] * 50
    heat = df_heat(trace_of(*table, *polled).frame(), TABLES, bar=2)
    assert list(heat.drop_duplicates("band")["label"]) == ["0x0…0x7c (32)", "0x80", "0x84…0x31c (167)"]


def test_bands_never_exceed_what_was_asked_for() -> None:
    random = np.random.default_rng(3)
    scattered = [
        {"kind": Kind.mmio_read, "bar": 2, "address": int(a)} for a in random.integers(0, 65536, 3_000) & ~np.int64(3)
    ]
    heat = df_heat(trace_of(*scattered).frame(), TABLES, bar=2, max_bands=20)
    assert heat["band"].nunique() <= 20
    assert heat["count"].sum() == 3_000


def test_a_bar_that_nothing_touches_gives_no_rows() -> None:
    assert df_heat(busy(100).frame(), TABLES, bar=5).empty
