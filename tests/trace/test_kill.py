"""kill -9 at any moment: every row that was published is there, none is torn, and nothing needs repair."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hdvlab.errors import TraceError, TraceLossWarning
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.open import open_trace

# Forks a recorder for each line that it reads: "path threads". A fresh interpreter each time would take most of a test.
ZYGOTE = """
import os, sys, threading
from hdvlab._core import ffi, lib
from hdvlab.trace.recorder import Recorder

def record(recorder):
    lib.hdvlab_bench_rows(recorder.handle, 1 << 40, True, ffi.new("uint64_t *"))

for line in sys.stdin:
    path, threads = line.split()
    child = os.fork()
    if not child:
        recorder = Recorder.create(path, chunk_rows=1024, max_rows=1 << 22)
        for _ in range(int(threads) - 1):
            threading.Thread(target=record, args=(recorder,), daemon=True).start()
        record(recorder)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@pytest.fixture
def zygote() -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    process = subprocess.Popen([sys.executable, "-c", ZYGOTE], start_new_session=True, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def killed_recording(zygote: subprocess.Popen[str], path: Path, threads: int, moment: random.Random) -> int:
    """Rows that another process saw before it killed the recorder at a random moment."""
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    print(path, threads, file=zygote.stdin)
    recorder = int(zygote.stdout.readline())
    most = int(10 ** moment.uniform(0, 4)) - 1
    seen, reader, deadline = 0, None, time.monotonic() + 60
    while seen < most:
        assert time.monotonic() < deadline, "it records nothing"
        os.sched_yield()
        if reader is None:
            try:
                reader = open_trace(path)
            except TraceError:
                continue  # it is still being made
        seen = len(reader)
    os.kill(recorder, signal.SIGKILL)
    assert zygote.stdout.readline() == "gone\n"
    if isinstance(reader, MappedTrace):
        reader.close()
    return seen


@pytest.mark.fault(60)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_recorder_that_is_killed_a_hundred_times_loses_no_row_and_tears_none(
    zygote: subprocess.Popen[str], tmp_path: Path, threads: int
) -> None:
    moment = random.Random(threads)
    rows = unmade = 0
    for number in range(100):
        path = tmp_path / str(number)
        seen = killed_recording(zygote, path, threads, moment)
        try:
            with warnings.catch_warnings():  # of a row that a thread had begun and not published
                warnings.filterwarnings("ignore", ".*: 1 holes", TraceLossWarning)
                trace = open_trace(path)
        except TraceError:
            assert seen == 0  # killed before there was a trace
            unmade += 1
            continue
        assert isinstance(trace, MappedTrace)
        assert_whole(trace, seen, threads)
        rows += len(trace)
        trace.close()
        shutil.rmtree(path)
    assert rows > 50_000
    assert unmade < 50


def assert_whole(trace: MappedTrace, seen: int, threads: int) -> None:
    """Everything that was published is there; what is not complete is the row that each thread was at."""
    frame = trace.frame()
    attrs = frame.attrs
    assert len(frame) + attrs["holes"] >= seen
    assert trace.state.rows_begun - len(frame) - attrs["holes"] <= threads
    assert attrs["holes"] < threads
    assert attrs["pending"] <= threads
    assert (attrs["lost"], attrs["corrupt"], attrs["missing"], attrs["payload_missing"]) == (0, 0, 0, 0)
    assert set(trace.verify()["state"]) <= {"whole", "unsealed"}
    done = frame["status"].to_numpy() == 0
    assert len(done) - done.sum() == attrs["pending"]
    written = ~frame["value"].to_numpy()[done]
    assert (frame["address"].to_numpy()[done] == written & np.uint64(0xFFC)).all()
    assert (frame["size"].to_numpy() == 4).all()
    assert (frame["kind"] == "mmio_read").all()
    if threads == 1:
        assert (written == frame.index.to_numpy()[done].astype(np.uint64)).all()
    else:
        counts = np.bincount(written.astype(np.int64))  # each thread counts from 0
        assert counts.max(initial=0) <= threads


@pytest.mark.fault(60)
def test_a_recorder_that_kills_itself_right_after_a_row_has_that_row(tmp_path: Path) -> None:
    script = """
    import os, signal, sys
    from hdvlab.trace.recorder import Recorder
    from hdvlab.trace.tables import DeviceInfo
    recorder = Recorder.create(sys.argv[1])
    recorder.add_device(DeviceInfo("edu"))
    recorder.mark("the last words of a process")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    import textwrap

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "run")], check=False)
    assert done.returncode == -signal.SIGKILL
    trace = open_trace(tmp_path / "run")
    assert trace.marks()["text"].tolist() == ["the last words of a process"]
    assert trace.devices[0].name == "edu"
    assert trace.losses.empty
