"""The waveform's buses and lines."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from hdvlab import plots
from hdvlab.errors import UsageError
from hdvlab.formats.mmiotrace import read_mmiotrace
from hdvlab.registers import Register, RegisterMap
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import BarInfo, DeviceInfo, Tables
from hdvlab.trace.trace import Trace

from .traces import REAL_TRACE, busy, session, trace_of


def reads_of_ctrl(*values: int) -> Trace:
    """Reads of CTRL 1 µs apart."""
    return trace_of(*({"kind": Kind.mmio_read, "t_ns": 1_000 * t, "value": v} for t, v in enumerate(values)))


def labels_of(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def values_of(ax: Axes, name: str) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_gid() == f"value of {name}"]


def notes(ax: Axes) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in ax.texts if text.get_gid() == "note")


def test_a_register_is_a_bus_in_hexadecimal_and_its_fields_stand_below() -> None:
    ax = plots.waveform(reads_of_ctrl(0, 3, 4, 4), ["CTRL"])
    assert labels_of(ax) == ["CTRL", ".EN", ".MODE"]
    assert values_of(ax, "CTRL") == ["0x00000000", "0x00000003", "0x00000004"]
    assert values_of(ax, "CTRL.MODE") == ["idle", "run", "halt"]


def test_a_bit_is_a_line_that_is_high_while_it_is_set() -> None:
    ax = plots.waveform(reads_of_ctrl(0, 1, 0, 0), ["CTRL.EN"])
    (line,) = [line for line in ax.lines if line.get_gid() == "CTRL.EN"]
    assert list(line.get_xdata()) == pytest.approx([0, 1, 1, 2, 2, 3], abs=0.05)
    low, high = 0.3, -0.3  # the y axis points downward
    assert list(line.get_ydata()) == [low, low, high, high, low, low]


def test_a_bus_segment_lasts_as_long_as_its_value() -> None:
    ax = plots.waveform(reads_of_ctrl(2, 2, 2, 4, 4), ["CTRL.MODE"])
    (bus,) = [collection for collection in ax.collections if collection.get_gid() == "CTRL.MODE"]
    ends = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bus.get_paths()]
    assert ends == [(0, 3), (3, pytest.approx(4, abs=0.06))]


def test_a_value_that_only_the_last_row_tells_is_seen() -> None:
    ax = plots.waveform(reads_of_ctrl(2, 2, 4), ["CTRL.MODE"])
    (bus,) = [collection for collection in ax.collections if collection.get_gid() == "CTRL.MODE"]
    last = bus.get_paths()[-1].vertices[:, 0]
    assert last.min() == 2
    assert 2.01 < last.max() <= ax.get_xlim()[1]


def test_a_value_that_does_not_fit_is_not_written() -> None:
    ax = plots.waveform(reads_of_ctrl(*range(200)), ["CTRL"])
    assert values_of(ax, "CTRL") == []


def test_marks_tell_values_that_were_written_from_those_that_were_read() -> None:
    kinds = [Kind.mmio_write, Kind.mmio_read, Kind.mmio_write]
    rows = [{"kind": kind, "t_ns": 10 * t, "value": t} for t, kind in enumerate(kinds)]
    ax = plots.waveform(trace_of(*rows), ["CTRL.MODE", "CTRL.EN"])
    marks = {str(line.get_gid()): list(line.get_xdata()) for line in ax.lines if " row " in str(line.get_gid())}
    assert marks == {"written row 0": [0, 20], "written row 1": [0, 20], "read row 1": [10]}


def test_the_registers_that_change_most_are_drawn_with_the_fields_that_change() -> None:
    ax = plots.waveform(trace_of(*({"kind": Kind.mmio_read, "t_ns": t, "value": t % 2} for t in range(4))))
    assert labels_of(ax) == ["CTRL", ".EN"]
    assert "1 field that never changes has no row." in notes(ax)


def test_a_register_that_no_access_tells_is_said_to_be_unknown() -> None:
    ax = plots.waveform(session(), ["RING", "COUNT"])
    assert labels_of(ax) == ["RING", "COUNT"]
    assert notes(ax) == "No access tells the value of RING."


def test_fast_changes_are_blocks_and_the_marks_stay_bounded() -> None:
    ax = plots.waveform(busy(200_000), ["CTRL"])
    busy_blocks = [collection for collection in ax.collections if collection.get_gid() == "busy"]
    assert len(busy_blocks) == 3
    assert sum(len(collection.get_paths()) for collection in ax.collections) < 10_000
    legend = ax.get_legend()
    assert legend is not None
    assert "changes faster than drawn" in [text.get_text() for text in legend.get_texts()]


def test_a_stretch_begins_with_the_value_known_before_it() -> None:
    rows = [{"kind": Kind.mmio_read, "t_ns": t, "value": v} for t, v in ((0, 2), (1_000, 4), (5_000, 0))]
    rows.append({"kind": Kind.dma_read, "t_ns": 2_500})
    ax = plots.waveform(trace_of(*rows), ["CTRL.MODE"], start="2us")
    assert values_of(ax, "CTRL.MODE") == ["halt"]
    (bus,) = [collection for collection in ax.collections if collection.get_gid() == "CTRL.MODE"]
    assert bus.get_paths()[0].vertices[:, 0].min() == 2.5
    assert ax.get_xlim()[0] == pytest.approx(2.5, abs=0.1)


def test_a_name_alone_is_a_list_of_one() -> None:
    assert labels_of(plots.waveform(session(), "CTRL.EN")) == ["CTRL.EN"]


def test_a_wrong_name_is_an_error_before_anything_is_drawn() -> None:
    with pytest.raises(UsageError, match=r"did you mean CTRL\?"):
        plots.waveform(session(), ["CTRK"])


def test_more_rows_than_a_page_holds_are_counted() -> None:
    registers = RegisterMap([Register(4 * n, fields={f"F{b}": b for b in range(32)}, name=f"R{n}") for n in range(2)])
    tables = Tables([DeviceInfo("wide", bars={0: BarInfo(4096, None, registers)})])
    ax = plots.waveform(trace_of({"kind": Kind.mmio_read}, tables=tables), ["R0", "R1"])
    assert len(labels_of(ax)) == 40
    assert "26 more signals are not drawn" in notes(ax)


def test_registers_of_several_devices_carry_the_name_of_theirs() -> None:
    ax = plots.waveform(read_mmiotrace(REAL_TRACE))
    assert labels_of(ax) == ["nvme 0x1008", "nvme 0x100c", "e1000 0x10", "e1000 0x20"]
    assert np.isfinite(ax.get_xlim()).all()
