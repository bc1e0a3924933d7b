"""The C writer and the Python reader mean the same columns and codes."""

from __future__ import annotations

import numpy as np

from hdvlab._core import ffi, lib
from hdvlab.trace.native import CLOCKS, TraceState
from hdvlab.trace.schema import COLUMN_HELP, COLUMNS, NO_DEVICE, Kind, Origin


def test_columns_have_the_names_and_widths_of_the_library() -> None:
    name = ffi.new("char **")
    found = {}
    for number in range(lib.HDVLAB_COLUMN_COUNT):
        width = lib.hdvlab_trace_column(number, name)
        found[ffi.string(name[0]).decode()] = width
    assert found == {name: np.dtype(dtype).itemsize for name, dtype in COLUMNS.items()}
    assert list(found) == list(COLUMNS) == list(COLUMN_HELP)
    assert lib.hdvlab_trace_column(lib.HDVLAB_COLUMN_COUNT, ffi.NULL) == 0


def test_kinds_have_the_values_of_the_library() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {
        kind.name: getattr(lib, f"HDVLAB_{kind.name.upper()}") for kind in Kind
    }
    assert len(Kind) == lib.HDVLAB_KIND_COUNT
    assert [int(kind) for kind in Kind] == list(range(len(Kind)))


def test_origins_have_the_values_of_the_library() -> None:
    assert [int(origin) for origin in Origin] == [getattr(lib, f"HDVLAB_{origin.name.upper()}") for origin in Origin]
    assert lib.HDVLAB_NO_DEVICE == NO_DEVICE


def test_clocks_are_in_the_order_of_the_library() -> None:
    assert [getattr(lib, f"HDVLAB_CLOCK_{name.upper()}") for name in CLOCKS] == [0, 1, 2, 3]


def test_the_state_has_every_field_of_the_library() -> None:
    fields = {name for name, _ in ffi.typeof("HDVLAB_TRACE_STATE").fields}
    assert set(TraceState.__dataclass_fields__) == fields
