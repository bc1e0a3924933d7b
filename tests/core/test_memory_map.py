"""Guest memory that is added to a machine and taken away while it runs: hdvlab_memory_map, hdvlab_memory_unmap."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code, pairs

READ, WRITE = 1, 2
BOTH = READ | WRITE
MIB, GIB = 1 << 20, 1 << 30
NOACCESS, EXISTS, MISSING = HResult.ERROR_NOACCESS, HResult.ERROR_ALREADY_EXISTS, HResult.ERROR_NOT_FOUND
DENIED, INVALID = HResult.E_ACCESSDENIED, HResult.E_INVALIDARG
#: Where tests add memory: behind the machine's own mebibyte, and far from it.
NEXT, FAR = MIB, 64 * GIB


def memory(size: int, sealed: bool = True) -> int:
    """A memfd; sealed, it cannot shrink."""
    fd = os.memfd_create("hdvlab-test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


@pytest.fixture(params=[True, False], ids=["sealed", "unsealed"])
def file(request: pytest.FixtureRequest) -> Iterator[int]:
    fd = memory(MIB, request.param)
    yield fd
    os.close(fd)


@pytest.fixture
def sealed() -> Iterator[int]:
    fd = memory(MIB)
    yield fd
    os.close(fd)


def add(machine: Machine, gpa: int, size: int, fd: int, offset: int = 0, flags: int = BOTH) -> int:
    return code(lib.hdvlab_memory_map(machine.system, gpa, size, ffi.cast("void *", fd), offset, flags))


def take(machine: Machine, gpa: int, size: int) -> int:
    return code(lib.hdvlab_memory_unmap(machine.system, gpa, size))


def test_added_memory_is_ram_for_the_guest_and_its_devices(machine: Machine, recording: Recording, file: int) -> None:
    device = machine.running(CallbackDevice())
    assert device.dma_write(FAR, b"early") == NOACCESS
    assert add(machine, FAR, 8192, file, 4096) == S_OK
    assert device.dma_write(FAR + 1, b"device") == S_OK
    assert machine.write(FAR + 8, 0x11223344) == S_OK
    assert machine.ram_write(FAR + 0x1FFF, b"!") == S_OK
    assert machine.ram_read(FAR + 1, 6) == (S_OK, b"device")
    assert machine.read(FAR + 8) == (S_OK, 0x11223344)
    assert machine.read(FAR + 8, 1) == (S_OK, 0x44)
    assert device.dma_read(FAR + 0x1FFE, 2) == (S_OK, b"\0!")
    assert os.pread(file, 7, 4096) == b"\0device"
    assert take(machine, FAR, 8192) == S_OK
    assert device.dma_read(FAR, 1) == (NOACCESS, b"\xee")
    assert machine.read(FAR + 8) == (NOACCESS, 0xFFFFFFFF)
    assert len(recording.rows(lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE)) == 1  # RAM leaves no row, no RAM does


@pytest.mark.fault(21)
def test_a_transfer_crosses_memory_that_lies_side_by_side_and_else_moves_nothing(machine: Machine, file: int) -> None:
    device = machine.running(CallbackDevice())
    assert add(machine, NEXT + 8192, 4096, file, 0) == S_OK
    data = bytes(range(1, 256)) * 40  # its end is two pages on
    assert device.dma_write(NEXT - 16, data) == NOACCESS
    assert machine.ram_read(NEXT - 16, 16) == (S_OK, bytes(16))
    assert add(machine, NEXT, 8192, file, 8192) == S_OK
    assert device.dma_write(NEXT - 16, data) == S_OK
    assert device.dma_read(NEXT - 16, len(data)) == (S_OK, data)
    assert os.pread(file, 8, 8192) == data[16:24]
    assert os.pread(file, 8, 0) == data[16 + 8192 :][:8]
    assert device.dma_write(NEXT + 12288 - 4, b"12345") == NOACCESS
    assert os.pread(file, 4, 4092) == bytes(4)


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("gpa", "size", "offset", "flags", "expected"),
    [
        (FAR, 4096, 0, BOTH, S_OK),  # the very same once more
        (FAR, 4096, 0, READ, EXISTS),
        (FAR, 4096, 4096, BOTH, EXISTS),
        (FAR, 8192, 0, BOTH, EXISTS),
        (FAR - 4096, 8192, 0, BOTH, EXISTS),
        (FAR - 4096, 3 * 4096, 0, BOTH, EXISTS),
        (FAR - 4096, 4096, 0, BOTH, S_OK),
        (FAR + 4096, 4096, 0, BOTH, S_OK),
        (0, 4096, 0, BOTH, EXISTS),  # the machine's own
        (MIB - 4096, 8192, 0, BOTH, EXISTS),
        ((1 << 64) - 4096, 4096, 0, BOTH, S_OK),
        ((1 << 64) - 4096, 8192, 0, BOTH, HResult.ERROR_ARITHMETIC_OVERFLOW),
        (2 * FAR, 8192, (1 << 63) - 4096, BOTH, HResult.ERROR_ARITHMETIC_OVERFLOW),
        (2 * FAR, 4096, (1 << 64) - 4096, BOTH, HResult.ERROR_ARITHMETIC_OVERFLOW),
        (2 * FAR, 0, 0, BOTH, INVALID),
        (2 * FAR + 1, 4096, 0, BOTH, INVALID),
        (2 * FAR, 4097, 0, BOTH, INVALID),
        (2 * FAR, 100, 0, BOTH, INVALID),
        (2 * FAR, 4096, 8, BOTH, INVALID),
        (2 * FAR, (8 << 40) + 4096, 0, BOTH, INVALID),
        (2 * FAR, 2 * MIB, 0, BOTH, INVALID),  # more than the file has
        (2 * FAR, 4096, MIB, BOTH, INVALID),
        (2 * FAR, 4096, 0, 0, INVALID),
        (2 * FAR, 4096, 0, 4 | BOTH, INVALID),
    ],
)
def test_what_may_be_added(
    machine: Machine, file: int, gpa: int, size: int, offset: int, flags: int, expected: int
) -> None:
    device = machine.running(CallbackDevice())
    assert add(machine, FAR, 4096, file) == S_OK
    before = len(os.listdir("/proc/self/fd"))
    assert add(machine, gpa, size, file, offset, flags) == expected
    new = expected == S_OK and gpa != FAR
    assert len(os.listdir("/proc/self/fd")) == before + new
    assert device.dma_write(FAR, b"there") == S_OK
    assert device.dma_write(gpa, b"new") == (S_OK if new or gpa in (0, FAR, MIB - 4096) else NOACCESS)


@pytest.mark.fault(26)
def test_the_same_place_of_another_file_is_another_region(machine: Machine, sealed: int) -> None:
    other, again = memory(MIB), os.dup(sealed)
    assert add(machine, FAR, 4096, sealed) == add(machine, FAR, 4096, again) == S_OK
    assert add(machine, FAR, 4096, other) == EXISTS
    os.close(other)
    os.close(again)


@pytest.mark.fault(26)
def test_a_machine_has_1024_regions_with_its_own(machine: Machine) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    fd = memory(4096)
    try:
        added = 0
        while (hresult := add(machine, FAR + 8192 * added, 4096, fd)) == S_OK:
            added += 1
        assert hresult == HResult.ERROR_NOT_ENOUGH_QUOTA
        assert added == 1023 or hard < 4096
        assert take(machine, FAR + 8192 * 500, 4096) == S_OK
        assert add(machine, FAR + 8192 * 500, 4096, fd) == S_OK
        for number in range(added):
            assert take(machine, FAR + 8192 * number, 4096) == S_OK
    finally:
        os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault(27)
def test_only_a_whole_region_is_taken_away(machine: Machine, file: int) -> None:
    device = machine.running(CallbackDevice())
    assert take(machine, FAR, 8192) == MISSING
    assert add(machine, FAR, 8192, file) == add(machine, FAR + 8192, 4096, file) == S_OK
    for gpa, size in (
        (FAR, 4096),
        (FAR + 4096, 4096),
        (FAR, 12288),
        (FAR - 4096, 8192),
        (FAR, 0),
        (FAR, (1 << 64) - 1),
    ):
        assert take(machine, gpa, size) == MISSING
    assert take(machine, 0, MIB) == DENIED
    assert device.dma_write(FAR, bytes(12288)) == S_OK
    assert [take(machine, FAR, 8192), take(machine, FAR, 8192)] == [S_OK, MISSING]
    assert device.dma_write(FAR + 8192, b"x") == S_OK
    assert device.dma_write(0, b"x") == S_OK


@pytest.mark.fault(27)
def test_an_aperture_on_memory_that_goes_turns_to_zeros_where_it_is(
    machine: Machine, recording: Recording, sealed: int
) -> None:
    device = machine.running(CallbackDevice())
    assert add(machine, FAR, 8192, sealed) == add(machine, FAR + 8192, 4096, sealed, 8192) == S_OK
    (_, gone), (_, stays) = device.aperture(FAR + 4090, 10), device.aperture(FAR + 8192, 4096)
    window, other = ffi.buffer(gone, 10), ffi.buffer(stays, 4)
    window[:] = b"0123456789"
    other[:] = b"stay"
    since = len(recording)
    assert take(machine, FAR, 8192) == S_OK
    assert bytes(window) == bytes(10)
    window[:] = b"nowhere..."
    assert os.pread(sealed, 10, 4090) == b"0123456789"
    assert bytes(other) == b"stay"
    names = ("kind", "origin", "device", "address", "size", "status")
    assert pairs(recording.rows(since=since), *names) == [
        (lib.HDVLAB_APERTURE_UNMAP, lib.HDVLAB_DEVICE, 0, FAR + 4090, 10, S_OK)
    ]
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, gone)) == MISSING
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, stays)) == S_OK
    assert device.aperture(FAR, 4096)[0] == NOACCESS


def test_an_aperture_lies_in_one_region(machine: Machine, sealed: int) -> None:
    device = machine.running(CallbackDevice())
    assert add(machine, NEXT, 4096, sealed) == add(machine, NEXT + 4096, 4096, sealed, 4096) == S_OK
    for gpa, size, expected in (
        (NEXT, 4096, S_OK),
        (NEXT + 4095, 1, S_OK),
        (NEXT + 4095, 2, NOACCESS),
        (NEXT - 1, 2, NOACCESS),
        (NEXT + 8191, 2, NOACCESS),
    ):
        assert device.aperture(gpa, size)[0] == expected


@pytest.mark.fault(29)
def test_memory_for_reading_is_not_written_by_anybody(machine: Machine, recording: Recording, file: int) -> None:
    device = machine.running(CallbackDevice())
    os.pwrite(file, b"fixed", 0)
    assert add(machine, NEXT, 4096, file, 0, READ) == S_OK
    assert device.dma_read(NEXT, 5) == (S_OK, b"fixed")
    assert device.dma_write(NEXT - 2, b"bad") == DENIED
    assert machine.ram_read(NEXT - 2, 2) == (S_OK, b"\0\0")
    assert machine.ram_write(NEXT, b"bad") == DENIED
    assert machine.write(NEXT, 0) == DENIED
    assert recording.rows()[-1]["status"] == DENIED
    assert os.pread(file, 5, 0) == b"fixed"
    assert device.aperture(NEXT, 4096)[0] == DENIED


def test_a_write_protected_aperture_on_memory_for_reading_is_granted(machine: Machine, sealed: int) -> None:
    device = machine.running(CallbackDevice())
    os.pwrite(sealed, b"fixed", 0)
    assert add(machine, NEXT, 4096, sealed, 0, READ) == S_OK
    hresult, mapped = device.aperture(NEXT, 5, write_protected=True)
    assert (hresult, bytes(ffi.buffer(mapped, 5))) == (S_OK, b"fixed")


@pytest.mark.fault(28)
def test_a_file_that_is_cut_kills_nobody(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    fd = memory(8192, sealed=False)
    assert add(machine, NEXT, 8192, fd) == S_OK
    assert device.aperture(NEXT, 4096)[0] == DENIED  # its pages could vanish under whoever has the address
    assert device.dma_write(NEXT, b"before") == S_OK
    os.ftruncate(fd, 4096)
    assert device.dma_read(NEXT, 6) == (S_OK, b"before")
    assert device.dma_read(NEXT - 4, 4100 + 8) == (NOACCESS, b"\xee" * 4108)
    assert device.dma_write(NEXT - 4, bytes(4100) + b"12345678") == NOACCESS
    assert machine.read(NEXT + 4096) == (NOACCESS, 0xFFFFFFFF)
    assert os.fstat(fd).st_size == 4096
    os.close(fd)


@pytest.mark.fault(30)
def test_only_a_file_can_be_memory(machine: Machine, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    directory, null = os.open(tmp_path, os.O_RDONLY), os.open("/dev/null", os.O_RDWR)
    for fd in (reading, writing, directory, null):
        assert add(machine, FAR, 4096, fd) == INVALID
        os.close(fd)
    assert add(machine, FAR, 4096, -1) == add(machine, FAR, 4096, 1 << 20) == HResult.E_HANDLE
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    for mode, flags, expected in (
        (os.O_RDONLY, READ, S_OK),
        (os.O_RDONLY, BOTH, DENIED),
        (os.O_WRONLY, WRITE, DENIED),
        (os.O_RDWR, BOTH, S_OK),
    ):
        fd = os.open(path, mode)
        assert add(machine, FAR, 4096, fd, 0, flags) == expected
        assert take(machine, FAR, 4096) == (S_OK if expected == S_OK else MISSING)
        os.close(fd)


@pytest.mark.fault(30)
@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_huge_sparse_file_costs_what_is_used_of_it(machine: Machine, is_sealed: bool) -> None:
    device = machine.running(CallbackDevice())
    fd = memory(1 << 40, is_sealed)
    assert add(machine, FAR, 1 << 40, fd) == S_OK
    assert device.dma_write(FAR + (1 << 40) - 4, b"last") == S_OK
    assert os.pread(fd, 4, (1 << 40) - 4) == b"last"
    assert os.fstat(fd).st_blocks * 512 <= 1 << 21
    os.close(fd)


def test_a_seal_against_writing_is_respected(machine: Machine) -> None:
    fd = memory(4096)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert add(machine, FAR, 4096, fd) == DENIED
    assert add(machine, FAR, 4096, fd, 0, READ) == S_OK
    os.close(fd)


def test_memory_wins_over_a_bar_and_gives_it_back(machine: Machine, sealed: int) -> None:
    device = machine.running(CallbackDevice())
    assert add(machine, PLACE, 4096, sealed) == S_OK
    assert machine.write(PLACE, 5) == S_OK
    assert device.names() == []
    assert take(machine, PLACE, 4096) == S_OK
    assert machine.write(PLACE, 6) == S_OK
    assert device.names() == ["write"]
    assert os.pread(sealed, 4, 0) == b"\5\0\0\0"


def test_the_owner_may_close_its_descriptor(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    for is_sealed in (True, False):
        fd = memory(4096, is_sealed)
        assert add(machine, NEXT, 4096, fd) == S_OK
        os.close(fd)
        assert device.dma_write(NEXT, b"kept") == S_OK
        assert device.dma_read(NEXT, 4) == (S_OK, b"kept")
        assert take(machine, NEXT, 4096) == S_OK


def test_a_callback_may_add_and_take_away(machine: Machine, sealed: int) -> None:
    device = machine.running(CallbackDevice())
    seen: list[int] = []
    device.write = lambda *_: seen.extend(
        [add(machine, NEXT, 4096, sealed), device.dma_write(NEXT, b"x"), take(machine, NEXT, 4096)]
    )
    assert machine.write(PLACE, 1) == S_OK
    assert seen == [S_OK] * 3


@pytest.mark.fault(27)
def test_copies_and_apertures_race_with_memory_that_comes_and_goes(machine: Machine, file: int) -> None:
    device = machine.running(CallbackDevice())
    over = threading.Event()
    data, seen = bytes([7]) * 8192, set[int]()

    def copies() -> None:
        while not over.is_set():
            seen.add(device.dma_write(NEXT - 4096, data))
            hresult, answer = device.dma_read(NEXT - 4096, 8192)
            assert answer == (data if hresult == S_OK else b"\xee" * 8192) or hresult == S_OK

    def apertures() -> None:
        while not over.is_set():
            hresult, mapped = device.aperture(NEXT, 4096)
            if hresult == S_OK:
                window = ffi.buffer(mapped, 4096)
                window[0] = window[4095]
                lib.HdvDestroyGuestMemoryAperture(device.handle, mapped)

    with Threads() as threads:
        threads.start(copies)
        threads.start(apertures)
        for _ in range(500):
            assert add(machine, NEXT, 4096, file) == S_OK
            assert take(machine, NEXT, 4096) == S_OK
        over.set()
    assert seen <= {S_OK, NOACCESS}


def test_a_read_that_fails_because_the_file_is_cut_meanwhile_copies_nothing(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    fd = memory(MIB, sealed=False)
    assert add(machine, FAR, MIB, fd) == S_OK
    ended = threading.Event()

    def cut() -> None:
        while not ended.is_set():
            os.ftruncate(fd, MIB // 2)
            os.ftruncate(fd, MIB)

    with Threads() as threads:
        threads.start(cut)
        try:
            for _ in range(2000):
                hresult, data = device.dma_read(FAR, MIB)
                assert hresult in (S_OK, NOACCESS)
                if hresult == NOACCESS:
                    assert data == b"\xee" * MIB  # as the test had filled it
        finally:
            ended.set()
    os.close(fd)


def test_memory_that_goes_while_a_host_is_torn_down_ends_the_apertures_of_its_devices(
    machine: Machine, recording: Recording, sealed: int
) -> None:
    device = machine.running(CallbackDevice())
    assert add(machine, FAR, MIB, sealed) == S_OK
    hresult, mapped = device.aperture(FAR, 4)
    assert hresult == S_OK
    seen: list[bytes] = []

    def stop() -> None:
        assert take(machine, FAR, MIB) == S_OK
        os.pwrite(sealed, b"late", 0)
        seen.append(bytes(ffi.buffer(mapped, 4)))

    device.during["stop"] = stop
    assert machine.teardown() == S_OK
    assert seen == [bytes(4)]
    assert len(recording.rows(lib.HDVLAB_APERTURE_UNMAP)) == 1
