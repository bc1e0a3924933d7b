"""Guest memory as a device reaches it: copies that are all or nothing, and apertures that are the pages themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import BUS_MASTER, MEMORY, PLACE, S_OK, CallbackDevice, Machine, Recording, code, pairs

GIB = 1 << 30
RAM = 4 * GIB  # sparse: 3 GiB below the hole, one from 4 GiB on
NOACCESS = HResult.ERROR_NOACCESS
DMA = (lib.HDVLAB_DMA_READ, lib.HDVLAB_DMA_WRITE)


@pytest.fixture
def big(recording: Recording, make_machine: type[Machine]) -> Iterator[Machine]:
    machine = make_machine(recording, ram=RAM)
    yield machine
    machine.close()


@pytest.mark.parametrize("size", [1, 7, 8, 9, 4096, 65536])
def test_bytes_move_both_ways_and_stand_in_the_rows(machine: Machine, recording: Recording, size: int) -> None:
    device = machine.running(CallbackDevice())
    data = bytes((i * 31 + 7) & 0xFF for i in range(size))
    since = len(recording)
    assert device.dma_write(0x2001, data) == S_OK
    assert machine.ram_read(0x2001, size) == (S_OK, data)
    assert device.dma_read(0x2001, size) == (S_OK, data)
    rows = recording.rows(since=since)
    first = int.from_bytes(data[:8], "little")
    names = ("kind", "origin", "device", "bar", "size", "address", "value", "status", "cause", "pc")
    assert pairs(rows, *names) == [
        (kind, lib.HDVLAB_DEVICE, 0, -1, size, 0x2001, first, S_OK, -1, 0) for kind in reversed(DMA)
    ]
    for row in rows:
        assert (row["payload"] >= 0) is (size > 8)
        if size > 8:
            assert recording.payload(row["payload"], size) == data


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("address", "size", "expected"),
    [
        (0, 1, S_OK),
        (3 * GIB - 4, 4, S_OK),
        (3 * GIB - 4, 5, NOACCESS),
        (3 * GIB, 1, NOACCESS),
        (3 * GIB - 2, GIB + 4, NOACCESS),  # over the whole hole: both ends are RAM
        (4 * GIB - 1, 2, NOACCESS),
        (4 * GIB, 4, S_OK),
        (5 * GIB - 4, 4, S_OK),
        (5 * GIB - 4, 5, NOACCESS),
        (5 * GIB, 1, NOACCESS),
        (1 << 63, 8, NOACCESS),
        ((1 << 64) - 8, 8, NOACCESS),
    ],
)
def test_a_transfer_that_is_not_wholly_ram_moves_nothing(big: Machine, address: int, size: int, expected: int) -> None:
    device = big.running(CallbackDevice())
    big.ram_write(3 * GIB - 16, b"\x11" * 16)
    big.ram_write(4 * GIB, b"\x22" * 16)
    big.ram_write(5 * GIB - 16, b"\x33" * 16)
    if size < GIB:
        hresult, data = device.dma_read(address, size)
        assert hresult == expected
        assert (data == b"\xee" * size) is (expected != S_OK)
        assert device.dma_write(address, b"\x99" * size) == expected
    else:
        room = ffi.new_allocator(should_clear_after_alloc=False)("uint8_t[]", size)
        assert code(lib.HdvReadGuestMemory(device.handle, address, size, room)) == expected
    if expected != S_OK:
        assert big.ram_read(3 * GIB - 16, 16)[1] == b"\x11" * 16
        assert big.ram_read(4 * GIB, 16)[1] == b"\x22" * 16
        assert big.ram_read(5 * GIB - 16, 16)[1] == b"\x33" * 16


def test_ram_above_the_hole_is_other_ram_than_below(big: Machine) -> None:
    device = big.running(CallbackDevice())
    assert device.dma_write(0, b"low") == S_OK
    assert device.dma_write(4 * GIB, b"HIGH") == S_OK
    assert big.ram_read(0, 3) == (S_OK, b"low")
    assert big.ram_read(4 * GIB, 4) == (S_OK, b"HIGH")
    assert big.read(4 * GIB, 4) == (S_OK, int.from_bytes(b"HIGH", "little"))


@pytest.mark.fault(25)
def test_what_was_copied_in_is_not_changed_by_the_guest_afterwards(machine: Machine, recording: Recording) -> None:
    """Copies are the device's own, so what it has checked is what it uses; the row has the same bytes."""
    device = machine.running(CallbackDevice())
    good, bad = b"length=0016" + bytes(5), b"length=9999" + bytes(5)
    machine.ram_write(0x1000, good)
    room = ffi.new("uint8_t[16]")
    assert code(lib.HdvReadGuestMemory(device.handle, 0x1000, 16, room)) == S_OK
    machine.ram_write(0x1000, bad)
    assert bytes(ffi.buffer(room)) == good
    row = recording.rows(lib.HDVLAB_DMA_READ)[-1]
    assert recording.payload(row["payload"], 16) == good
    _, window = device.aperture(0x1000, 16)  # an aperture is the guest's memory: volatile
    assert bytes(ffi.buffer(window, 16)) == bad
    machine.ram_write(0x1000, good)
    assert bytes(ffi.buffer(window, 16)) == good


