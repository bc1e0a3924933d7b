"""Named stretches of the trace, marks, and the frame a lab gives."""

from __future__ import annotations

import pytest

from hdvlab import Lab
from hdvlab.trace.schema import COLUMNS

from .blink import Blink


def test_a_recording_is_what_happened_inside_it(lab: Lab) -> None:
    blink = lab.plug(Blink)
    with lab.record("both") as run:
        blink.bar0.CTRL.write(1)
        blink.bar0.CTRL.read()
    blink.bar0.CTRL.read()
    assert len(run) == len(run.frame()) == 2
    assert lab.runs["both"] is run
    assert list(run.frame().index) == [run.start, run.start + 1]


def test_a_recording_grows_until_it_ends_and_ends_also_when_the_cell_raises(lab: Lab) -> None:
    blink = lab.plug(Blink)

    def cell() -> None:
        with lab.record("cut") as run:
            blink.bar0.CTRL.read()
            assert len(run) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cell()
    blink.bar0.CTRL.read()
    assert len(lab.runs["cut"]) == 1


def test_a_mark_is_a_row_with_its_text(lab: Lab) -> None:
    row = lab.mark("before the storm")
    assert lab.trace.text(row) == "before the storm"
    assert lab.trace.marks()["text"].tolist() == ["before the storm"]


def test_the_frame_has_all_columns_of_the_schema_and_their_types(lab: Lab) -> None:
    lab.plug(Blink).bar0.CTRL.read()
    frame = lab.trace.frame()
    assert list(frame.columns) == list(COLUMNS)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "t_ns": "int64", "dur_ns": "uint32", "kind": "category", "origin": "category", "device": "uint16",
        "bar": "int8", "size": "uint32", "address": "uint64", "value": "uint64", "status": "int32", "cause": "int64",
        "payload": "int64", "pc": "uint64",
    }  # fmt: skip
    assert frame.attrs["pending"] == frame.attrs["lost"] == 0
    decoded = lab.trace.frame(decode=True).iloc[-1]
    assert (decoded["name"], decoded["register"], decoded["fields"]) == ("blink", "CTRL", "EN=0 RATE=1 DONE=0")
