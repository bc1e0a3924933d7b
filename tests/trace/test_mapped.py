"""Frames over a recording share its memory, grow with it, and outlive it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hdvlab._core import lib
from hdvlab.errors import UsageError
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import COLUMNS, Kind
from hdvlab.trace.trace import Trace

NewRecorder = Callable[..., Recorder]
Record = Callable[..., None]


def memory_of(frame: Any, name: str) -> Any:
    column = frame[name]
    return column.cat.codes.to_numpy() if name in ("kind", "origin") else column.to_numpy()


def codes_of(frame: Any, name: str) -> Any:
    """The array behind a categorical, which ``cat.codes`` hands out without a copy."""
    return frame[name].array._ndarray


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_of_a_frame_is_the_mapping(new_recorder: NewRecorder, record: Record, name: str) -> None:
    recorder = new_recorder()
    record(recorder, 1000)
    for trace in (recorder, open_trace(recorder.path)):
        frame = trace.frame()
        mapping = trace._raw[name]  # type: ignore[attr-defined]
        column = codes_of(frame, name) if name in ("kind", "origin") else memory_of(frame, name)
        assert np.shares_memory(column, mapping)
        assert column.__array_interface__["data"][0] == mapping.__array_interface__["data"][0]
        assert not column.flags.writeable
        assert len(column) == 1000


def test_a_frame_sees_what_is_recorded_after_it_was_made_only_in_the_next_one(
    new_recorder: NewRecorder, record: Record
) -> None:
    recorder = new_recorder()
    record(recorder, 10)
    first = recorder.frame()
    record(recorder, 5)
    assert (len(first), len(recorder.frame()), len(recorder)) == (10, 15, 15)


def test_a_frame_outlives_close_and_the_trace(new_recorder: NewRecorder, record: Record) -> None:
    recorder = Recorder.create(chunk_rows=64)
    record(recorder, 500)
    recorder.mark("a mark with a long text")
    reader = open_trace(recorder.path)
    frame, read = recorder.frame(), reader.frame()
    path = recorder.path
    recorder.close()
    reader.close()
    assert not path.exists()
    assert len(recorder) == 501
    assert recorder.text(500) == reader.text(500) == "a mark with a long text"
    del recorder, reader
    gc.collect()
    assert frame.equals(read)
    assert (frame["value"].to_numpy()[:500] == ~np.arange(500, dtype=np.uint64)).all()
    assert frame["kind"].iloc[-1] == "mark"


def test_many_closed_recordings_with_frames_hold_no_descriptor(record: Record) -> None:
    from pathlib import Path

    before = len(list(Path("/proc/self/fd").iterdir()))
    frames = []
    for _ in range(40):
        with Recorder.create(chunk_rows=64) as recorder:
            record(recorder, 10)
            frames.append(recorder.frame())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert sum(len(frame) for frame in frames) == 400


def test_rows_that_are_served_are_pending_and_counted(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder(chunk_rows=64)
    record(recorder, 200)
    assert recorder.frame().attrs["pending"] == 0
    from hdvlab.errors import HResult

    row = recorder.fault("held", status=HResult.E_PENDING)
    assert recorder.frame().attrs["pending"] == 1
    record(recorder, 200)
    assert recorder.frame().attrs["pending"] == 1
    assert "1 pending" in repr(recorder.frame())
    assert open_trace(recorder.path).frame().attrs["pending"] == 1
    assert recorder[row : row + 1].frame().attrs["pending"] == 1
    assert recorder[:row].frame().attrs["pending"] == 0


def test_columns_cost_nothing_to_look_at_again(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder()
    record(recorder, 100)
    assert recorder.columns()["value"] is recorder.columns()["value"]


def test_a_slice_shares_memory_and_keeps_row_numbers(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder()
    record(recorder, 100)
    recorder.mark("in the middle of it")
    record(recorder, 100)
    part = recorder[90:120]
    frame = part.frame()
    assert isinstance(part, Trace)
    assert (frame.index[0], frame.index[-1], len(part)) == (90, 119, 30)
    assert np.shares_memory(frame["value"].to_numpy(), recorder._raw["value"])
    assert part.tables is recorder.tables
    assert part.text(100) == "in the middle of it"
    assert part.payload(100) == b"in the middle of it"
    assert part[5:12][-2:].frame().index.tolist() == [100, 101]
    assert part.marks().index.tolist() == [100]
    assert len(recorder[150:100]) == 0
    with pytest.raises(UsageError, match="row 89 is not in this trace; it has rows 90 to 119"):
        part.text(89)
    with pytest.raises(UsageError, match="every n-th row"):
        recorder[::2]
    with pytest.raises(UsageError, match=r"frame\(\)\.loc"):
        recorder[3]  # type: ignore[index]


def test_payload_is_the_value_where_it_fits(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder()
    record(recorder, 2)
    recorder.mark("12345678")
    recorder.mark("123456789")
    recorder.mark("")
    assert [recorder.payload(row) for row in range(5)] == [
        b"\xff\xff\xff\xff",
        b"\xfe\xff\xff\xff",
        b"12345678",
        b"123456789",
        b"",
    ]
    assert recorder.columns()["payload"].tolist() == [-1, -1, -1, 0, -1]


def test_repr_builds_no_frame(new_recorder: NewRecorder, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = new_recorder()
    record(recorder, 1234)
    monkeypatch.setattr(Trace, "frame", lambda *_: pytest.fail("a frame was built"))
    assert repr(recorder) == f"<Recorder: 1,234 rows, no devices, recording, {recorder.path}>"
    recorder.close()
    assert "recording" not in repr(recorder)
    assert repr(recorder[:2]) == "<TraceSlice: 2 rows, no devices>"


def test_nothing_lost_is_an_empty_frame(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder()
    record(recorder, 10)
    assert recorder.losses.empty
    assert list(recorder.losses.columns) == ["what", "rows", "first_row", "why"]
    frame = recorder.frame()
    assert not any(frame.attrs.values())


def test_texts_of_imports_are_in_the_facts_and_served_alike() -> None:
    from hdvlab.trace.tables import Tables

    facts = {"marks": {0: "begin"}, "faults": {1: "unknown instruction"}}
    columns = {"kind": np.array([Kind.mark, Kind.fault, Kind.mmio_read]), "value": np.array([0, 0x120B0F, 1])}
    trace = Trace.from_columns(columns, Tables(facts=facts))
    assert [trace.text(row) for row in range(3)] == ["begin", "unknown instruction", ""]
    assert trace.marks()["text"].tolist() == ["begin"]
    assert trace.faults()["text"].tolist() == ["unknown instruction"]
    assert trace[1:].faults().index.tolist() == [1]


def test_a_handle_that_is_gone_is_said_so(new_recorder: NewRecorder) -> None:
    from hdvlab.errors import StateError

    recorder = new_recorder()
    recorder.close()
    recorder.close()
    with pytest.raises(StateError, match="closed"):
        recorder.mark("too late")
    assert lib.hdvlab_trace_state(recorder.handle, __import__("hdvlab._core", fromlist=["ffi"]).ffi.NULL) < 0
