"""Time may do what it wants: order is the row number, and no duration is negative."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import StateError
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder

NewRecorder = Callable[..., Recorder]
Record = Callable[..., None]


@pytest.mark.fault(62)
def test_a_clock_that_is_set_back_is_counted_and_order_stays(new_recorder: NewRecorder) -> None:
    recorder = new_recorder(clock="manual")
    for t_ns in (100, 200, 50, 50, 300, -7):
        recorder.set_time(t_ns)
        recorder.mark(str(t_ns))
    recorder.close()
    for trace in (recorder, open_trace(recorder.path)):
        frame = trace.frame()
        assert frame["t_ns"].tolist() == [100, 200, 50, 50, 300, -7]
        assert frame.index.tolist() == [0, 1, 2, 3, 4, 5]
        assert trace.marks()["text"].tolist() == ["100", "200", "50", "50", "300", "-7"]
        assert frame["dur_ns"].tolist() == [0] * 6
        assert frame.attrs["clock_backward"] == 2
        assert "2 clock backward" in repr(frame)


@pytest.mark.fault(62)
def test_an_access_during_which_the_clock_goes_back_lasts_no_time(new_recorder: NewRecorder, record: Record) -> None:
    import threading

    recorder = new_recorder(clock="manual")
    recorder.set_time(1 << 40)
    worker = threading.Thread(target=record, args=(recorder, 300_000))
    worker.start()
    steps = 0
    while worker.is_alive():
        steps += 1
        recorder.set_time((1 << 40) - 1000 * steps)
    worker.join()
    frame = recorder.frame()
    assert frame.attrs["clock_backward"] == steps
    # A step back within an access gives it 0, not 2**32 less a little.
    assert frame["dur_ns"].max() == 0


@pytest.mark.fault(62)
def test_durations_saturate(new_recorder: NewRecorder) -> None:
    recorder = new_recorder(clock="manual")
    with pytest.raises(StateError, match='only clock="manual"'):
        new_recorder(clock="monotonic").set_time(1)
    recorder.set_time((1 << 63) - 1)
    row = recorder.mark("late")
    assert recorder.frame()["t_ns"].loc[row] == (1 << 63) - 1


@pytest.mark.fault(62)
@pytest.mark.parametrize("clock", ["auto", "monotonic"])
def test_clocks_of_the_machine_go_forward(new_recorder: NewRecorder, record: Record, clock: str) -> None:
    recorder = new_recorder(clock=clock)
    record(recorder, 10_000)
    t_ns = recorder.frame()["t_ns"].to_numpy()
    assert (t_ns[1:] >= t_ns[:-1]).all()
    assert 0 <= t_ns[0] < 10**11
    assert recorder.frame().attrs["clock_backward"] == 0


@pytest.mark.fault(62)
def test_counters_have_64_bits(new_recorder: NewRecorder, record: Record) -> None:
    recorder = new_recorder(max_rows=(1 << 33) + 5, chunk_rows=1 << 16)
    record(recorder, 100)
    assert recorder.state.max_rows == (1 << 33) + 5
    reader = open_trace(recorder.path)
    assert reader.state.max_rows == (1 << 33) + 5  # type: ignore[attr-defined]
    assert len(reader.frame()) == 100
    out = ffi.new("uint64_t *")
    assert lib.hdvlab_trace_committed(recorder.handle, 1 << 40, out) == 0
    assert out[0] == 1 << 40  # known to the caller, whatever it is
