"""The access rate and the share of time."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from hdvlab import plots
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.trace.schema import Kind

from .traces import REAL_TRACE, busy, trace_of


def steps(ax: Axes) -> dict[str, StepPatch]:
    return {str(patch.get_gid()): patch for patch in ax.patches if isinstance(patch, StepPatch)}


def areas(ax: Axes, seconds: float) -> dict[str, float]:
    return {name: float(step.get_data().values.sum()) * seconds for name, step in steps(ax).items()}


def seconds_of(ax: Axes) -> float:
    """Length of a stretch, from what the picture says."""
    edges = next(iter(steps(ax).values())).get_data().edges
    unit = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    label = ax.figure.axes[0].child_axes[-1].get_xlabel()
    return float(edges[1] - edges[0]) * unit[label[label.index("(") + 1 : -1]]


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_the_area_under_a_line_is_the_number_of_accesses(length: int) -> None:
    trace = busy(length)
    per_second, _ = plots.rate(trace).child_axes
    counts = trace.frame()["kind"].value_counts()
    found = areas(per_second, seconds_of(per_second))
    assert found == pytest.approx({name: float(counts[name]) for name in found})
    assert sum(counts[name] for name in found) == length


def test_shares_stand_on_one_another_and_sum_up_to_the_time_in_callbacks() -> None:
    trace = busy(2_000)
    _, share = plots.rate(trace, by="device").child_axes
    rows = trace.frame()
    served = rows[rows["kind"].isin(["mmio_read", "mmio_write", "config_read"])]
    top = np.max([step.get_data().values for step in steps(share).values()], axis=0)
    assert top.sum() / 100 * seconds_of(share) * 1e9 == pytest.approx(served["dur_ns"].sum())
    assert set(steps(share)) == {"blink", "edu"}


def test_totals_are_in_the_legend_and_the_title() -> None:
    rows = [{"kind": Kind.mmio_read, "t_ns": 1_000_000 * n, "dur_ns": 100_000} for n in range(10)]
    ax = plots.rate(trace_of(*rows), theme="dark")
    assert ax.get_title(loc="left") == "10 accesses in 9.1 ms · 11 % of it in devices' callbacks"
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["mmio read: 10, 1.1 k/s, 11 % of the time"]
    assert "Counted in 8 stretches of 1.14 ms." in ax.texts[0].get_text()


def test_without_durations_only_the_rate_is_drawn_and_the_picture_says_why() -> None:
    ax = plots.rate(read_mmiotrace(REAL_TRACE), by="device")
    assert len(ax.child_axes) == 1
    assert "No row has a duration: the share of time is not known." in ax.texts[0].get_text()


def test_no_rows_are_told_of() -> None:
    (text,) = plots.rate(trace_of()).texts
    assert text.get_text() == "No accesses to count; let a guest use a device first."