@pytest.mark.fault(25)
def test_what_is_written_out_is_what_the_row_says_whatever_becomes_of_the_buffer(
    machine: Machine, recording: Recording
) -> None:
    device = machine.running(CallbackDevice())
    room = ffi.new("uint8_t[16]", b"as it was handed")
    assert code(lib.HdvWriteGuestMemory(device.handle, 0x1000, 16, room)) == S_OK
    ffi.buffer(room)[:] = bytes(16)
    assert machine.ram_read(0x1000, 16) == (S_OK, b"as it was handed")
    assert recording.payload(recording.rows(lib.HDVLAB_DMA_WRITE)[-1]["payload"], 16) == b"as it was handed"


@pytest.mark.fault(22)
@pytest.mark.parametrize(("address", "size"), [((1 << 64) - 1, 2), ((1 << 64) - 4096, 8192), ((1 << 64) - 1, 4096)])
def test_a_transfer_that_wraps_says_so(machine: Machine, recording: Recording, address: int, size: int) -> None:
    device = machine.running(CallbackDevice())
    assert device.dma_read(address, size) == (HResult.ERROR_ARITHMETIC_OVERFLOW, b"\xee" * size)
    assert device.dma_write(address, bytes(size)) == HResult.ERROR_ARITHMETIC_OVERFLOW
    assert device.aperture(address, size)[0] == HResult.ERROR_ARITHMETIC_OVERFLOW
    assert pairs(recording.rows(*DMA), "value", "payload") == [(0, -1)] * 2


