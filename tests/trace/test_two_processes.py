"""One process records at full speed, another reads: frames only grow and hold no torn row."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from hdvlab.trace.open import open_trace

WRITER = """
import sys
from hdvlab._core import ffi, lib
from hdvlab.trace.recorder import Recorder
recorder = Recorder.create(sys.argv[1], chunk_rows=4096)
print("recording", flush=True)
sys.stdin.readline()
lib.hdvlab_bench_rows(recorder.handle, 3_000_000, True, ffi.new("uint64_t *"))
recorder.close()
"""


def test_a_reader_in_another_process_sees_whole_rows_that_only_grow(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "recording\n"
        trace = open_trace(tmp_path / "run")
        writer.stdin.write("go\n")
        writer.stdin.flush()
        seen, looks, growths, checked = 0, 0, 0, 0
        deadline = time.monotonic() + 60
        while seen < 3_000_000:
            assert time.monotonic() < deadline, f"{seen} rows after a minute"
            frame = trace.frame()
            assert len(frame) >= seen
            growths += len(frame) > seen
            seen = len(frame)
            looks += 1
            start = min(checked, seen)
            # A status that is read first vouches for everything that was written before it.
            status = frame["status"].to_numpy()[start:].copy()
            done = status == 0
            assert done.sum() >= len(done) - 1
            row = np.arange(start, seen, dtype=np.uint64)
            assert (frame["kind"].array._ndarray[start:] == 3).all()
            assert (frame["address"].to_numpy()[start:] == row & np.uint64(0xFFC)).all()
            assert (frame["value"].to_numpy()[start:][done] == ~row[done]).all()
            assert (frame["size"].to_numpy()[start:] == 4).all()
            assert frame.attrs["pending"] <= 1
            checked = max(seen - 1, 0)
        assert writer.wait(60) == 0
    assert growths > 3
    assert looks >= growths
    assert not trace.is_live  # type: ignore[attr-defined]
    assert len(trace) == 3_000_000
    assert not any(trace.frame().attrs.values())
    assert set(trace.verify()["state"]) == {"whole"}  # type: ignore[attr-defined]
