"""The latency histogram's lines and medians."""

from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from hdvlab import plots
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.trace.schema import Kind

from .traces import REAL_TRACE, busy, session, trace_of


def steps(ax: Axes) -> dict[str, StepPatch]:
    return {str(patch.get_gid()): patch for patch in ax.patches if isinstance(patch, StepPatch)}


def legend_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_each_kind_has_a_stepped_line_of_its_own_look() -> None:
    lines = steps(plots.latency(session()))
    assert set(lines) == {"config_read", "config_write", "mmio_read", "mmio_write", "dma_read", "dma_write"}
    looks = {(line.get_edgecolor(), line.get_linestyle()) for line in lines.values()}
    assert len(looks) == len(lines)


def test_every_access_is_in_a_step() -> None:
    lines = steps(plots.latency(busy(3_000)))
    counts = [value for line in lines.values() for value in line.get_data().values if value >= 1]
    assert sum(counts) == 3_000


def test_medians_are_marked_and_written_in_the_legend() -> None:
    ax = plots.latency(trace_of(*({"kind": Kind.mmio_read, "dur_ns": ns} for ns in (100, 2_000, 9_000))))
    (median,) = [line for line in ax.lines if line.get_gid() == "median of mmio_read"]
    assert list(median.get_xdata()) == [2_000]
    assert legend_of(ax) == ["mmio read: median 2 µs (3)"]
    assert ax.get_xscale() == "log"


def test_a_trace_without_durations_shows_the_time_between_accesses_and_says_so() -> None:
    ax = plots.latency(read_mmiotrace(REAL_TRACE))
    assert ax.get_title(loc="left") == "Time between accesses: no row has a duration"
    assert ax.get_xlabel() == "time since the previous access of the same device"
    assert legend_of(ax) == ["mmio read: median 28 µs (7,605)", "mmio write: median 69 µs (6,905)"]


def test_by_register_the_busiest_have_a_line_and_the_others_share_one() -> None:
    lines = steps(plots.latency(busy(20_000), by="register"))
    assert len(lines) == 6
    assert list(lines)[-1] == "others"


def test_what_is_left_out_and_what_is_saturated_is_said() -> None:
    rows = [{"kind": Kind.mmio_read, "dur_ns": ns} for ns in (0, 10, 0xFFFFFFFF)]
    ax = plots.latency(trace_of(*rows))
    said = " ".join(text.get_text() for text in ax.texts)
    assert "1 access is left out: no duration" in said
    assert "1 took 4.29 s or longer" in said
