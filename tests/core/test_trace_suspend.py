"""Recording off and on: what was not recorded is counted, and the count is a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .gate_scaffold import Gate, marks
from .scaffold import PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code

S_FALSE = 1


def _suspend(recording: Recording, suspended: bool = True) -> int:
    return code(lib.hdvlab_trace_suspend(recording.handle, suspended))


def test_rows_in_between_are_counted(machine: Machine, recording: Recording) -> None:
    machine.running(CallbackDevice())
    since = len(recording)
    assert [_suspend(recording, on) for on in (False, True, True)] == [S_FALSE, S_OK, S_FALSE]
    for value in range(5):
        assert machine.write(PLACE, value) == S_OK
    assert len(recording) == since
    assert _suspend(recording, False) == S_OK
    assert machine.write(PLACE, 9) == S_OK
    rows = recording.rows(since=since)
    assert marks(rows, recording) == [(-1, "recording was suspended: 5 rows not recorded")]
    assert [row["value"] for row in rows if row["kind"] == lib.HDVLAB_MMIO_WRITE] == [9]
    assert [_suspend(recording, on) for on in (False, True, False)] == [S_FALSE, S_OK, S_OK]
    assert marks(recording.rows(since=since), recording)[1:] == [(-1, "recording was suspended: 0 rows not recorded")]


def test_a_row_that_had_begun_is_completed_with_its_bytes(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    machine.ram_write(0x1000, bytes(range(32)))
    gate = Gate(machine.system)
    gate.add(lib.HDVLAB_DMA_READ)
    with Threads() as threads:
        threads.start(device.dma_read, 0x1000, 32)
        stop = gate.one()
        assert _suspend(recording) == S_OK
        assert gate.release(stop.ticket) == S_OK
    row = recording.rows(since=stop.row)[0]
    assert row["status"] == S_OK
    assert recording.payload(row["payload"], 32) == bytes(range(32))
    with Threads() as threads:
        threads.start(device.dma_read, 0x1000, 1)
        stop = gate.go()
        assert stop.row == -1  # it is held all the same
    assert _suspend(recording, False) == S_OK


@pytest.mark.parametrize("how", ["finish", "close"])
def test_an_end_while_it_is_suspended_says_what_is_missing(tmp_path: Path, how: str) -> None:
    recording = Recording(tmp_path / "t")
    machine = Machine(recording)
    machine.running(CallbackDevice())
    since = len(recording)
    assert _suspend(recording) == S_OK
    machine.write(PLACE, 1)
    if how == "finish":
        assert code(lib.hdvlab_trace_finish(recording.handle)) == S_OK
        assert marks(recording.rows(since=since), recording) == [(-1, "recording was suspended: 1 row not recorded")]
        assert _suspend(recording) == _suspend(recording, False) == HResult.ERROR_INVALID_STATE
    machine.close()
    recording.close()
    out = ffi.new("void **")
    assert code(lib.hdvlab_trace_attach(bytes(tmp_path / "t"), out)) == S_OK
    assert code(lib.hdvlab_trace_suspend(out[0], 1)) == HResult.E_ACCESSDENIED
    lib.hdvlab_trace_close(out[0])


def test_a_recording_that_ran_out_of_rows_stays_stopped(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "t", max_rows=64)
    machine = Machine(recording)
    machine.running(CallbackDevice())
    assert _suspend(recording) == S_OK
    for _ in range(100):
        machine.write(PLACE, 1)
    assert _suspend(recording, False) == S_OK
    for _ in range(100):
        machine.write(PLACE, 1)
    state = ffi.new("HDVLAB_TRACE_STATE *")
    assert code(lib.hdvlab_trace_state(recording.handle, state)) == S_OK
    assert state.stopped
    assert state.lost > 0
    assert _suspend(recording) == _suspend(recording, False) == code(state.stopped)
    machine.close()
    recording.close()


def test_many_threads_lose_no_count(machine: Machine, recording: Recording) -> None:
    machine.running(CallbackDevice())
    each, since = 400, len(recording)

    def guest() -> None:
        for value in range(each):
            assert machine.write(PLACE, value) == S_OK

    with Threads() as threads:
        guests = [threads.start(guest) for _ in range(3)]
        while any(thread.is_alive() for thread in guests):
            assert _suspend(recording) == S_OK
            assert _suspend(recording, False) == S_OK
    rows = recording.rows(since=since)
    missing = sum(int(text.split()[3]) for _, text in marks(rows, recording))
    assert missing + sum(row["kind"] == lib.HDVLAB_MMIO_WRITE for row in rows) == 3 * each


def test_readers_see_that_it_is_suspended(recording: Recording, tmp_path: Path) -> None:
    out = ffi.new("void **")
    assert code(lib.hdvlab_trace_attach(bytes(recording.path), out)) == S_OK
    state = ffi.new("HDVLAB_TRACE_STATE *")
    seen = []
    for suspended in (False, True, False):
        _suspend(recording, suspended)
        for handle in (recording.handle, out[0]):
            assert code(lib.hdvlab_trace_state(handle, state)) == S_OK
            seen.append(state.suspended)
    assert seen == [0, 0, 1, 1, 0, 0]
    _suspend(recording)
    lib.hdvlab_trace_finish(recording.handle)
    assert code(lib.hdvlab_trace_state(out[0], state)) == S_OK
    assert state.suspended == 0, "what has ended is not paused"
    lib.hdvlab_trace_close(out[0])
