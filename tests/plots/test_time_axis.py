"""Time in the unit that reads best."""

import numpy as np
import pytest

from hdvlab.plots.time_axis import TimeAxis, duration


@pytest.mark.parametrize(
    ("span_ns", "label"),
    [
        (900, "time since the trace began (ns)"),
        (50_000, "time since the trace began (µs)"),
        (1_999_999_999, "time since the trace began (ms)"),
        (30_000_000_000, "time since the trace began (s)"),
    ],
)
def test_the_unit_follows_the_span(span_ns: int, label: str) -> None:
    assert TimeAxis.spanning(0, span_ns).label == label


def test_a_short_and_late_stretch_counts_from_its_own_beginning_exactly() -> None:
    start = 3_600_000_000_123_456_789  # of these a float holds 16 digits
    axis = TimeAxis.spanning(start, start + 3_000)
    assert axis.label == "time after 3600000000.123456 s (µs)"
    places = axis.place(np.array([start, start + 1, start + 3_000]))
    assert places == pytest.approx([0.789, 0.790, 3.789], abs=1e-12)


def test_a_stretch_that_is_not_late_counts_from_the_trace() -> None:
    axis = TimeAxis.spanning(3_000_000, 9_000_000)
    assert axis.place(np.array([3_000_000]))[0] == 3.0


@pytest.mark.parametrize(
    ("ns", "text"), [(1, "1 ns"), (999.9, "1 µs"), (1_234, "1.23 µs"), (20_000_000, "20 ms"), (4.29e9, "4.29 s")]
)
def test_lengths_of_time_have_three_digits_and_a_unit(ns: float, text: str) -> None:
    assert duration(ns) == text
