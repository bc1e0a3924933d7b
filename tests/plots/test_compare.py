"""Two runs side by side."""

from types import SimpleNamespace

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from hdvlab import plots
from hdvlab.errors import UsageError
from hdvlab.trace.schema import Kind
from hdvlab.trace.trace import Trace

from .traces import busy, trace_of


def run(*addresses: int, begin: int = 0) -> Trace:
    return trace_of(
        *({"kind": Kind.mmio_read, "address": place, "t_ns": begin + 1_000 * n} for n, place in enumerate(addresses))
    )


def marks(ax: Axes) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for line in ax.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_runs_begin_together_on_the_same_axes() -> None:
    ax = plots.compare(run(0, 4, 8), run(0, 8, begin=5_000_000))
    left, right, _ = ax.child_axes
    assert marks(left) == [(0, -0.2), (1, 0.8), (2, 1.8)]
    assert marks(right) == [(0, -0.2), (1, 1.8)]
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()


def test_registers_whose_counts_differ_are_marked_and_say_both() -> None:
    ax = plots.compare(run(0, 4, 4), run(0, 0, 4, 4), names=("before", "after"))
    left, right, differences = ax.child_axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["▲ CTRL", "COUNT"]
    assert [label.get_fontweight() for label in left.get_yticklabels()] == ["bold", "normal"]
    assert [text.get_text() for text in differences.texts] == ["1 → 2", "2"]
    assert ax.get_title(loc="left") == "before and after · 1 of 2 rows differ in count"
    assert (left.get_title(), right.get_title()) == ("before · 3", "after · 4")
    assert "the same counts everywhere" in plots.compare(run(0), run(0)).get_title(loc="left")


def test_a_trace_a_run_a_frame_and_a_name_can_be_compared() -> None:
    trace = run(0, 4)
    lab = SimpleNamespace(runs={"one": trace})
    holder = SimpleNamespace(trace=trace, name="held")
    for side, called in ((trace, "left"), (holder, "held"), (trace.frame(), "left"), ("one", "one")):
        ax = plots.compare(side, trace, lab=lab)  # type: ignore[arg-type]
        assert ax.get_title(loc="left") == f"{called} and right · the same counts everywhere"
        assert [label.get_text() for label in ax.child_axes[0].get_yticklabels()] == ["CTRL", "COUNT"]
    frames = plots.compare(trace.frame(), trace.frame())
    assert [label.get_text() for label in frames.child_axes[0].get_yticklabels()] == ["0x0", "0x4"]


def test_what_cannot_be_compared_is_refused_with_what_to_do() -> None:
    trace = run(0)
    with pytest.raises(UsageError, match=r"'one' is a name; give the lab that knows it"):
        plots.compare("one", trace)
    with pytest.raises(UsageError, match=r"no run two; there is one"):
        plots.compare(trace, "two", lab=SimpleNamespace(runs={"one": trace}))
    with pytest.raises(UsageError, match=r"this one has no t_ns"):
        plots.compare(trace.frame()[["kind", "device", "bar", "address"]], trace)
    (text,) = plots.compare(trace_of(), trace_of()).texts
    assert text.get_text() == "No accesses in either run; record some with %%hdv record -o NAME."


def test_a_million_rows_are_drawn_by_stretches_and_said_to_be() -> None:
    ax = plots.compare(busy(1_000_000), busy(10), theme="dark")
    bars = [one for one in ax.child_axes[0].collections if isinstance(one, PolyCollection)]
    assert {str(one.get_gid()) for one in bars} == {"reads", "writes", "others"}
    assert sum(len(one.get_paths()) for one in bars) <= 24 * 3 * 200
    assert ax.child_axes[0].get_title() == "left · 1,000,000"
    said = " ".join(" ".join(text.get_text() for text in ax.texts).split())
    assert "Each mark stands for up to " in said
    assert "The last row is all other places" in said
