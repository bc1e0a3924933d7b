"""Registers and dwords that rows touch."""

from hdvlab.analysis.places import PLACE_COLUMNS, factorize_places
from hdvlab.trace.schema import Kind

from ..plots.traces import TABLES, trace_of


def test_bytes_of_one_register_are_one_place() -> None:
    rows = trace_of(
        *({"kind": Kind.mmio_read, "address": address, "size": 1} for address in (0x10, 0x17, 0x12))
    ).frame()
    codes, places = factorize_places(rows, TABLES)
    assert list(codes) == [0, 0, 0]
    assert places.loc[0, list(PLACE_COLUMNS)].to_list() == [0, 0, 0x10, 0x18, "RING", 3]


def test_undescribed_offsets_are_aligned_dwords() -> None:
    rows = trace_of(*({"kind": Kind.mmio_read, "bar": 2, "address": address} for address in (0x41, 0x43, 0x44))).frame()
    codes, places = factorize_places(rows, TABLES)
    assert list(codes) == [0, 0, 1]
    assert list(places["address"]) == [0x40, 0x44]
    assert list(places["register"]) == ["", ""]


def test_the_same_offset_of_another_device_is_another_place() -> None:
    rows = trace_of(*({"kind": Kind.mmio_write, "device": device} for device in (1, 0, 1))).frame()
    codes, places = factorize_places(rows, TABLES)
    assert list(codes) == [1, 0, 1]
    assert list(places["device"]) == [0, 1]


def test_rows_that_touch_no_bar_have_no_place() -> None:
    codes, places = factorize_places(trace_of({"kind": Kind.dma_read}, {"kind": Kind.doorbell}).frame(), TABLES)
    assert list(codes) == [-1, 0]
    assert len(places) == 1
