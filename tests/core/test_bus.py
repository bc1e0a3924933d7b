"""The bus: loads and stores at the edges of BARs, RAM and the address space, and where nobody answers."""

from __future__ import annotations

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import (
    PLACE,
    S_OK,
    SLACK,
    CallbackDevice,
    Machine,
    Recording,
    ones,
    pairs,
    resident,
)

NOBODY = HResult.ERROR_NOACCESS
READ, WRITE = lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE
KINDS = (READ, WRITE)


@pytest.mark.fault(12)
@pytest.mark.fault(15)
@pytest.mark.parametrize(("before", "size"), [(2, 4), (4, 8), (1, 2), (3, 8)])
def test_an_access_across_the_end_of_a_bar_is_split_and_the_outer_part_reads_ones(
    machine: Machine, recording: Recording, before: int, size: int
) -> None:
    device = machine.running(CallbackDevice())
    device.read = lambda bar, offset, length: 0
    since = len(recording)
    hresult, value = machine.read(PLACE + 0x1000 - before, size)
    assert hresult == NOBODY
    assert value == ones(size) & ~ones(before)
    assert sum(call[3] for call in device.calls) == before
    statuses = pairs(recording.rows(since=since), "device", "status")
    assert set(statuses) == {(0, S_OK), (lib.HDVLAB_NO_DEVICE, NOBODY)}


@pytest.mark.fault(12)
def test_past_the_end_of_a_bar_no_device_is_called(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    for address in (PLACE + 0x1000, PLACE - 4):
        since = len(recording)
        assert machine.read(address) == (NOBODY, 0xFFFFFFFF)
        assert machine.write(address, 5) == NOBODY
        rows = recording.rows(since=since)
        assert pairs(rows, "kind", "device", "bar", "address", "value", "status") == [
            (READ, lib.HDVLAB_NO_DEVICE, -1, address, 0xFFFFFFFF, NOBODY),
            (WRITE, lib.HDVLAB_NO_DEVICE, -1, address, 5, NOBODY),
        ]
    assert device.calls == []


@pytest.mark.fault(13)
@pytest.mark.parametrize(("address", "size"), [((1 << 64) - 1, 8), ((1 << 64) - 1, 2), ((1 << 64) - 7, 8)])
def test_an_access_that_wraps_reads_ones_and_leaves_a_row(
    machine: Machine, recording: Recording, address: int, size: int
) -> None:
    machine.running(CallbackDevice())
    since = len(recording)
    assert machine.read(address, size) == (HResult.ERROR_ARITHMETIC_OVERFLOW, ones(size))
    assert machine.write(address, 1, size) == HResult.ERROR_ARITHMETIC_OVERFLOW
    rows = recording.rows(since=since)
    assert pairs(rows, "kind", "address", "status") == [(k, address, HResult.ERROR_ARITHMETIC_OVERFLOW) for k in KINDS]


@pytest.mark.parametrize(("address", "size"), [((1 << 64) - 1, 1), ((1 << 64) - 8, 8)])
def test_the_last_bytes_of_the_address_space_wrap_nowhere(machine: Machine, address: int, size: int) -> None:
    machine.running(CallbackDevice())
    assert machine.read(address, size) == (NOBODY, ones(size))


@pytest.mark.fault(14)
@pytest.mark.parametrize("size", [0, 3, 5, 16, 1 << 20, 0xFFFFFFFF])
def test_a_size_that_no_load_has_is_refused_and_leaves_a_row(machine: Machine, recording: Recording, size: int) -> None:
    device = machine.running(CallbackDevice())
    since = len(recording)
    assert machine.read(PLACE, size) == (HResult.E_INVALIDARG, ones(min(size, 8)))
    assert machine.write(PLACE, 1, size) == HResult.E_INVALIDARG
    assert machine.poke(device, False, 0, 0, size) == (HResult.E_INVALIDARG, ones(min(size, 8)))
    assert machine.poke(device, True, 0, 0, size)[0] == HResult.E_INVALIDARG
    assert device.calls == []
    assert pairs(recording.rows(since=since), "size", "status") == [(size, HResult.E_INVALIDARG)] * 4


def test_ram_is_reached_over_the_bus_without_rows(machine: Machine, recording: Recording) -> None:
    machine.running(CallbackDevice())
    since = len(recording)
    assert machine.write(0x1003, 0x8877665544332211, 8) == S_OK
    assert machine.ram_read(0x1003, 8) == (S_OK, bytes.fromhex("1122334455667788"))
    assert machine.read(0x1004, 2) == (S_OK, 0x3322)
    assert machine.read((1 << 20) - 2, 4) == (NOBODY, 0xFFFF0000)
    assert pairs(recording.rows(since=since), "address", "size") == [(1 << 20, 2)]
    assert machine.ram_read((1 << 20) - 1, 2)[0] == machine.ram_write((1 << 20) - 1, b"ab") == NOBODY


def test_a_bar_over_ram_does_not_hide_it(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    machine.config_write(0, 0x10, 4, 0x10000)
    device.calls.clear()
    assert machine.write(0x10000, 0x42) == S_OK
    assert machine.ram_read(0x10000, 1) == (S_OK, b"\x42")
    assert device.calls == []


@pytest.mark.fault(20)
def test_bad_accesses_leave_memory_flat() -> None:
    machine = Machine()  # without a recording: rows would grow a file
    machine.running(CallbackDevice())
    access, value, system = machine.access(), ffi.new("uint64_t *"), machine.system

    def storm(count: int) -> None:
        for number in range(count):
            lib.hdvlab_guest_read(system, access, 0xD000_0000 + number, 8, value)
            lib.hdvlab_guest_write(system, access, (1 << 64) - 1 - number, 8, 0)
            lib.hdvlab_guest_config_read(system, access, number, number, 4, ffi.cast("uint32_t *", value))

    storm(1000)
    before = resident()
    storm(100_000)
    assert resident() - before < SLACK
    machine.close()
