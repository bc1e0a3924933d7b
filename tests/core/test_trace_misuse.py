"""A trace in the hands of a caller who gives back too much, writes through a reader, or forged the files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import S_OK, CallbackDevice, Machine, Recording, code


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.fault(41)
def test_pins_that_nobody_took_leave_the_trace_to_its_machine(machine: Machine, recording: Recording) -> None:
    handles = lib.hdvlab_live_handles()
    for _ in range(8):
        lib.hdvlab_trace_unpin(recording.handle)
    assert lib.hdvlab_live_handles() == handles
    device = machine.running(CallbackDevice())
    assert machine.poke(device, False, 0, 0, 4)[0] == S_OK
    assert recording.rows(lib.HDVLAB_MMIO_READ)


@pytest.mark.fault(41)
def test_a_pin_outlives_the_close_and_is_given_back_once(tmp_path: Path) -> None:
    before = lib.hdvlab_live_handles()
    recording, base = Recording(tmp_path / "trace"), ffi.new("void **")
    assert code(lib.hdvlab_trace_pin(recording.handle, 0, base)) == S_OK
    recording.close()
    assert lib.hdvlab_live_handles() == before + 1
    for _ in range(3):
        lib.hdvlab_trace_unpin(recording.handle)
        assert lib.hdvlab_live_handles() == before


def test_a_reader_cannot_set_the_time(tmp_path: Path) -> None:
    out = ffi.new("void **")
    path = bytes(tmp_path / "trace")
    assert code(lib.hdvlab_trace_create(path, 64, 64, lib.HDVLAB_CLOCK_MANUAL, out)) == S_OK
    writer = out[0]
    assert code(lib.hdvlab_trace_attach(path, out)) == S_OK
    # A step back is counted in the header, which a reader maps read-only.
    assert code(lib.hdvlab_trace_set_time(out[0], -1)) == HResult.E_ACCESSDENIED
    for trace in (out[0], writer):
        assert code(lib.hdvlab_trace_close(trace)) == S_OK


@pytest.mark.fault(61)
def test_a_seal_of_more_rows_than_a_chunk_has_settles_none(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "trace")
    lib.hdvlab_bench_rows(recording.handle, 10, True, ffi.new("uint64_t *"))
    recording.close()
    seal = struct.pack("<I", 1 << 30) + bytes(56)
    (tmp_path / "trace/seals.bin").write_bytes(struct.pack("<I", _crc32c(seal)) + seal)
    out, rows, state, sealed = ffi.new("void **"), ffi.new("uint64_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
    assert code(lib.hdvlab_trace_attach(bytes(tmp_path / "trace"), out)) == S_OK
    assert code(lib.hdvlab_trace_verify(out[0], 0, state, sealed)) == S_OK
    assert (state[0], sealed[0]) == (2, 1 << 30)
    assert code(lib.hdvlab_trace_settled(out[0], 0, rows)) == S_OK
    assert rows[0] == 0
    assert code(lib.hdvlab_trace_close(out[0])) == S_OK
