"""Copies: directories and Parquet files that hold the same rows and stand alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hdvlab.errors import BackendUnavailableError, HResult, TraceError, TraceFormatError, TraceLossWarning
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import COLUMNS, Kind
from hdvlab.trace.tables import BadLine, DeviceInfo, SourceLine, Tables
from hdvlab.trace.trace import Trace

NewRecorder = Callable[..., Recorder]
Record = Callable[..., None]
Copy = Callable[[Trace], Trace]


@pytest.fixture(params=["directory", "parquet"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Copy]:
    """Writes a trace and reads it again."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")

    def run(trace: Trace) -> Trace:
        number = len(list(tmp_path.glob("copy*")))
        if request.param == "directory":
            path = trace.save(tmp_path / f"copy{number}")
        else:
            path = trace.archive(tmp_path / f"copy{number}.parquet")
        return Trace.open(path)

    yield run
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def texts(trace: Trace) -> list[str]:
    return [*trace.marks()["text"], *trace.faults()["text"]]


def assert_same_rows(one: Trace, other: Trace) -> None:
    for name in COLUMNS:
        if name not in ("cause", "payload"):
            np.testing.assert_array_equal(one.columns()[name], other.columns()[name], name)
    assert texts(one) == texts(other)


@pytest.fixture
def recorder(new_recorder: NewRecorder, record: Record) -> Recorder:
    recorder = new_recorder(chunk_rows=64)
    recorder.add_device(DeviceInfo("edu", 0x1234, 0x11E8))
    recorder.add_source(SourceLine("driver.py", 1, "probe"))
    for number in range(20):
        record(recorder, 50)
        row = recorder.mark(f"mark {number} with a text that needs room")
        recorder.fault(f"because of {row}", 0, row)
    return recorder


def test_a_copy_of_a_running_recording_has_its_rows_and_names(recorder: Recorder, copy: Copy) -> None:
    made = copy(recorder)
    assert_same_rows(recorder, made)
    np.testing.assert_array_equal(made.columns()["cause"], recorder.columns()["cause"])
    assert (made.devices, made.tables.sources) == (recorder.devices, recorder.tables.sources)
    assert made.began_ns == recorder.began_ns > 10**18
    assert not any(made.frame().attrs.values())


def test_a_copy_of_a_slice_numbers_rows_and_causes_anew(recorder: Recorder, copy: Copy) -> None:
    part = recorder[51:160]
    made = copy(part)
    assert_same_rows(part, Trace(made.columns(), made.tables, start=51, payload=made.payloads))
    assert made.frame().index[0] == 0
    frame = made.frame()
    faults = frame[frame["kind"] == "fault"]
    assert faults["cause"].tolist() == [-1, 51, 103]  # the mark at row 50 is not in it
    assert [made.text(row) for row in faults["cause"] if row >= 0] == [
        "mark 1 with a text that needs room",
        "mark 2 with a text that needs room",
    ]
    assert made.payload(51) == b"mark 1 with a text that needs room"


def test_a_copy_of_an_import_has_its_facts_and_bad_lines(copy: Copy) -> None:
    facts = {
        "format": "mmiotrace",
        "version": None,
        "marks": {1: "begin", 4: "end"},
        "losses": {2: "CPU:0 [LOST 9 EVENTS]"},
        "maps": [{"line": 3, "device": None}],
        "empty": {},
    }
    kinds = [Kind.mmio_read, Kind.mark, Kind.lost, Kind.mmio_write, Kind.mark]
    columns = {"kind": np.array(kinds), "value": np.array([1, 0, 9, 2**63, 0], dtype=np.uint64)}
    bad = BadLine(7, "gr\udcfc", "no number")
    trace = Trace.from_columns(columns, Tables([DeviceInfo("nvme")], facts=facts), [bad])
    with pytest.warns(TraceLossWarning, match="9 lost") if copy_is_directory(copy) else _nothing():
        made = copy(trace)
    assert_same_rows(trace, made)
    assert {name: made.tables.facts[name] for name in facts} == facts
    assert made.bad_lines == (bad,)
    assert made.frame().attrs["lost"] == 9
    assert made.losses["rows"].tolist() == [9, 1]
    if copy_is_directory(copy):
        with pytest.warns(TraceLossWarning):
            part = copy(trace[1:4])
    else:
        part = copy(trace[1:4])
    assert part.tables.facts["marks"] == {0: "begin"}
    assert part.tables.facts["losses"] == {1: "CPU:0 [LOST 9 EVENTS]"}


