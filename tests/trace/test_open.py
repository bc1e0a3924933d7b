"""What can be opened, and what is said of what cannot."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hdvlab.errors import TraceError, TraceFormatError, TraceLossWarning
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.trace import Trace

NewRecorder = Callable[..., Recorder]
Record = Callable[..., None]


def test_a_recording_is_read_while_it_is_written(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder(chunk_rows=64)
    reader = Trace.open(recorder.path)
    assert isinstance(reader, MappedTrace)
    assert len(reader) == 0
    record(recorder, 1000)
    assert len(reader) == 1000
    assert reader.is_live
    assert "recording" in repr(reader)
    recorder.close()
    assert len(reader) == 1000
    assert not reader.is_live
    assert not any(reader.frame().attrs.values())


def test_a_finished_recording_is_whole(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder(chunk_rows=64)
    record(recorder, 200)
    recorder.close()
    states = open_trace(recorder.path).verify()
    assert states["state"].tolist() == ["whole"] * 4
    assert states["rows"].tolist() == [64, 64, 64, 8]
    assert states["first_row"].tolist() == [0, 64, 128, 192]


def test_sealing_follows_the_recording(new_recorder: NewRecorder, record: Record) -> None:
    import time

    recorder = new_recorder(chunk_rows=64)
    record(recorder, 200)
    deadline = time.monotonic() + 10
    while (states := recorder.verify()["state"].tolist()) != ["whole"] * 3 + ["unsealed"]:
        assert time.monotonic() < deadline, states


def test_a_path_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file or directory"):
        open_trace(tmp_path / "nothing")


def test_a_directory_without_a_trace_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="holds no trace: neither header.bin nor"):
        open_trace(tmp_path)
    (tmp_path / "file").write_text("PAX")
    with pytest.raises(TraceFormatError, match="neither a trace directory nor a Parquet archive"):
        open_trace(tmp_path / "file")


def test_a_recording_that_is_just_being_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "header.bin").write_bytes(bytes(4096))
    with pytest.raises(TraceFormatError, match="its recorder is still making it"):
        open_trace(tmp_path)


@pytest.mark.parametrize("where", ["both", "trace.json only", "header only"])
def test_a_newer_schema_is_refused_with_both_versions(new_recorder: NewRecorder, where: str) -> None:
    recorder = new_recorder()
    recorder.mark("row")
    recorder.close()
    metadata, header = recorder.path / "trace.json", recorder.path / "header.bin"
    if where == "header only":
        metadata.unlink()
    else:
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "schema": 7}))
    if where != "trace.json only":
        start = header.read_bytes()
        header.write_bytes(start[:8] + struct.pack("=I", 7) + start[12:])
        with pytest.raises(TraceFormatError, match="schema is version 7, this hdvlab reads up to 1; upgrade with"):
            open_trace(recorder.path)
    else:
        assert len(open_trace(recorder.path)) == 1


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"schema": "one"}', "\x00\xff"])
def test_a_trace_without_its_metadata_opens_with_a_warning(new_recorder: NewRecorder, text: str | None) -> None:
    recorder = new_recorder()
    recorder.mark("row")
    recorder.close()
    (recorder.path / "trace.json").unlink()
    if text is not None:
        (recorder.path / "trace.json").write_text(text, encoding="latin-1")
    with pytest.warns(TraceLossWarning, match="trace.json is (missing|damaged)"):
        trace = open_trace(recorder.path)
    assert trace.marks()["text"].tolist() == ["row"]


def test_a_missing_column_is_named(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()
    recorder.close()
    (recorder.path / "pc.col").unlink()
    with pytest.raises(TraceFormatError, match=r"pc\.col missing: the directory was not copied as a whole"):
        open_trace(recorder.path)


def test_a_trace_can_be_moved_and_removed_while_it_is_open(
    new_recorder: NewRecorder, record: Record, tmp_path: Path
) -> None:
    recorder = new_recorder(chunk_rows=64)
    record(recorder, 100)
    reader = open_trace(recorder.path)
    recorder.path.rename(tmp_path / "moved")
    record(recorder, 100)
    shutil.rmtree(tmp_path / "moved")
    record(recorder, 100)
    assert len(reader.frame()) == len(recorder.frame()) == 300


def test_lines_of_tables_that_cannot_be_read_are_counted(new_recorder: NewRecorder) -> None:
    from hdvlab.trace.tables import DeviceInfo

    recorder = new_recorder()
    for name in ("one", "two", "three"):
        recorder.add_device(DeviceInfo(name))
    recorder.close()
    tables = recorder.path / "tables.jsonl"
    lines = tables.read_text().splitlines()
    tables.write_text("\n".join([lines[0], lines[1][:-5], lines[2], '{"device":-5,"info":{}}', "7", lines[0][:4]]))
    with pytest.warns(TraceLossWarning, match=r"3 lines of tables.jsonl cannot be read.*ends within a line"):
        trace = open_trace(recorder.path)
    assert [device.name for device in trace.devices] == ["one", "device 1", "three"]