@pytest.mark.fault(23)
def test_a_transfer_of_nothing_succeeds_anywhere(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    for address in (0, PLACE, (1 << 64) - 1):
        assert device.dma_read(address, 0) == (S_OK, b"")
        assert device.dma_write(address, b"") == S_OK
    assert {row["status"] for row in recording.rows(*DMA)} == {S_OK}


@pytest.mark.fault(23)
def test_a_transfer_of_four_gib_is_refused_before_a_byte_is_touched(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    room = ffi.new("uint8_t[1]", b"\xee")
    assert code(lib.HdvReadGuestMemory(device.handle, 0, 0xFFFFFFFF, room)) == NOACCESS
    assert code(lib.HdvWriteGuestMemory(device.handle, 0, 0xFFFFFFFF, room)) == NOACCESS
    assert room[0] == 0xEE


@pytest.mark.fault(24)
def test_dma_to_a_bar_reaches_no_device(machine: Machine) -> None:
    first, second = CallbackDevice(), CallbackDevice()
    machine.running(first, second)
    for address in (PLACE, PLACE + 0x100_0000):
        assert first.dma_write(address, b"self") == NOACCESS
        assert first.dma_read(address, 4)[0] == NOACCESS
        assert first.aperture(address, 4096)[0] == NOACCESS
    first.write = lambda *_: None if first.dma_write(PLACE, b"self") == NOACCESS else 1 / 0
    assert machine.write(PLACE, 1) == S_OK
    assert (first.names(), second.names()) == (["write"], [])


@pytest.mark.fault(29)
@pytest.mark.parametrize("command", [0, MEMORY])
def test_without_bus_mastering_nothing_leaves_the_device(machine: Machine, recording: Recording, command: int) -> None:
    device = machine.running(CallbackDevice())
    machine.config_write(0, 4, 2, command)
    since = len(recording)
    assert device.dma_write(0x100, b"no") == HResult.E_ACCESSDENIED
    assert device.dma_read(0x100, 2) == (HResult.E_ACCESSDENIED, b"\xee\xee")
    assert device.aperture(0, 4096)[0] == HResult.E_ACCESSDENIED
    assert device.interrupt() == HResult.E_ACCESSDENIED
    assert machine.ram_read(0x100, 2) == (S_OK, b"\0\0")
    assert machine.wait_interrupt()[0] == HResult.ERROR_TIMEOUT
    assert {row["status"] for row in recording.rows(since=since)} == {HResult.E_ACCESSDENIED}
    machine.config_write(0, 4, 2, command | BUS_MASTER)
    assert device.dma_write(0x100, b"yes") == S_OK


@pytest.mark.fault(42)
def test_a_device_that_does_not_run_reaches_no_memory(machine: Machine, recording: Recording) -> None:
    device = CallbackDevice()
    seen: list[Any] = []

    def everything() -> None:
        seen.extend([device.dma_write(0, b"x"), device.dma_read(0, 1)[0], device.aperture(0, 1)[0], device.interrupt()])

    for step in ("initialize", "get_details", "start", "stop", "teardown"):
        device.during[step] = everything
    machine.create(device)
    everything()
    machine.add_slot(device)
    machine.start()
    machine.stop()
    everything()
    assert set(seen) == {HResult.ERROR_INVALID_STATE}
    kinds = (*DMA, lib.HDVLAB_INTERRUPT, lib.HDVLAB_APERTURE_MAP)
    assert len(recording.rows(*kinds)) == len(seen)


# ---- apertures -----------------------------------------------------------------------------------------------------


def _maps() -> list[tuple[int, int, str]]:
    """What is mapped of guest RAM: start, end, permissions."""
    found = []
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            if "hdvlab-ram" in line:
                place, permissions = line.split()[:2]
                start, end = (int(part, 16) for part in place.split("-"))
                found.append((start, end, permissions))
    return found


def _permissions(address: Any) -> str:
    number = int(ffi.cast("uintptr_t", address))
    return next(permissions for start, end, permissions in _maps() if start <= number < end)


@pytest.mark.parametrize(
    ("address", "size"), [(0x3000, 4096), (0x3001, 1), (0x3FFF, 2), (0x3123, 3 * 4096), (0, 1 << 20)]
)
def test_an_aperture_is_the_same_memory_from_its_first_byte_to_its_last(
    machine: Machine, recording: Recording, address: int, size: int
) -> None:
    device = machine.running(CallbackDevice())
    since = len(recording)
    hresult, mapped = device.aperture(address, size)
    assert hresult == S_OK
    window = ffi.buffer(mapped, size)
    machine.ram_write(address, b"A")
    machine.ram_write(address + size - 1, b"Z")
    assert (window[0], window[size - 1]) == (b"A" if size > 1 else b"Z", b"Z")
    window[size - 1] = b"!"
    assert machine.ram_read(address + size - 1, 1) == (S_OK, b"!")
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, mapped)) == S_OK
    names = ("kind", "origin", "device", "bar", "address", "size", "value", "status")
    assert pairs(recording.rows(since=since), *names) == [
        (lib.HDVLAB_APERTURE_MAP, lib.HDVLAB_DEVICE, 0, -1, address, size, 0, S_OK),
        (lib.HDVLAB_APERTURE_UNMAP, lib.HDVLAB_DEVICE, 0, -1, address, size, 0, S_OK),
    ]


