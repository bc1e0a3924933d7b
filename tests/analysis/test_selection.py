"""Choosing rows by device, BAR and time."""

import datetime

import pytest

from hdvlab.analysis.selection import busiest_bar, df_window, failed, find_device, find_devices, nanoseconds, pending
from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import DeviceInfo, Tables

from ..plots.traces import TABLES, session, trace_of


def test_a_moment_is_nanoseconds_or_a_length_of_time() -> None:
    assert nanoseconds(1500) == 1500
    assert nanoseconds("32.8s") == 32_800_000_000
    assert nanoseconds("150us") == 150_000
    assert nanoseconds(datetime.timedelta(milliseconds=2)) == 2_000_000


def test_what_is_no_moment_is_told_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"write nanoseconds or a length of time like '32.8s'"):
        nanoseconds("soon")


def test_a_window_starts_with_its_first_moment_and_ends_before_its_last() -> None:
    rows = df_window(session().frame(), 2_000, "5us")
    assert list(rows.index) == [2, 3, 4]


def test_a_window_over_rows_out_of_the_order_of_time_finds_each() -> None:
    rows = trace_of(*({"kind": Kind.mmio_read, "t_ns": t} for t in (30, 10, 20, 40))).frame()
    assert list(df_window(rows, 20, 40).index) == [0, 2]


def test_a_window_of_rows_in_order_shares_their_memory() -> None:
    rows = session().frame()
    assert df_window(rows, 3_000)["value"].to_numpy().base is not None


@pytest.mark.parametrize("device", ["edu", "00:04.0", 1])
def test_a_device_is_found_by_name_address_and_number(device: int | str) -> None:
    assert find_devices(TABLES, device) == [1]


def test_an_unknown_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no device blnk; did you mean blink\?"):
        find_devices(TABLES, "blnk")
    with pytest.raises(UsageError, match=r"no device 7; it has blink, edu"):
        find_devices(TABLES, 7)


def test_of_a_device_plugged_in_again_the_last_that_the_rows_speak_of_is_meant() -> None:
    twice = Tables([DeviceInfo("blink"), DeviceInfo("edu"), DeviceInfo("blink")])
    early = trace_of({"kind": Kind.mmio_read, "device": 0}, tables=twice).frame()
    late = trace_of(*({"kind": Kind.mmio_read, "device": n} for n in (0, 2, 1)), tables=twice).frame()
    assert find_devices(twice, "blink") == [0, 2]
    assert find_device(twice, "blink", early) == 0
    assert find_device(twice, "blink", late) == 2
    assert find_device(twice, "blink", late.iloc[:0]) == 2


def test_the_busiest_bar_counts_accesses_only() -> None:
    dma = [{"kind": Kind.dma_read, "device": 1, "bar": 0}] * 5
    rows = trace_of({"kind": Kind.mmio_read, "bar": 2}, *dma, {"kind": Kind.mmio_read, "device": 1}).frame()
    assert busiest_bar(rows, device=1) == (1, 0)
    assert busiest_bar(rows, bar=2) == (0, 2)
    assert busiest_bar(rows, bar=5) is None


def test_pending_is_not_failed() -> None:
    rows = session().frame()
    assert list(rows.index[failed(rows)]) == [11]
    assert list(rows.index[pending(rows)]) == [15]
