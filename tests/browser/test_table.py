from __future__ import annotations

import pytest

from .page import LabPage

#: A trace of a million rows with values of 64 bits, of which a test knows every one.
MILLION = """
import numpy as np
import hdvlab, hdvlab.widgets
from hdvlab.registers import Register, RegisterMap
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import BarInfo, DeviceInfo, Tables
from hdvlab.trace.trace import Trace
n = 1_000_000
i = np.arange(n)
registers = RegisterMap([Register(0, fields={"EN": 0, "RATE": (1, 4)}, name="CTRL"), Register(8, 64, name="RING")], 4096, "bar0")
kinds = np.array([Kind.mmio_read, Kind.mmio_write, Kind.dma_read, Kind.interrupt], dtype=np.uint8)
kind = kinds[i % 4]
on_bar = i % 4 < 2
trace = Trace.from_columns(
    {
        "kind": kind,
        "t_ns": i * 1000,
        "dur_ns": np.full(n, 700),
        "device": np.zeros(n),
        "bar": np.where(on_bar, 0, -1),
        "size": np.full(n, 8),
        "address": np.where(on_bar, 8 * (i % 3), 0xFFFF_8000_0000_0000 + 64 * i.astype(np.uint64)).astype(np.uint64),
        "value": np.uint64(0xF000_0000_0000_0001) + i.astype(np.uint64),
        "cause": np.where(on_bar, -1, i - 2),
    },
    Tables([DeviceInfo("blink", 0x1234, 1, "00:03.0", bars={0: BarInfo(4096, None, registers)})]),
)
table = hdvlab.widgets.table(trace)
table
"""


@pytest.fixture
def table(lab_page: LabPage) -> LabPage:
    """A page with the table of a million rows."""
    lab_page.open([MILLION])
    lab_page.run_all()
    lab_page.wait_text(lab_page.page.get_by_test_id("hdv-table-status"), "1,000,000 rows")
    return lab_page


def test_it_is_shown(table: LabPage) -> None:
    table.shot("table-light")
    assert table.violations("table") == []
    table.dark()
    table.shot("table-dark")
    assert table.violations("table") == []
