"""Section-backed MMIO: pages of a BAR that are memory.

Ref: HDV API, HdvCreateSectionBackedMmioRange. Sections are memfds or files here.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .scaffold import PLACE, S_OK, CallbackDevice, Failure, Machine, Recording, Threads, ones, pairs

PAGE = 4096
BAR = 0xFFFF0000  # 16 pages
SEALED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
INVALID = HResult.E_INVALIDARG
Make = Callable[..., int]


@pytest.fixture
def memfd() -> Iterator[Make]:
    """Makes memfds of so many pages, with seals; closes them in the end."""
    made: list[int] = []

    def make(pages: int = 4, seals: int = SEALED) -> int:
        made.append(os.memfd_create("hdvlab-test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        os.ftruncate(made[-1], pages * PAGE)
        fcntl.fcntl(made[-1], fcntl.F_ADD_SEALS, seals)
        return made[-1]

    yield make
    for fd in made:
        os.close(fd)


@pytest.mark.parametrize("seals", [SEALED, 0])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_guest_and_section_see_each_others_stores_and_nobody_is_called(
    machine: Machine, recording: Recording, memfd: Make, seals: int, size: int
) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    fd = memfd(4, seals)
    since = len(recording)
    assert device.section(fd, page=2, pages=3, file_page=1) == S_OK
    value = 0x8877665544332211 & ones(size)
    assert machine.write(PLACE + 2 * PAGE + 0x18, 0x8877665544332211, size) == S_OK
    assert os.pread(fd, size, PAGE + 0x18) == value.to_bytes(size, "little")
    os.pwrite(fd, b"\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8", 4 * PAGE - 8)
    assert machine.read(PLACE + 5 * PAGE - 8, size) == (S_OK, 0xF8F7F6F5F4F3F2F1 & ones(size))
    assert device.names() == []
    assert pairs(recording.rows(since=since), "kind", "origin", "bar", "address", "value", "status") == [
        (lib.HDVLAB_SECTION_MAP, lib.HDVLAB_DEVICE, 0, 2 * PAGE, 3 * PAGE, S_OK)
    ]


def test_pages_around_a_section_are_intercepted(machine: Machine, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR, 0xFFFF0000)))
    assert device.section(memfd(), page=1, pages=2) == S_OK
    for address in (PLACE + PAGE - 4, PLACE + 3 * PAGE, PLACE + 0x10_0000 + PAGE):
        assert machine.write(address, 1) == S_OK
    assert machine.write(PLACE + PAGE - 2, 0x44332211) == S_OK  # one half here, one there
    assert [call[1:4] for call in device.calls] == [(0, PAGE - 4, 4), (0, 3 * PAGE, 4), (1, PAGE, 4), (0, PAGE - 2, 2)]
    assert machine.read(PLACE + PAGE, 2) == (S_OK, 0x4433)


@pytest.mark.embedded_only("accesses to a section over there leave no rows here")
@pytest.mark.parametrize("seals", [SEALED, 0])
def test_a_section_that_is_not_writable_refuses_writes_and_says_so(
    machine: Machine, recording: Recording, memfd: Make, seals: int
) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    fd = memfd(1, seals)
    os.pwrite(fd, b"\x77", 0)
    assert device.section(fd, flags=0) == S_OK
    assert machine.write(PLACE, 1) == HResult.E_ACCESSDENIED
    assert machine.read(PLACE) == (S_OK, 0x77)
    assert os.pread(fd, 1, 0) == b"\x77"
    assert device.names() == []
    row = recording.rows()[-1]
    assert (row["kind"], row["address"], row["status"]) == (lib.HDVLAB_MMIO_WRITE, 0, HResult.E_ACCESSDENIED)


@pytest.mark.parametrize("record", [False, True])
def test_accesses_are_rows_on_request(recording: Recording, memfd: Make, record: bool) -> None:
    machine = Machine(recording, record_sections=record)
    device = machine.running(CallbackDevice((BAR,)))
    assert device.section(memfd(), page=1) == S_OK
    since = len(recording)
    machine.write(PLACE + PAGE + 8, 0x99)
    machine.read(PLACE + PAGE + 8)
    rows = recording.rows(since=since)
    expected = [(kind, PAGE + 8, 4, 0x99, S_OK) for kind in (lib.HDVLAB_MMIO_WRITE, lib.HDVLAB_MMIO_READ)]
    assert pairs(rows, "kind", "address", "size", "value", "status") == (expected if record else [])
    machine.close()


@pytest.mark.fault(37)
def test_before_the_guest_runs_and_after_there_are_no_sections(
    machine: Machine, recording: Recording, memfd: Make
) -> None:
    device, fd = CallbackDevice((BAR,)), memfd()
    seen: list[int] = []
    for step in ("initialize", "get_details", "stop", "teardown"):
        device.during[step] = lambda: seen.append(device.section(fd))
    machine.create(device)
    seen.append(device.section(fd))
    machine.add_slot(device)
    machine.start()
    machine.stop()
    seen.append(device.section(fd))
    assert seen == [0x8007139F] * 6
    assert {row["status"] for row in recording.rows(lib.HDVLAB_SECTION_MAP)} == {HResult.ERROR_INVALID_STATE}


def test_a_device_lays_out_its_sections_in_start_and_they_go_when_start_fails(
    machine: Machine, recording: Recording, memfd: Make
) -> None:
    working, failing, fd = CallbackDevice((BAR,)), CallbackDevice((BAR,)), memfd()
    working.during["start"] = lambda: None if working.section(fd) == S_OK else 1 / 0

    def start() -> None:
        assert failing.section(fd) == S_OK
        raise Failure(HResult.E_FAIL)

    failing.during["start"] = start
    machine.running(working)
    assert machine.write(PLACE, 7) == S_OK
    assert os.pread(fd, 1, 0) == b"\x07"
    machine.create(failing)
    assert machine.add_slot(failing, 1) == HResult.E_FAIL
    kinds = (lib.HDVLAB_SECTION_MAP, lib.HDVLAB_SECTION_UNMAP)
    assert pairs(recording.rows(*kinds), "kind", "device") == [(kinds[0], 0), (kinds[0], 1), (kinds[1], 1)]


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("bar", "page", "pages", "flags", "file_page", "expected"),
    [
        (0, 0, 4, 1, 0, S_OK),
        (0, 12, 4, 3, 0, S_OK),
        (0, 0, 0, 1, 0, INVALID),
        (0, 0, 17, 1, 0, INVALID),
        (0, 13, 4, 1, 0, INVALID),
        (0, 16, 1, 1, 0, INVALID),
        (0, (1 << 64) - 1, 1, 1, 0, INVALID),
        (0, 1, (1 << 64) - 1, 1, 0, INVALID),
        (0, (1 << 52) + 1, 1, 1, 0, INVALID),  # times 4096 it would be page 1
        (0, 0, 5, 1, 0, INVALID),  # beyond the file
        (0, 0, 4, 1, 1, INVALID),
        (0, 0, 1, 1, (1 << 64) - 1, INVALID),
        (0, 0, 1, 1, 1 << 52, INVALID),
        (0, 0, 1, 4, 0, INVALID),
        (0, 0, 1, -1, 0, INVALID),
        (1, 0, 1, 1, 0, INVALID),  # 256 bytes: no whole page
        (2, 0, 1, 1, 0, INVALID),  # not implemented
        (6, 0, 1, 1, 0, INVALID),
        (-1, 0, 1, 1, 0, INVALID),
        (3, 1 << 51, 1 << 51, 1, (1 << 51) - 1, INVALID),  # a BAR of 2^63 bytes, all of it
        (3, 0, 1 << 51, 1, 1, INVALID),
    ],
)
def test_a_section_is_within_its_bar_and_its_file(
    machine: Machine, memfd: Make, bar: int, page: int, pages: int, flags: int, file_page: int, expected: int
) -> None:
    device = machine.running(CallbackDevice((BAR, 0xFFFFFF00, 0, 0x0000_0004, 0x8000_0000)))
    assert device.section(memfd(), bar, page, pages, flags, file_page) == expected
    assert device.unsection(bar, page) == (S_OK if expected == S_OK else HResult.ERROR_NOT_FOUND)


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("page", "pages", "expected"),
    [
        (4, 4, HResult.ERROR_ALREADY_EXISTS),
        (3, 2, HResult.ERROR_ALREADY_EXISTS),
        (7, 2, HResult.ERROR_ALREADY_EXISTS),
        (5, 1, HResult.ERROR_ALREADY_EXISTS),
        (0, 16, HResult.ERROR_ALREADY_EXISTS),
        (0, 4, S_OK),
        (8, 8, S_OK),
    ],
)
def test_sections_do_not_overlap(machine: Machine, memfd: Make, page: int, pages: int, expected: int) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    fd = memfd(16)
    assert device.section(fd, page=4, pages=4) == S_OK
    assert device.section(fd, page=page, pages=pages) == expected


def test_a_section_ends_by_its_first_page(machine: Machine, recording: Recording, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    assert device.section(memfd(), page=4, pages=4) == S_OK
    for bar, page in ((0, 5), (0, 0), (1, 4), (6, 4), (0, 4 + (1 << 52))):
        assert device.unsection(bar, page) == HResult.ERROR_NOT_FOUND
    assert device.unsection(page=4) == S_OK
    assert device.unsection(page=4) == HResult.ERROR_NOT_FOUND
    row = recording.rows(lib.HDVLAB_SECTION_UNMAP)[-2]
    assert (row["bar"], row["address"], row["value"], row["status"]) == (0, 4 * PAGE, 4 * PAGE, S_OK)
    assert machine.write(PLACE + 4 * PAGE, 1) == S_OK
    assert device.names() == ["write"]


@pytest.mark.embedded_only("accesses to a section over there leave no rows here")
@pytest.mark.fault(28)
@pytest.mark.fault(37)
@pytest.mark.parametrize("kind", ["memfd", "file"])
def test_a_file_that_shrinks_under_its_section_kills_nobody(
    machine: Machine, recording: Recording, memfd: Make, tmp_path: Path, kind: str
) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    if kind == "memfd":
        fd = memfd(4, 0)
    else:
        fd = os.open(tmp_path / "section", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 4 * PAGE)
    assert device.section(fd, pages=4) == S_OK
    os.ftruncate(fd, PAGE + 2)
    assert machine.read(PLACE + PAGE, 2) == (S_OK, 0)
    assert machine.read(PLACE + PAGE) == (HResult.ERROR_NOACCESS, 0xFFFFFFFF)
    assert machine.read(PLACE + 3 * PAGE) == (HResult.ERROR_NOACCESS, 0xFFFFFFFF)
    assert recording.rows()[-1]["status"] == HResult.ERROR_NOACCESS
    if kind == "file":
        os.close(fd)


@pytest.mark.fault(30)
def test_what_is_no_section_is_refused(machine: Machine, memfd: Make, tmp_path: Path) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    reading, writing = os.pipe()
    directory = os.open(tmp_path, os.O_RDONLY)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (reading, directory, null):
        assert device.section(fd) == INVALID
    for fd in (-1, 1 << 20):
        assert device.section(fd) == HResult.E_HANDLE
    for fd in (reading, writing, directory, null):
        os.close(fd)


@pytest.mark.parametrize("seals", [SEALED, 0])
@pytest.mark.parametrize(("mode", "flags", "expected"), [(os.O_RDONLY, 1, 5), (os.O_RDONLY, 0, 0), (os.O_WRONLY, 1, 5)])
def test_a_section_can_do_no_more_than_its_descriptor(
    machine: Machine, memfd: Make, seals: int, mode: int, flags: int, expected: int
) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    fd = os.open(f"/proc/self/fd/{memfd(1, seals)}", mode)
    assert device.section(fd, flags=flags) == (HResult.E_ACCESSDENIED if expected else S_OK)
    os.close(fd)


def test_a_section_sealed_against_writing_is_not_writable(machine: Machine, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    fd = memfd(1, SEALED | fcntl.F_SEAL_WRITE)
    assert device.section(fd, flags=1) == HResult.E_ACCESSDENIED
    assert device.section(fd, flags=0) == S_OK


def test_the_device_may_close_its_own_descriptor(machine: Machine, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    for page, seals in enumerate((SEALED, 0)):
        fd = os.dup(memfd(1, seals))
        assert device.section(fd, page=page) == S_OK
        os.close(fd)
        assert machine.write(PLACE + page * PAGE, 0x42) == S_OK
        assert machine.read(PLACE + page * PAGE) == (S_OK, 0x42)


def test_sections_end_with_the_device_each_with_a_row(machine: Machine, recording: Recording, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    for page in (0, 4):
        assert device.section(memfd(4), page=page, pages=4) == S_OK
    machine.stop()
    ended = recording.rows(lib.HDVLAB_SECTION_UNMAP)
    assert sorted(pairs(ended, "address", "value")) == [(0, 4 * PAGE), (4 * PAGE, 4 * PAGE)]


@pytest.mark.embedded_only("past the bus, an access finds no section over there")
def test_past_the_bus_a_section_takes_aligned_accesses_only(machine: Machine, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    assert device.section(memfd()) == S_OK
    assert machine.poke(device, True, 0, 6, 4, 1)[0] == INVALID
    assert machine.poke(device, False, 0, 6, 4) == (INVALID, 0xFFFFFFFF)
    assert machine.poke(device, True, 0, 8, 8, 5)[0] == S_OK
    assert machine.poke(device, False, 0, 8, 8) == (S_OK, 5)
    assert device.names() == []


def test_a_doorbell_comes_before_the_section_that_it_is_in(machine: Machine, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    fd = memfd()
    assert device.section(fd) == S_OK
    assert device.ring(event, 0, 8, 0, 0x80000000) == S_OK
    assert machine.write(PLACE + 8, 1) == S_OK
    assert os.eventfd_read(event) == 1
    assert os.pread(fd, 4, 8) == bytes(4)
    os.close(event)


def test_a_section_that_comes_and_goes_leaves_every_write_in_one_of_two_places(machine: Machine, memfd: Make) -> None:
    device = machine.running(CallbackDevice((BAR,)))
    fd, count = memfd(1), 4000

    def guest() -> None:
        for number in range(count):
            assert machine.write(PLACE + number % 512 * 8, number + 1, 8) == S_OK

    with Threads() as threads:
        thread = threads.start(guest)
        while thread.is_alive():
            assert device.section(fd) == S_OK
            assert device.unsection() == S_OK
    with mmap.mmap(fd, PAGE) as memory:
        for place in range(512):
            last = max(number + 1 for number in range(place, count, 512))
            written = int.from_bytes(memory[place * 8 : place * 8 + 8], "little")
            called = device.memory.get((0, place * 8), 0)
            assert max(written, called) == last
