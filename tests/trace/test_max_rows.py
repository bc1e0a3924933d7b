"""A recording that reaches max_rows: what came too late is counted, exactly, whoever came."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from hdvlab.errors import HResult, TraceError, TraceLossWarning
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder

NewRecorder = Callable[..., Recorder]
Record = Callable[..., None]


@pytest.mark.fault(59)
@pytest.mark.parametrize("max_rows", [64, 100, 1000, 4096, 100_000])
@pytest.mark.parametrize("threads", [1, 4])
def test_rows_and_lost_rows_are_all_that_were_attempted(
    new_recorder: NewRecorder, record: Record, max_rows: int, threads: int
) -> None:
    recorder = new_recorder(max_rows=max_rows, chunk_rows=64)
    each = 60_000
    workers = [threading.Thread(target=record, args=(recorder, each)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    attempted = each * threads
    frame = recorder.frame()
    if attempted < max_rows:
        assert (len(frame), frame.attrs["lost"], recorder.stopped) == (attempted, 0, 0)
        return
    lost = frame[frame["kind"] == "lost"]
    assert len(frame) == max_rows
    assert lost.index.tolist() == [max_rows - 1]
    assert len(frame) - 1 + int(lost["value"].iloc[0]) == attempted
    assert recorder.state.lost == frame.attrs["lost"] == attempted - (max_rows - 1)
    assert recorder.stopped & 0xFFFFFFFF == HResult.ERROR_NOT_ENOUGH_QUOTA
    written = ~frame["value"].to_numpy()[:-1]
    assert (frame["address"].to_numpy()[:-1] == written & np.uint64(0xFFC)).all()
    assert np.bincount(written.astype(np.int64)).max() <= threads
    with pytest.raises(TraceError, match="record with a larger max_rows"):
        recorder.check()
    recorder.close()
    with pytest.warns(TraceLossWarning, match=f"{recorder.state.lost:,} lost: max_rows is reached"):
        trace = open_trace(recorder.path)
    assert trace.frame().attrs["lost"] == recorder.state.lost
    assert set(trace.verify()["state"]) == {"whole"}  # type: ignore[attr-defined]


@pytest.mark.fault(59)
def test_a_small_recording_has_room_for_long_payloads(new_recorder: NewRecorder) -> None:
    recorder = new_recorder(max_rows=64, chunk_rows=64)
    texts = [str(number) * 100_000 for number in range(5)]
    assert [recorder.text(recorder.mark(text)) for text in texts] == texts


@pytest.mark.fault(59)
def test_the_recording_goes_on_while_the_last_row_counts(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder(max_rows=64, chunk_rows=64)
    record(recorder, 63)
    recorder.check()
    reader = open_trace(recorder.path)
    for late in range(1, 20):
        assert recorder.mark("too late") == -1
        assert recorder.frame().attrs["lost"] == reader.frame().attrs["lost"] == late
        assert recorder.frame()["value"].iloc[-1] == late
        assert reader.losses["rows"].tolist() == [late]
    with pytest.raises(TraceError, match="stopped after 63 rows and 19 are lost"):
        recorder.check()
