"""No space: the recording stops with an exact count of what is lost; the process and its guest go on."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdvlab.errors import HResult, TraceError, TraceLossWarning
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder

RunPython = Callable[..., str]

#: Records rows until the recording stops and a while longer; prints what each place that counts says.
FILL = """
import json, sys
from hdvlab._core import ffi, lib
from hdvlab.errors import TraceError
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder

def report(recorder, attempted):
    frame, reader = recorder.frame(), open_trace(recorder.path)
    lost = frame[frame["kind"] == "lost"]
    told = {
        "attempted": attempted,
        "rows": int((frame["kind"] != "lost").sum()),
        "lost_in_rows": [int(count) for count in lost["value"]],
        "lost_in_header": recorder.state.lost,
        "lost_in_attrs": frame.attrs["lost"],
        "lost_as_another_process_sees_it": reader.frame().attrs["lost"],
        "losses": recorder.losses.to_dict("list"),
        "status": int(lost["status"].iloc[0]) & 0xFFFFFFFF,
        "last_is_lost": bool(frame["kind"].iloc[-1] == "lost"),
        "payload_missing": 0,
    }
    try:
        recorder.check()
    except TraceError as error:
        told["error"] = str(error)
        told["hresult"] = error.hresult
    return told

def bench(recorder, count):
    assert lib.hdvlab_bench_rows(recorder.handle, count, True, ffi.new("uint64_t *")) == 0
    return count
"""


@pytest.fixture
def on_tiny_disk(run_python: RunPython, tmp_path: Path) -> Callable[..., str]:
    """Runs a script with a file system of a few MiB at its first argument."""
    ways = [["unshare", "-rm"], ["unshare", "-m"], ["sudo", "-n", "unshare", "-m"]]
    works = [way for way in ways if shutil.which(way[0]) and can_mount(way, tmp_path)]
    if not works:
        pytest.skip("no file system can be mounted here: neither as root nor with user namespaces")

    def run(script: str, size: str = "8M") -> str:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = f'mount -t tmpfs -o size={size} none "{disk}" && exec "$@"'
        return run_python(script, disk, before=(*works[0], "sh", "-c", mount, "sh"))

    return run


def can_mount(way: list[str], tmp_path: Path) -> bool:
    command = [*way, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def assert_exact(told: dict[str, Any], hresult: int) -> None:
    lost = told["attempted"] - told["rows"]
    assert lost > 0
    assert told["rows"] > 100
    assert told["lost_in_rows"] == [lost]
    assert told["lost_in_header"] == told["lost_in_attrs"] == told["lost_as_another_process_sees_it"] == lost
    assert told["losses"]["rows"] == [lost]
    assert told["losses"]["what"] == ["lost"]
    assert told["status"] == told["hresult"] == hresult
    assert f"{lost:,} are lost since" in told["error"]
    assert "start a new recording elsewhere" in told["error"]


@pytest.mark.fault(58)
def test_a_full_disk_stops_the_recording_and_nothing_else(on_tiny_disk: Callable[..., str]) -> None:
    told = json.loads(
        on_tiny_disk(
            FILL
            + """
recorder = Recorder.create(sys.argv[1] + "/run", chunk_rows=4096)
attempted = bench(recorder, 400_000)
attempted += recorder.mark("after the end") == -1
first = report(recorder, attempted)
attempted += bench(recorder, 5)
second = report(recorder, attempted)
recorder.close()
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    again = open_trace(recorder.path)
value = again.columns()["value"][: first["rows"]]
import numpy as np
print(json.dumps([first, second, str(caught[0].message), set(again.verify()["state"]) <= {"whole", "unsealed"},
                  bool((value == ~np.arange(len(value), dtype=np.uint64)).all()), again.frame().attrs["lost"]]))
"""
        )
    )
    first, second, warning, is_verified, is_right, lost = told
    assert_exact(first, HResult.ERROR_DISK_FULL)
    assert_exact(second, HResult.ERROR_DISK_FULL)
    assert second["rows"] == first["rows"]
    assert second["last_is_lost"]
    assert f"{lost:,} lost: there is no space for it" in warning
    assert (is_verified, is_right, lost) == (True, True, second["lost_in_header"])


@pytest.mark.fault(58)
def test_a_disk_that_is_full_of_payload_stops_the_recording_too(on_tiny_disk: Callable[..., str]) -> None:
    told = json.loads(
        on_tiny_disk(
            FILL
            + """
recorder = Recorder.create(sys.argv[1] + "/run", chunk_rows=4096)
marks = [recorder.mark(f"{number:06d}" * 1000) for number in range(3000)]
kept = [row for row in marks if row >= 0]
assert [recorder.text(row) for row in kept] == [f"{number:06d}" * 1000 for number in range(len(kept))]
print(json.dumps(report(recorder, 3000)))
"""
        )
    )
    assert_exact(told, HResult.ERROR_DISK_FULL)


@pytest.mark.fault(58)
def test_source_lines_that_have_no_space_are_unknown_and_devices_say_so(on_tiny_disk: Callable[..., str]) -> None:
    told = on_tiny_disk(
        """