def test_an_aperture_above_the_hole_shows_that_ram(big: Machine) -> None:
    device = big.running(CallbackDevice())
    mapped = device.aperture(5 * GIB - 8, 8)[1]
    big.ram_write(5 * GIB - 8, b"the last")
    assert bytes(ffi.buffer(mapped, 8)) == b"the last"


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("address", "size", "expected"),
    [
        (3 * GIB - 4096, 4097, NOACCESS),
        (3 * GIB, 1, NOACCESS),
        (4 * GIB - 1, 2, NOACCESS),
        (0, 0, HResult.E_INVALIDARG),
        (0, 0xFFFFFFFF, NOACCESS),
        (3 * GIB - 4096, 4096, S_OK),
    ],
)
def test_an_aperture_is_wholly_ram_or_none(
    big: Machine, recording: Recording, address: int, size: int, expected: int
) -> None:
    device = big.running(CallbackDevice())
    before = len(_maps())
    hresult, mapped = device.aperture(address, size)
    assert hresult == expected
    assert (mapped == ffi.NULL) is (expected != S_OK)
    assert len(_maps()) == before + (expected == S_OK)
    assert recording.rows(lib.HDVLAB_APERTURE_MAP)[-1]["status"] == expected


@pytest.mark.fault(29)
@pytest.mark.parametrize(("write_protected", "permissions"), [(False, "rw-s"), (True, "r--s")])
def test_a_write_protected_aperture_is_mapped_without_write(
    machine: Machine, recording: Recording, write_protected: bool, permissions: str
) -> None:
    device = machine.running(CallbackDevice())
    mapped = device.aperture(0x5000, 4096, write_protected)[1]
    assert _permissions(mapped) == permissions
    assert recording.rows(lib.HDVLAB_APERTURE_MAP)[-1]["value"] == write_protected
    machine.ram_write(0x5000, b"live")
    assert bytes(ffi.buffer(mapped, 4)) == b"live"


def test_an_aperture_ends_by_exactly_the_address_that_it_was_given(machine: Machine) -> None:
    device, other = CallbackDevice(), CallbackDevice()
    machine.running(device, other)
    mapped = device.aperture(0x5010, 8192)[1]
    destroy = lib.HdvDestroyGuestMemoryAperture
    for wrong in (mapped - 0x10, mapped + 1, mapped + 4096, ffi.cast("void *", -1)):
        assert code(destroy(device.handle, wrong)) == HResult.ERROR_NOT_FOUND
    assert code(destroy(other.handle, mapped)) == HResult.ERROR_NOT_FOUND
    assert code(destroy(device.handle, mapped)) == S_OK
    assert code(destroy(device.handle, mapped)) == HResult.ERROR_NOT_FOUND


def test_a_device_has_1024_apertures_and_one_more_when_it_gives_one_back(machine: Machine) -> None:
    device, other = CallbackDevice(), CallbackDevice()
    machine.running(device, other)
    before = len(_maps())
    mapped = [device.aperture(0x1000, 4096) for _ in range(1024)]
    assert {hresult for hresult, _ in mapped} == {S_OK}
    assert device.aperture(0x1000, 4096)[0] == HResult.ERROR_NOT_ENOUGH_QUOTA
    assert other.aperture(0x1000, 4096)[0] == S_OK
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, mapped[500][1])) == S_OK
    assert device.aperture(0x1000, 4096)[0] == S_OK
    machine.teardown()
    assert len(_maps()) == before


def test_open_apertures_end_with_the_device_each_with_a_row(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    before = len(_maps())
    for page in range(3):
        assert device.aperture(page * 4096, 4096)[0] == S_OK
    machine.stop()
    assert len(_maps()) == before
    unmapped = recording.rows(lib.HDVLAB_APERTURE_UNMAP)
    assert sorted(pairs(unmapped, "address", "size")) == [(page * 4096, 4096) for page in range(3)]


@pytest.mark.parametrize("size", [0, 4096, (1 << 20) - 4096, (1 << 20) + 1, (1 << 40) + 4096, 1 << 63])
def test_a_machine_has_whole_pages_of_ram_between_a_mebibyte_and_a_tebibyte(size: int) -> None:
    out = ffi.new("void **")
    assert code(lib.hdvlab_embedded_create(size, 0, ffi.NULL, out)) == HResult.E_INVALIDARG
