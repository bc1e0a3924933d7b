"""Bins equal a count over every row, however the rows came."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab.trace.schema import E_PENDING, Kind
from hdvlab.trace.trace import Trace
from hdvlab.trace.view import View
from hdvlab.widgets.bins import BLOCK, Bins
from hdvlab.widgets.heat_bins import HeatBins, Place, Touched, list_places
from hdvlab.widgets.row_groups import group_columns
from tests.plots.traces import E_FAIL, TABLES, busy

Array = np.ndarray[Any, Any]


def random_view(length: int, seed: int, disorder: int = 0, start: int = 0) -> View:
    """Rows of :func:`busy`, some of them shifted in time, some failed, some pending."""
    columns = {name: column.copy() for name, column in busy(length, seed).columns().items()}
    random = np.random.default_rng(seed)
    columns["t_ns"] += random.integers(-disorder, disorder + 1, length)
    columns["status"] = random.choice(np.array([0, 0, 0, E_FAIL, E_PENDING], dtype=np.int32), length)
    return View(columns, range(start, start + length))


def brute(view: View, first: int, width: int, bins: int, by_row: bool, start: int, stop: int) -> Counter[Any]:
    x = view.numbers if by_row else view.columns["t_ns"]
    names = ("device", "bar", "kind", "status")
    counts: Counter[Any] = Counter()
    for at in range(start, min(stop, len(view))):
        place = (int(x[at]) - first) // width
        if 0 <= place < bins:
            device, bar, kind, status = (int(view.columns[name][at]) for name in names)
            failed = (status < 0 and status != E_PENDING) or kind == Kind.fault
            counts[device, bar, kind, failed, place] += 1
    return counts


def counted(bins: Bins, counts: Array) -> Counter[Any]:
    columns = group_columns(bins.groups)
    found: Counter[Any] = Counter()
    for group, place in zip(*(part.tolist() for part in np.nonzero(counts)), strict=True):
        key = tuple(columns[name][group].item() for name in ("device", "bar", "kind", "failed"))
        found[*key, place] += int(counts[group, place])
    return found


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_counts_are_those_of_a_look_at_every_row(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 3 * BLOCK) | st.integers(17 * BLOCK, 18 * BLOCK))
    view = random_view(length, data.draw(st.integers(1, 99)), data.draw(st.sampled_from([0, 500, 10**6])), 1000)
    bins = Bins()
    for stop in sorted(data.draw(st.lists(st.integers(0, length), max_size=3))):
        bins.update(view.cut(0, stop), 2, data.draw(st.sampled_from([BLOCK, 1 << 62])))
    bins.update(view, 2)
    by_row = data.draw(st.booleans())
    low, high = bins.extent(by_row=by_row)
    first = data.draw(st.integers(low - 100, high))
    count = data.draw(st.integers(1, 40))
    width = data.draw(st.integers(1, 2 * (high - low) // count + 2))
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    counts = bins.count(first, width, count, by_row=by_row, start=start, stop=stop)
    assert counted(bins, counts) == brute(view, first, width, count, by_row, start, stop)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 20 * BLOCK), st.integers(1, 99), st.sampled_from([0, 10**5]), st.booleans(), st.data())
def test_rows_of_a_stretch_are_found(length: int, seed: int, disorder: int, by_row: bool, data: st.DataObject) -> None:
    view = random_view(length, seed, disorder, 50)
    bins = Bins()
    bins.update(view, 2)
    low, high = bins.extent(by_row=by_row)
    first = data.draw(st.integers(low - 10, high))
    stop = data.draw(st.integers(first, high + 10))
    x = view.numbers if by_row else view.columns["t_ns"]
    expected = np.flatnonzero((x >= first) & (x < stop))
    found = bins.find(first, stop, length, by_row=by_row)
    assert found is not None
    assert found.tolist() == expected.tolist()
    span = bins.span(first, stop, by_row=by_row)
    assert not len(expected) or (span.start <= expected[0] and expected[-1] < span.stop)
    if len(expected):
        assert bins.find(first, stop, len(expected) - 1, by_row=by_row) is None


def test_a_million_rows_are_all_counted_and_bins_made_in_steps_are_the_same() -> None:
    view = busy(1_000_000).view()
    once, steps = Bins(), Bins()
    once.update(view, 2)
    for stop in (1, 300, 70_000, 999_999, 1_000_000):
        steps.update(view.cut(0, stop), 2, 100_000)
    while not steps.is_complete:
        assert steps.update(view, 2, 200_000)
    low, high = once.extent()
    assert (low, high) == steps.extent()
    t_ns = view.columns["t_ns"]
    for bins in (1, 7, 1000):
        width = (high - low) // bins + 1
        counts = once.count(low, width, bins)
        assert counts.sum() == 1_000_000
        assert counts.sum(axis=0).tolist() == np.bincount((t_ns - low) // width, minlength=bins).tolist()
        assert counted(once, counts) == counted(steps, steps.count(low, width, bins))
    assert not steps.update(view, 2)


def test_an_access_that_fails_after_it_was_summed_up_counts_as_failed() -> None:
    columns = {name: column.copy() for name, column in busy(2 * BLOCK).columns().items()}
    columns["status"][:] = 0
    columns["status"][[3, 5]] = E_PENDING
    view = View(columns, range(2 * BLOCK))
    bins = Bins()
    bins.update(view, 2)
    assert bins.find_pending().tolist() == [3, 5]
    low, high = bins.extent()
    columns["status"][[3, 5]] = [E_FAIL, 0]
    columns["dur_ns"][5] = 4_000_000_000
    assert bins.update(view, 2)
    assert bins.find_pending().tolist() == []
    for width in (high, 1 + (high - low) // 100):
        counts = bins.count(low, width, 100)
        assert counted(bins, counts) == brute(view, low, width, 100, False, 0, 2 * BLOCK)
    assert bins.extent()[1] == int(columns["t_ns"][5]) + 4_000_000_001
    assert 5 in bins.find_running(high).tolist()


def test_rows_that_are_still_served_are_found_from_within_their_time() -> None:
    columns = {name: column.copy() for name, column in busy(3 * BLOCK).columns().items()}
    columns["status"][:] = 0
    columns["dur_ns"][:] = 1
    columns["dur_ns"][100] = 10**9
    columns["status"][7] = E_PENDING
    bins = Bins()
    bins.update(View(columns, range(3 * BLOCK)), 2)
    moment = int(columns["t_ns"][600]) + 2
    assert bins.find_running(moment).tolist() == [7, 100]


def test_other_rows_start_the_sums_anew() -> None:
    bins = Bins()
    bins.update(busy(1000).view(), 2)
    other = busy(600, seed=5).view()
    assert bins.update(other, 2)
    low, high = bins.extent()
    assert bins.count(low, high, 1).sum() == 600


PLACE = Place("blink", (0,), 0)


def brute_heat(view: View, heat: HeatBins, reads: bool, writes: bool) -> Array:
    counts = np.zeros((heat.bands, heat.bins), dtype=np.int64)
    for at in range(len(view)):
        kind, device, bar, t_ns, address, size = (
            int(view.columns[name][at]) for name in ("kind", "device", "bar", "t_ns", "address", "size")
        )
        stretch = (t_ns - heat.first) // heat.width
        is_read = kind in (Kind.mmio_read, Kind.dma_read)
        fits = kind in heat.place.kinds and device in heat.place.devices and heat.place.bar in (bar, -1)
        if fits and 0 <= stretch < heat.bins and (reads if is_read else writes):
            one, other = (address - heat.low) // heat.step, (address + max(size, 1) - 1 - heat.low) // heat.step
            counts[max(one, 0) : max(min(other, heat.bands - 1) + 1, 0), stretch] += 1
    return counts


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_heat_is_that_of_a_look_at_every_row(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 5 * BLOCK))
    view = random_view(length, data.draw(st.integers(1, 99)), data.draw(st.sampled_from([0, 10**5])))
    view.columns["size"][:] = data.draw(st.sampled_from([1, 4, 64, 5000]))
    bins = Bins()
    bins.update(view.cut(0, data.draw(st.integers(0, length))), 2)
    low, high = (int(end) for end in (view.columns["t_ns"].min(initial=0), view.columns["t_ns"].max(initial=1)))
    place = data.draw(st.sampled_from([PLACE, Place("edu", (0, 1), 0), Place("blink", (0,), -1)]))
    heat = HeatBins(
        place,
        data.draw(st.integers(low - 10, high)),
        data.draw(st.integers(1, high - low + 1)),
        data.draw(st.integers(1, 30)),
        data.draw(st.integers(0, 0x500)),
        data.draw(st.integers(1, 0x100)),
        data.draw(st.integers(1, 20)),
    )
    heat.update(bins, data.draw(st.sampled_from([100, 1 << 62])))
    bins.update(view, 2)
    while heat.update(bins, 500):
        pass
    assert heat.is_complete
    for reads, writes in ((True, True), (True, False), (False, True)):
        assert heat.counts(reads=reads, writes=writes).tolist() == brute_heat(view, heat, reads, writes).tolist()


def test_a_transfer_over_the_end_of_the_address_space_counts_where_it_begins() -> None:
    columns = {
        "t_ns": [0],
        "kind": [Kind.dma_write],
        "address": np.array([2**64 - 4], dtype=np.uint64),
        "size": [64],
        "device": [0],
    }
    trace = Trace.from_columns(columns, TABLES)  # type: ignore[arg-type]
    bins = Bins()
    bins.update(trace.view(), 2)
    heat = HeatBins(Place("blink", (0,), -1), 0, 1, 1, 2**64 - 8, 4, 2)
    heat.update(bins)
    assert heat.counts().tolist() == [[0], [1]]


def test_places_are_the_bars_that_rows_touch_then_guest_memory() -> None:
    bins = Bins()
    bins.update(busy(5000).view(), 2)
    assert [place.label for place in list_places(bins, TABLES)] == [
        "blink BAR0",
        "blink guest memory (DMA)",
        "edu BAR0",
        "edu guest memory (DMA)",
    ]


@pytest.mark.parametrize("most", [1000, 1 << 62])
def test_the_addresses_that_were_touched_are_known(most: int) -> None:
    bins = Bins()
    bins.update(busy(5000).view(), 2)
    touched = Touched(PLACE)
    while not touched.update(bins, most):
        pass
    assert (touched.low, touched.high) == (0, 0x804)
