from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdvlab.analysis.row_filter import RowFilter
from hdvlab.errors import UsageError
from hdvlab.trace.schema import COLUMNS, E_PENDING, Kind
from hdvlab.trace.tables import Tables
from hdvlab.trace.trace import Trace

from ..plots.traces import E_FAIL, TABLES


def trace_of(*rows: dict[str, Any], tables: Tables = TABLES) -> Trace:
    """A trace of these rows, exact to 64 bits."""
    names = dict.fromkeys(name for one in rows for name in one)
    columns = {name: np.array([one.get(name, 0) for one in rows], dtype=COLUMNS[name]) for name in names}
    return Trace.from_columns(columns, tables)


def row(kind: Kind = Kind.mmio_write, **columns: Any) -> dict[str, Any]:
    """A write of CTRL of blink unless said otherwise."""
    whole = {"kind": kind, "device": 0, "bar": 0, "address": 0, "size": 4, "value": 0}
    return {**whole, **columns}


def chosen(trace: Trace, **written: str) -> list[int]:
    view = trace.view()
    return np.flatnonzero(RowFilter(**written).test(trace.tables, trace.text)(view.columns, view.numbers)).tolist()


ROWS = trace_of(
    row(value=1),  # 0: CTRL.EN
    row(value=6),  # 1: CTRL.MODE = 3
    row(address=4, kind=Kind.mmio_read),  # 2: COUNT
    row(address=0, size=8, value=0x2_0000_0001),  # 3: CTRL and COUNT at once
    row(address=0x10, size=8, value=0xFFFF_8000_0000_0001),  # 4: RING
    row(address=0x14, value=0xFFFF_8000),  # 5: its upper half
    row(device=1, address=0x80, value=0x80),  # 6: edu
    row(Kind.dma_read, bar=-1, address=0xFFFF_FFFF_FFFF_F000, size=0x1000, value=3),  # 7: up to the last byte
    row(Kind.config_write, bar=-1, address=4, size=2, value=6),  # 8
    row(Kind.mmio_read, status=E_PENDING),  # 9
    row(Kind.mmio_read, status=E_FAIL, value=0xFFFF_FFFF),  # 10
    row(Kind.interrupt, bar=-1, address=0xFEE0_0000, value=0x21),  # 11
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"kind": "dma interrupt"}, [7, 11]),
        ({"kind": "config_write,dma_read"}, [7, 8]),
        ({"kind": "pending"}, [9]),
        ({"kind": "failed dma"}, [7, 10]),
        ({"device": "edu"}, [6]),
        ({"device": "00:04.0"}, [6]),
        ({"register": "COUNT"}, [2, 3]),
        ({"register": "blink.COUNT"}, [2, 3]),
        ({"register": "bar0.RING"}, [4, 5]),
        ({"register": "CTRL.EN==1"}, [0, 3, 10]),
        ({"register": "CTRL.MODE=3"}, [1, 10]),
        ({"register": "COUNT>=2"}, [3]),
        ({"register": "RING&0x8000_0000_0000_0000"}, [4]),
        ({"register": "bar0+0x10..0x17"}, [4, 5]),
        ({"register": "blink.bar0+0x17"}, [4, 5]),
        ({"register": "edu.bar0"}, [6]),
        ({"register": "config+4"}, [8]),
        ({"register": "config"}, [8]),
        ({"register": "dma+0xffff_ffff_ffff_ffff"}, [7]),
        ({"register": "0xfee00000"}, [11]),
        ({"value": "0xffff800000000001"}, [4]),
        ({"value": "2..7"}, [1, 7, 8]),
        ({"value": "&0x80==0x80", "device": "edu"}, [6]),
        ({"value": ">0xffff_8000_0000_0000"}, [4]),
        ({"text": "edu"}, [6]),
        ({"text": "e_fail"}, [10]),
        ({"text": "0x21"}, [11]),
        ({"text": "ring"}, [4, 5]),
        ({}, list(range(12))),
    ],
    ids=str,
)
def test_a_filter_leaves_the_rows_that_are_meant(written: dict[str, str], expected: list[int]) -> None:
    assert chosen(ROWS, **written) == expected


@pytest.mark.parametrize(
    ("attribute", "written", "told"),
    [
        ("kind", "mimo", "did you mean mmio"),
        ("device", "blnk", "did you mean blink"),
        ("register", "CTLR", "did you mean CTRL"),
        ("register", "ctrl.en", "did you mean CTRL.EN"),
        ("register", "CTRL==x", "write 0x1f"),
        ("register", "blink.", "write a register's name"),
        ("register", "bar0+9..3", "no range"),
        ("value", "10..", "write 0x1f"),
        ("value", "010", "write 10 or 0x1f"),
        ("value", "0x1_0000_0000_0000_0000", "more than 64 bits"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_may_be_written(attribute: str, written: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        RowFilter(**{attribute: written}).test(ROWS.tables)
    assert refused.value.operation == attribute


def test_the_text_of_marks_is_searched() -> None:
    trace = trace_of(row(Kind.mark, size=5, value=int.from_bytes(b"hello", "little")), row(), tables=Tables())
    assert chosen(trace, text="ELL") == [0]