def copy_is_directory(copy: Copy) -> bool:
    """Directories warn when they are opened, files that are read into memory have their rows say it."""
    import inspect

    return inspect.getclosurevars(copy).nonlocals["request"].param == "directory"


def _nothing() -> object:
    import contextlib

    return contextlib.nullcontext()


def test_a_copy_of_nothing_is_an_empty_trace(new_recorder: NewRecorder, copy: Copy) -> None:
    made = copy(new_recorder())
    assert len(made) == 0
    assert list(made.frame().columns) == list(COLUMNS)


def test_a_copy_of_a_copy_is_the_same(recorder: Recorder, copy: Copy) -> None:
    first = copy(recorder[10:500])
    second = copy(first)
    assert_same_rows(first, second)
    np.testing.assert_array_equal(first.columns()["cause"], second.columns()["cause"])
    assert first.tables.facts["source"] == second.tables.facts["source"]


def test_a_large_trace_is_copied_in_pieces(new_recorder: NewRecorder, record: Record, copy: Copy) -> None:
    recorder = new_recorder()
    record(recorder, (1 << 20) + 1000)
    recorder.mark("the last row, behind the first piece")
    made = copy(recorder[1:])
    assert_same_rows(recorder[1:], Trace(made.columns(), made.tables, start=1, payload=made.payloads))
    assert made.text(len(made) - 1) == "the last row, behind the first piece"


@pytest.mark.parametrize("how", ["save", "archive"])
def test_a_target_that_exists_is_refused(recorder: Recorder, tmp_path: Path, how: str) -> None:
    target = tmp_path / "there"
    target.write_text("mine")
    with pytest.raises(TraceError, match="exists; choose another name") as caught:
        getattr(recorder, how)(target)
    assert caught.value.hresult == HResult.ERROR_ALREADY_EXISTS
    assert target.read_text() == "mine"


@pytest.mark.parametrize("how", ["save", "archive"])
def test_a_target_that_cannot_be_written_leaves_nothing(recorder: Recorder, tmp_path: Path, how: str) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(TraceError, match="nothing was left behind"):
        getattr(recorder, how)(tmp_path / "file" / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run0"]


def test_a_saved_trace_is_sealed(recorder: Recorder, tmp_path: Path) -> None:
    saved = open_trace(recorder.save(tmp_path / "copy"))
    assert set(saved.verify()["state"]) == {"whole"}  # type: ignore[attr-defined]


def test_payloads_are_packed_in_a_copy(recorder: Recorder, tmp_path: Path) -> None:
    size = len(recorder[-60:].save(tmp_path / "copy").joinpath("payload.bin").read_bytes().rstrip(b"\0"))
    assert 0 < size < 200


def test_an_archive_is_a_table_for_other_tools(recorder: Recorder, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pd.read_parquet(recorder.save(tmp_path / "run.parquet"))  # the ending says which of the two
    assert list(table.columns) == list(COLUMNS)
    assert table["kind"].iloc[50] == "mark"
    assert table["origin"].iloc[0] == "guest"
    assert table["payload"].iloc[50] == b"mark 0 with a text that needs room"
    assert table["payload"].iloc[0] is None


def test_without_pyarrow_the_way_to_get_it_is_said(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'hdvlab\[parquet\]'"):
        recorder.archive(tmp_path / "run.parquet")
    assert not (tmp_path / "run.parquet").exists()


def test_archives_of_others_or_damaged_ones_are_said_so(recorder: Recorder, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(TraceFormatError, match="was not written by hdvlab"):
        open_trace(tmp_path / "other.parquet")
    whole = recorder.archive(tmp_path / "run.parquet").read_bytes()
    for end in (4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.parquet").write_bytes(whole[:end])
        with pytest.raises(TraceFormatError, match="the archive is damaged"):
            open_trace(tmp_path / "cut.parquet")
    newer = whole.replace(b'"schema":1,', b'"schema":9,')
    assert newer != whole or b"ARROW:schema" in whole
