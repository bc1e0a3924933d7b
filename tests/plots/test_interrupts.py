"""Interrupt latency over time and as a distribution."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import StepPatch

from hdvlab import plots
from hdvlab.analysis.interrupts import df_interrupt_latency
from hdvlab.trace.schema import Kind

from .traces import TABLES, busy, trace_of


def lines(ax: Axes) -> dict[str, list[float]]:
    return {str(line.get_gid()): np.asarray(line.get_ydata()).tolist() for line in ax.lines}


def said(ax: Axes) -> str:
    return " ".join(" ".join(text.get_text() for text in ax.texts).split())


def test_both_times_stand_at_the_interrupt_and_are_counted_beside() -> None:
    ax = plots.interrupts(
        trace_of(
            {"kind": Kind.mmio_write, "t_ns": 0},
            {"kind": Kind.interrupt, "t_ns": 300, "cause": 0},
            {"kind": Kind.mmio_read, "t_ns": 1_300},
            {"kind": Kind.interrupt, "t_ns": 2_000},
        )
    )
    over_time, distribution = ax.child_axes
    assert lines(over_time) == {"to_msi_ns": [300, 2_000], "to_acknowledge_ns": [1_000]}
    counts = {
        str(step.get_gid()): int(step.get_data().values.sum())
        for step in distribution.patches
        if isinstance(step, StepPatch)
    }
    assert counts == {"to_msi_ns": 2, "to_acknowledge_ns": 1}
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "write to MSI: median 300 ns, longest 2 µs (2)",
        "MSI to the guest's next access: median 1 µs, longest 1 µs (1)",
    ]
    assert "1 of no known cause: counted from the guest's last write to the device, 1 that no access answered." in said(
        ax
    )


def test_many_interrupts_are_drawn_by_stretches_and_none_is_left_out() -> None:
    trace = busy(200_000)
    found = df_interrupt_latency(trace.frame(), TABLES)
    ax = plots.interrupts(trace)
    over_time, distribution = ax.child_axes
    known = found.loc[found["to_msi_ns"] >= 0, "to_msi_ns"]
    (steps,) = [one for one in distribution.patches if isinstance(one, StepPatch) and one.get_gid() == "to_msi_ns"]
    assert steps.get_data().values.sum() == len(known)
    (ranges,) = [one for one in over_time.collections if one.get_gid() == "to_msi_ns range"]
    assert isinstance(ranges, LineCollection)
    assert len(ranges.get_segments()) == len(lines(over_time)["to_msi_ns median"]) <= 300
    assert max(segment[:, 1].max() for segment in ranges.get_segments()) == known.max()
    assert "Each mark stands for up to " in said(ax)


def test_an_interrupt_is_measured_by_what_lies_outside_of_the_stretch_shown() -> None:
    trace = trace_of(
        {"kind": Kind.mmio_write, "t_ns": 0},
        {"kind": Kind.interrupt, "t_ns": 300, "cause": 0},
        {"kind": Kind.mmio_read, "t_ns": 1_300},
    )
    assert lines(plots.interrupts(trace, start=200, stop=400).child_axes[0]) == {
        "to_msi_ns": [300],
        "to_acknowledge_ns": [1_000],
    }


def test_the_answer_can_be_an_access_to_one_register() -> None:
    trace = trace_of(
        {"kind": Kind.interrupt, "t_ns": 0},
        {"kind": Kind.mmio_read, "t_ns": 10},
        {"kind": Kind.mmio_read, "t_ns": 50, "address": 8},
    )
    ax = plots.interrupts(trace, "STATUS", theme="dark")
    assert lines(ax.child_axes[0]) == {"to_acknowledge_ns": [50]}


def test_no_interrupts_or_nothing_to_measure_them_by_is_said() -> None:
    assert said(plots.interrupts(trace_of())) == "No interrupt in this trace; let a guest use the device first."
    alone = trace_of({"kind": Kind.interrupt})
    assert said(plots.interrupts(alone)) == (
        "1 interrupt, but no guest access to the device to measure by; %hdv plot timeline shows what there is."
    )
    assert said(plots.interrupts(alone, device="edu")).startswith("No interrupt here; ")