import inspect, os, sys
from hdvlab.errors import TraceError
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.tables import DeviceInfo
recorder = Recorder.create(sys.argv[1] + "/run", chunk_rows=1024)
recorder.add_device(DeviceInfo("before"))
filler = os.open(sys.argv[1] + "/filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, bytes(4096))
except OSError:
    pass
added = 0
try:
    while True:
        recorder.add_device(DeviceInfo("x" * 1000 + str(added)))
        added += 1
except TraceError as error:
    print(str(error), error.symbol)
assert recorder.source_of(inspect.currentframe()) == 0 and recorder.unwritten_sources == 1
os.ftruncate(filler, 0)
number = recorder.add_device(DeviceInfo("after"))
assert recorder.mark("goes on") == 0
assert recorder.source_of(inspect.currentframe()) == 1
reader = open_trace(recorder.path)
assert reader.devices == recorder.devices and number == added + 1 and reader.tables.sources == recorder.tables.sources
"""
    )
    assert "No space left on device; free some space" in told
    assert "ERROR_DISK_FULL" in told


@pytest.mark.fault(58)
def test_a_recording_that_cannot_begin_leaves_nothing_and_can_be_tried_again(on_tiny_disk: Callable[..., str]) -> None:
    told = on_tiny_disk(
        """
import os, sys
from hdvlab.errors import TraceError
from hdvlab.trace.recorder import Recorder
from hdvlab._core import lib
disk = sys.argv[1]
try:
    Recorder.create(disk + "/run", chunk_rows=65536)
except TraceError as error:
    print(error, error.symbol)
assert os.listdir(disk) == [] and lib.hdvlab_live_handles() == 0
Recorder.create(disk + "/run", chunk_rows=1024).close()
os.posix_fallocate(os.open(disk + "/filler", os.O_RDWR | os.O_CREAT), 0, 1 << 20)
for name in ("save", "archive"):
    recorder = Recorder.create(chunk_rows=65536)
    from hdvlab._core import ffi
    lib.hdvlab_bench_rows(recorder.handle, 500_000, True, ffi.new("uint64_t *"))
    try:
        getattr(recorder, name)(disk + "/copy")
    except TraceError as error:
        print(error, error.symbol)
    assert sorted(os.listdir(disk)) == ["filler", "run"], os.listdir(disk)
    recorder.close()
""",
        "2M",
    )
    first, saved, archived = told.splitlines()
    assert "there is no space for it" in first
    assert first.endswith("ERROR_DISK_FULL")
    assert "nothing was left behind" in saved
    assert saved.endswith("ERROR_DISK_FULL")
    assert "nothing was left behind" in archived


@pytest.mark.fault(58)
def test_a_limit_on_file_sizes_stops_the_recording(run_python: RunPython, tmp_path: Path) -> None:
    told = json.loads(
        run_python(
            FILL
            + """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
recorder = Recorder.create(sys.argv[1], chunk_rows=4096)
print(json.dumps(report(recorder, bench(recorder, 200_000))))
""",
            tmp_path / "run",
        )
    )
    assert_exact(told, HResult.ERROR_DISK_FULL)
    assert told["rows"] == (1 << 20) // 8 - 1


@pytest.mark.fault(58)
def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path, run_python: RunPython) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(TraceError, match="must name a directory"):
        Recorder.create(tmp_path / "file" / "run")
    with pytest.raises(TraceError, match="no such path"):
        Recorder.create(tmp_path / "nowhere" / "run")
    script = """
    import os, sys
    from hdvlab.errors import TraceError
    from hdvlab.trace.recorder import Recorder
    if not os.getuid():
        os.setuid(65534)
    try:
        Recorder.create(sys.argv[1] + "/run")
    except TraceError as error:
        print(error, error.symbol)
    """
    locked = tmp_path / "locked"  # for root, who may write anywhere, the script becomes somebody else
    locked.mkdir(mode=0o555)
    assert "this user may not do that here; choose another path" in run_python(script, locked)


@pytest.mark.fault(58)
def test_the_statement_of_a_full_disk_survives_kill_9(on_tiny_disk: Callable[..., str]) -> None:
    told = on_tiny_disk(
        FILL
        + """
import os, signal, warnings
child = os.fork()
if not child:
    recorder = Recorder.create(sys.argv[1] + "/run", chunk_rows=4096)
    bench(recorder, 300_000)
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    trace = open_trace(sys.argv[1] + "/run")
frame = trace.frame()
assert len(frame) - 1 + frame.attrs["lost"] == 300_000, frame.attrs
print(caught[0].message)
"""
    )
    assert "lost: there is no space for it" in told


def test_a_stopped_recording_still_opens_with_a_warning(tmp_path: Path) -> None:
    recorder = Recorder.create(tmp_path / "run", max_rows=128, chunk_rows=64)
    for number in range(200):
        recorder.mark(str(number))
    with pytest.raises(TraceError, match="max_rows is reached"):
        recorder.check()
    recorder.close()
    with pytest.warns(TraceLossWarning, match="73 lost: max_rows is reached"):
        trace = open_trace(tmp_path / "run")
    assert len(trace) == 128


def test_a_recorder_that_has_stopped_does_not_say_that_it_records(tmp_path: Path) -> None:
    with Recorder.create(tmp_path / "trace", max_rows=64, chunk_rows=64) as recorder:
        assert ", recording, " in repr(recorder)
        for number in range(70):
            recorder.mark(f"{number}")
        assert recorder.stopped
        assert ", stopped, " in repr(recorder)
