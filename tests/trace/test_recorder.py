"""What a recorder writes besides rows, and how it begins and ends."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hdvlab.errors import HResult, StateError, TraceError, UsageError
from hdvlab.registers import Register, RegisterMap
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import COLUMNS, SCHEMA_VERSION
from hdvlab.trace.tables import BarInfo, DeviceInfo, SourceLine

NewRecorder = Callable[..., Recorder]
Record = Callable[..., None]

BLINK = DeviceInfo(
    "blink", 0x1234, 1, "00:03.0", bars={0: BarInfo(4096, 0xFEB00000, RegisterMap([Register(0, name="CTRL")], 4096))}
)


def test_the_letters_of_a_text_are_not_shown_as_a_number(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()
    recorder.mark("kurz")
    frame = recorder.frame()
    for shown in (repr(frame), repr(recorder.frame(decode=True)), frame._repr_html_()):
        assert f"{int.from_bytes(b'kurz', 'little'):#x}" not in str(shown)
    assert frame["value"].tolist() == [int.from_bytes(b"kurz", "little")]


def test_marks_and_faults_are_rows_with_text(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()
    device = recorder.add_device(BLINK)
    rows = [
        recorder.mark("kurz"),
        recorder.mark("genau 8B"),
        recorder.mark("länger als acht Bytes ✓"),
        recorder.fault("on_write raised ValueError: 3", device, 2, HResult.E_FAIL),
        recorder.fault("", device),
        recorder.mark("a\x00b"),
    ]
    assert rows == [0, 1, 2, 3, 4, 5]
    for trace in (recorder, open_trace(recorder.path)):
        assert trace.marks()["text"].to_dict() == {
            0: "kurz",
            1: "genau 8B",
            2: "länger als acht Bytes ✓",
            5: "a\x00b",
        }
        faults = trace.faults()
        assert faults["text"].to_dict() == {3: "on_write raised ValueError: 3", 4: ""}
        assert faults["device"].tolist() == [device, device]
        assert faults["cause"].tolist() == [2, -1]
        assert faults["status"].tolist() == [HResult.E_FAIL.signed, HResult.E_UNEXPECTED.signed]


def test_tables_are_written_before_their_numbers_are_used(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()
    reader = open_trace(recorder.path)
    assert reader.devices == []
    assert recorder.add_device(BLINK) == 0
    assert recorder.add_device(DeviceInfo("edu")) == 1
    assert recorder.add_device(DeviceInfo("edu")) == 1
    assert recorder.add_source(SourceLine("driver.py", 3, "probe", "bar0.CTRL = 1")) == 1
    assert recorder.add_source(SourceLine("driver.py", 4, "probe")) == 2
    assert recorder.add_source(SourceLine("driver.py", 3, "probe", "bar0.CTRL = 1")) == 1
    assert reader.devices == [BLINK, DeviceInfo("edu")]
    assert reader.tables.sources == recorder.tables.sources
    lines = (recorder.path / "tables.jsonl").read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["device", "device", "source", "source"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()
    recorder.add_device(DeviceInfo("edu"))
    whole = (recorder.path / "tables.jsonl").read_bytes()
    half = b'{"device":1,"info":{"name":"half"'
    with (recorder.path / "tables.jsonl").open("ab") as file:
        file.write(half)
        file.flush()
        reader = open_trace(recorder.path)
        assert [device.name for device in reader.devices] == ["edu"]
        rest = whole.split(b'"edu"')[1]
        file.write(rest)
        file.flush()
        assert [device.name for device in reader.devices] == ["edu", "half"]


def test_a_place_in_a_program_gets_the_number_of_its_line(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()

    def driver() -> list[int]:
        frame = inspect.currentframe()
        assert frame is not None
        first = [recorder.source_of(frame), recorder.source_of(frame)]
        return [*first, recorder.source_of(frame)]

    first, same_line, next_line = driver()
    assert first == same_line
    assert driver() == [first, same_line, next_line]
    assert (first, next_line) == (1, 2)
    line = recorder.tables.sources[1]
    assert line.file == __file__
    assert line.text == "first = [recorder.source_of(frame), recorder.source_of(frame)]"
    assert line.function.endswith("driver")
    assert open_trace(recorder.path).tables.sources == recorder.tables.sources


def test_metadata_says_what_was_known_at_the_beginning(new_recorder: NewRecorder) -> None:
    recorder = new_recorder(clock="monotonic", chunk_rows=128)
    data = json.loads((recorder.path / "trace.json").read_text())
    assert data["schema"] == SCHEMA_VERSION
    assert data["columns"] == COLUMNS
    assert (data["clock"], data["chunk_rows"], data["max_rows"]) == ("monotonic", 128, 1 << 30)
    assert data["created"].endswith("+00:00")
    assert recorder.tables.facts == open_trace(recorder.path).tables.facts
    assert [path for path in recorder.path.iterdir() if path.name.startswith(".")] == []


def test_a_path_that_holds_a_trace_is_refused_and_left_as_it_is(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder()
    record(recorder, 10)
    recorder.close()
    with pytest.raises(TraceError, match="holds a trace already; choose another path") as caught:
        Recorder.create(recorder.path)
    assert caught.value.hresult == HResult.ERROR_ALREADY_EXISTS
    assert len(open_trace(recorder.path)) == 10


def test_an_existing_directory_with_other_things_is_recorded_into(tmp_path: Path, record: Record) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with Recorder.create(tmp_path) as recorder:
        record(recorder, 3)
    assert len(open_trace(tmp_path)) == 3
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_temporary_recording_goes_with_its_recorder() -> None:
    import gc

    recorder = Recorder.create()
    path = recorder.path
    assert path.name.startswith("hdvlab-")
    assert path.stat().st_mode & 0o777 == 0o700
    recorder.close()
    assert not path.exists()
    forgotten = Recorder.create()
    path = forgotten.path
    del forgotten
    gc.collect()
    assert not path.exists()


def test_a_temporary_recording_goes_with_the_interpreter(run_python: Callable[..., str]) -> None:
    path = run_python(
        """
        from hdvlab.trace.recorder import Recorder
        recorder = Recorder.create()
        recorder.mark("and then it ends")
        print(recorder.path)
        """
    ).strip()
    assert path
    assert not Path(path).exists()


def test_a_forked_child_that_ends_leaves_the_recording_alone(run_python: Callable[..., str], tmp_path: Path) -> None:
    told = run_python(
        """
        import os, sys
        from hdvlab.trace.recorder import Recorder
        from hdvlab.trace.open import open_trace
        recorder = Recorder.create()
        kept = Recorder.create(sys.argv[1] + "/kept")
        child = os.fork()
        if not child:
            sys.exit()  # runs the child's exit handlers
        assert os.waitpid(child, 0)[1] == 0
        assert recorder.mark("still here") == kept.mark("still here") == 0
        print(recorder.path.exists(), open_trace(kept.path).is_live, len(open_trace(recorder.path)))
        """,
        tmp_path,
    )
    assert told.split() == ["True", "True", "1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock": "sundial"}, "clock is 'sundial'; it must be one of auto, tsc, monotonic, manual"),
        ({"chunk_rows": 100}, "chunk_rows must be a power of two"),
        ({"chunk_rows": 32}, "at least 64"),
        ({"chunk_rows": 128, "max_rows": 100}, "max_rows at least as much"),
        ({"max_rows": (1 << 40) + 1}, "at most"),
    ],
)
def test_a_parameter_out_of_range_is_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recorder.create(tmp_path / "run", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_closed_means_closed(new_recorder: NewRecorder) -> None:
    recorder = new_recorder()
    recorder.mark("one")
    with recorder:
        pass
    with pytest.raises(StateError):
        recorder.add_device(BLINK)
    assert recorder.marks()["text"].tolist() == ["one"]
    assert open_trace(recorder.path).state.closed == 1


def test_a_process_that_records_can_be_interrupted_without_stopping_the_recording(
    run_python: Callable[..., str],
) -> None:
    """A signal makes some file systems give up reserving space; growing tries again."""
    told = run_python(
        """
        import signal
        from hdvlab.trace.recorder import Recorder
        from hdvlab._core import ffi, lib
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        recorder = Recorder.create("/dev/shm/hdvlab-test-%d" % __import__("os").getpid(), chunk_rows=65536)
        lib.hdvlab_bench_rows(recorder.handle, 2_000_000, True, ffi.new("uint64_t *"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        __import__("shutil").rmtree(recorder.path)
        print(recorder.stopped, len(recorder))
        """
    )
    assert told.split() == ["0", "2000000"]
