"""Doorbells: a guest's write that matches signals an event, goes no further, and leaves a row.

Ref: HDV API, HdvRegisterDoorbell; HDV_DOORBELL_FLAGS.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .scaffold import PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code, pairs

BYTE, WORD, DWORD, QWORD = 1, 2, 3, 4
ANY = 0x8000_0000
ANY_SIGNED = 0xFFFF_FFFF_8000_0000  # as a compiler widens it that takes the enumeration for signed


class Event:
    """An eventfd and how often it rang."""

    def __init__(self, initial: int = 0, flags: int = os.EFD_NONBLOCK) -> None:
        self.fd = os.eventfd(initial, os.EFD_CLOEXEC | flags)

    def taken(self) -> int:
        try:
            return os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0


@pytest.fixture
def event() -> Iterator[Event]:
    event = Event()
    yield event
    os.close(event.fd)


@pytest.fixture
def other() -> Iterator[Event]:
    event = Event()
    yield event
    os.close(event.fd)


@pytest.mark.embedded_only("a doorbell that rings over there leaves no row here")
@pytest.mark.parametrize(
    ("flags", "value", "write", "size", "rings"),
    [
        (0, 5, 5, 1, True),
        (0, 5, 5, 4, True),
        (0, 5, 5, 8, True),
        (0, 5, 6, 4, False),
        (DWORD, 5, 5, 4, True),
        (DWORD, 5, 5, 2, False),
        (BYTE, 0xFF, 0x1FF, 1, True),  # what the guest's store has: one byte
        (WORD, 0x1FF, 0x1FF, 2, True),
        (QWORD, (1 << 64) - 1, (1 << 64) - 1, 8, True),
        (DWORD, 1 << 32 | 5, 5, 4, False),
        (ANY, 0, 0x1234, 2, True),
        (ANY, 77, 5, 4, True),
        (ANY | QWORD, 0, 5, 8, True),
        (ANY | QWORD, 0, 5, 4, False),
        (ANY_SIGNED, 0, 0x1234, 2, True),
        (ANY_SIGNED | DWORD, 0, 7, 4, True),
        (ANY_SIGNED | DWORD, 0, 7, 8, False),
    ],
)
def test_size_and_value_decide(
    machine: Machine, recording: Recording, event: Event, flags: int, value: int, write: int, size: int, rings: bool
) -> None:
    device = machine.running(CallbackDevice())
    assert device.ring(event.fd, 0, 0x10, value, flags) == S_OK
    since = len(recording)
    assert machine.write(PLACE + 0x10, write, size) == S_OK
    assert event.taken() == rings
    assert device.names() == ([] if rings else ["write"])
    kind = lib.HDVLAB_DOORBELL if rings else lib.HDVLAB_MMIO_WRITE
    seen = write & ((1 << 8 * size) - 1)
    names = ("kind", "origin", "device", "bar", "address", "size", "value", "status")
    assert pairs(recording.rows(since=since), *names) == [(kind, lib.HDVLAB_GUEST, 0, 0, 0x10, size, seen, S_OK)]


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("strong", "weak"),
    [
        ((5, DWORD), (5, 0)),
        ((5, DWORD), (0, ANY | DWORD)),
        ((5, 0), (0, ANY | DWORD)),  # an exact value beats an exact size
        ((5, 0), (0, ANY)),
        ((0, ANY | DWORD), (0, ANY)),
    ],
)
@pytest.mark.parametrize("strong_first", [False, True])
def test_the_closest_match_rings_alone_whatever_came_first(
    machine: Machine, event: Event, other: Event, strong: tuple[int, int], weak: tuple[int, int], strong_first: bool
) -> None:
    device = machine.running(CallbackDevice())
    registered = [(event, strong), (other, weak)]
    for ringer, (value, flags) in registered if strong_first else reversed(registered):
        assert device.ring(ringer.fd, 0, 0, value, flags) == S_OK
    assert machine.write(PLACE, 5) == S_OK
    assert (event.taken(), other.taken()) == (1, 0)
    assert device.unring(0, 0, *strong) == S_OK
    assert machine.write(PLACE, 5) == S_OK
    assert (event.taken(), other.taken()) == (0, 1)


def test_reads_and_other_places_do_not_ring(machine: Machine, event: Event) -> None:
    device = CallbackDevice((0xFFFFF000, 0xFFFFF000))
    machine.running(device)
    assert device.ring(event.fd, 0, 0x10, 0, ANY) == S_OK
    machine.read(PLACE + 0x10)
    machine.write(PLACE + 0x14, 1)
    machine.write(PLACE + 0x0C, 1, 8)  # straddles: two pieces, of which one is at the place
    machine.write(PLACE + 0x10_0010, 1)
    assert event.taken() == 1
    assert [call[:3] for call in device.calls] == [
        ("read", 0, 0x10),
        ("write", 0, 0x14),
        ("write", 0, 0x0C),
        ("write", 1, 0x10),
    ]


@pytest.mark.fault(36)
def test_registering_is_a_row_and_once(machine: Machine, recording: Recording, event: Event) -> None:
    device = machine.running(CallbackDevice())
    exists, missing = HResult.ERROR_ALREADY_EXISTS, HResult.ERROR_NOT_FOUND
    since = len(recording)
    assert device.unring(0, 8, 5, DWORD) == missing
    assert device.ring(event.fd, 0, 8, 5, DWORD) == S_OK
    assert device.ring(event.fd, 0, 8, 5, DWORD) == exists
    for unknown in ((0, 4, 5, DWORD), (0, 8, 6, DWORD), (0, 8, 5, WORD), (0, 8, 5, DWORD | ANY), (1, 8, 5, DWORD)):
        assert device.unring(*unknown) == missing
    assert device.unring(0, 8, 5, DWORD) == S_OK
    assert device.unring(0, 8, 5, DWORD) == missing
    rows = recording.rows(since=since)
    register, unregister = lib.HDVLAB_DOORBELL_REGISTER, lib.HDVLAB_DOORBELL_UNREGISTER
    assert pairs(rows, "kind", "status")[:3] == [(unregister, missing), (register, S_OK), (register, exists)]
    assert pairs(rows, "kind", "origin", "bar", "address", "value", "status")[-2:] == [
        (unregister, lib.HDVLAB_DEVICE, 0, 8, 5, S_OK),
        (unregister, lib.HDVLAB_DEVICE, 0, 8, 5, missing),
    ]
    assert len(rows) == 10


def test_any_value_has_no_value_and_either_form_of_its_flag_names_it(machine: Machine, event: Event) -> None:
    device = machine.running(CallbackDevice())
    assert device.ring(event.fd, 0, 0, 5, ANY) == S_OK
    assert device.ring(event.fd, 0, 0, 6, ANY_SIGNED) == HResult.ERROR_ALREADY_EXISTS
    assert device.unring(0, 0, 7, ANY_SIGNED) == S_OK
    machine.write(PLACE, 1)
    assert (event.taken(), device.names()) == (0, ["write"])


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("bar", "offset", "flags", "expected"),
    [
        (0, 0xFFC, DWORD, S_OK),
        (0, 0xFFD, DWORD, HResult.E_INVALIDARG),
        (0, 0xFFF, BYTE, S_OK),
        (0, 0xFFF, 0, S_OK),
        (0, 0x1000, 0, HResult.E_INVALIDARG),
        (0, 0xFF8, QWORD, S_OK),
        (0, 0xFF9, QWORD, HResult.E_INVALIDARG),
        (0, (1 << 64) - 1, DWORD, HResult.E_INVALIDARG),
        (1, 0, 0, HResult.E_INVALIDARG),
        (6, 0, 0, HResult.E_INVALIDARG),
        (-1, 0, 0, HResult.E_INVALIDARG),
        (0, 0, 5, HResult.E_INVALIDARG),
        (0, 0, 0x4000_0000, HResult.E_INVALIDARG),
        (0, 0, ANY | 8, HResult.E_INVALIDARG),
    ],
)
def test_a_doorbell_is_within_its_bar(
    machine: Machine, recording: Recording, event: Event, bar: int, offset: int, flags: int, expected: int
) -> None:
    device = machine.running(CallbackDevice())
    assert device.ring(event.fd, bar, offset, 0, flags) == expected
    row = recording.rows(lib.HDVLAB_DOORBELL_REGISTER)[-1]
    assert (row["bar"], row["address"], row["status"]) == (bar if 0 <= bar < 6 else -1, offset, expected)


@pytest.mark.parametrize("moment", ["created", "initialize", "start"])
def test_a_doorbell_may_be_registered_before_the_guest_runs(machine: Machine, event: Event, moment: str) -> None:
    device = CallbackDevice()
    seen: list[int] = []
    device.during[moment] = lambda: seen.append(device.ring(event.fd, 0, 0, 0, ANY))
    machine.create(device)
    if moment == "created":
        device.during.pop(moment)()
    machine.add_slot(device)
    machine.start()
    machine.place(device)
    assert seen == [S_OK]
    assert machine.write(PLACE, 1) == S_OK
    assert event.taken() == 1


def test_unregistering_in_teardown_works_and_afterwards_nothing_is_registered(machine: Machine, event: Event) -> None:
    device = machine.running(CallbackDevice())
    device.ring(event.fd, 0, 0, 0, ANY)
    device.ring(event.fd, 0, 4, 0, ANY)
    seen: list[int] = []
    device.during["stop"] = lambda: seen.append(device.ring(event.fd, 0, 8, 0, ANY))
    device.during["teardown"] = lambda: seen.append(device.unring(0, 0, 0, ANY))
    machine.stop()
    seen += [device.ring(event.fd, 0, 8, 0, ANY), device.unring(0, 4, 0, ANY)]
    invalid = HResult.ERROR_INVALID_STATE
    assert seen == [invalid, S_OK, invalid, HResult.ERROR_NOT_FOUND]
    assert machine.poke(device, True, 0, 4, 4, 1)[0] == invalid
    assert event.taken() == 0


@pytest.mark.fault(35)
def test_the_device_may_close_its_own_descriptor(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    event = Event()
    kept = os.dup(event.fd)
    assert device.ring(event.fd, 0, 0, 0, ANY) == S_OK
    os.close(event.fd)
    with open("/dev/null", "rb") as innocent:  # now has the number that the event had
        assert machine.write(PLACE, 1) == S_OK
        assert innocent.read() == b""
    assert os.eventfd_read(kept) == 1
    os.close(kept)


@pytest.mark.embedded_only("a doorbell that rings over there leaves no row here")
@pytest.mark.fault(35)
@pytest.mark.parametrize("flags", [0, os.EFD_NONBLOCK])
def test_a_full_event_keeps_no_guest_waiting(machine: Machine, recording: Recording, flags: int) -> None:
    device = machine.running(CallbackDevice())
    event = Event(flags=flags)
    os.eventfd_write(event.fd, (1 << 64) - 2)
    assert device.ring(event.fd, 0, 0, 0, ANY) == S_OK
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
    assert os.eventfd_read(event.fd) == (1 << 64) - 2
    assert recording.rows()[-1]["kind"] == lib.HDVLAB_DOORBELL
    assert device.names() == []
    os.close(event.fd)


@pytest.mark.fault(35)
def test_only_an_event_can_be_rung(machine: Machine, tmp_path: Path) -> None:
    device = machine.running(CallbackDevice())
    left, right = socket.socketpair()
    reading, writing = os.pipe()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    for fd in (-1, 1 << 20, left.fileno(), writing, reading, file):
        assert device.ring(fd, 0, 0, 0, ANY) == HResult.E_HANDLE
    for fd in (reading, writing, file):
        os.close(fd)
    left.close()
    right.close()
    assert machine.write(PLACE, 1) == S_OK
    assert device.names() == ["write"]


def test_a_device_has_4096_doorbells_and_the_host_as_many_descriptors(machine: Machine, event: Event) -> None:
    import resource

    device = machine.running(CallbackDevice())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard >= 8192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, hard))
    try:
        registered = 0
        while (hresult := device.ring(event.fd, 0, 0, registered, 0)) == S_OK:
            registered += 1
        assert hresult == HResult.ERROR_NOT_ENOUGH_QUOTA
        assert registered == 4096 or registered < hard
        assert machine.write(PLACE, registered - 1) == S_OK
        assert event.taken() == 1
        assert device.unring(0, 0, 0, 0) == S_OK
        assert device.ring(event.fd, 0, 0, registered, 0) == S_OK
        machine.teardown()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.embedded_only("a doorbell that rings over there leaves no row here")
def test_each_value_of_one_place_has_its_own_doorbell(machine: Machine, recording: Recording) -> None:
    """As virtio's queue index: the value says which queue."""
    device = machine.running(CallbackDevice())
    events = [Event() for _ in range(4)]
    for value, event in enumerate(events):
        assert device.ring(event.fd, 0, 0x10, value, WORD) == S_OK
    since = len(recording)
    for value in (2, 0, 2, 4):
        assert machine.write(PLACE + 0x10, value, 2) == S_OK
    assert [event.taken() for event in events] == [1, 0, 2, 0]
    assert device.calls == [("write", 0, 0x10, 2, 4)]
    assert device.unring(0, 0x10, 2, WORD) == S_OK
    assert machine.write(PLACE + 0x10, 2, 2) == S_OK
    assert [event.taken() for event in events] == [0] * 4
    kinds = [lib.HDVLAB_DOORBELL] * 3 + [lib.HDVLAB_MMIO_WRITE, lib.HDVLAB_DOORBELL_UNREGISTER, lib.HDVLAB_MMIO_WRITE]
    assert pairs(recording.rows(since=since), "kind") == [(kind,) for kind in kinds]
    for event in events:
        os.close(event.fd)


def test_a_doorbell_rings_while_the_device_serves_another_access(machine: Machine, event: Event) -> None:
    """It needs neither the device's turn nor its code."""
    device = machine.running(CallbackDevice())
    assert device.ring(event.fd, 0, 0x10, 0, ANY) == S_OK
    rung: list[tuple[int, int]] = []

    def read(*_: int) -> int:
        with Threads() as threads:
            threads.start(lambda: rung.append((machine.write(PLACE + 0x10, 1), event.taken())))
        rung.append((machine.write(PLACE + 0x10, 1), event.taken()))  # nor does its own ring count as re-entry
        return 0

    device.read = read
    assert machine.read(PLACE)[0] == S_OK
    assert rung == [(S_OK, 1)] * 2


def test_a_doorbell_comes_before_the_section_under_it(machine: Machine, event: Event) -> None:
    device = machine.running(CallbackDevice((0xFFFFE000,)))
    memory = os.memfd_create("section", os.MFD_CLOEXEC)
    os.ftruncate(memory, 8192)
    assert device.section(memory, pages=2) == S_OK
    assert device.ring(event.fd, 0, 0x10, 5, DWORD) == device.ring_page(event.fd, page=1) == S_OK
    for offset, value in ((0x10, 5), (0x10, 6), (0x14, 7), (0x1020, 8)):
        assert machine.write(PLACE + offset, value) == S_OK
    assert event.taken() == 2
    assert os.pread(memory, 8, 0x10) == bytes([6, 0, 0, 0, 7, 0, 0, 0])
    assert os.pread(memory, 4, 0x1020) == bytes(4)
    assert machine.read(PLACE + 0x1020) == (S_OK, 0)  # reads are the section's all the same
    assert device.names() == []
    os.close(memory)


# ---- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.embedded_only("a doorbell that rings over there leaves no row here")
@pytest.mark.parametrize(
    ("offset", "value", "size", "rings"),
    [
        (0x1000, 0, 1, True),
        (0x1FFF, 0xFF, 1, True),
        (0x1800, 0x1234, 2, True),
        (0x1FF8, (1 << 64) - 1, 8, True),
        (0x0FF8, 1, 8, False),
        (0x0FFF, 1, 1, False),
        (0x2000, 1, 4, False),
    ],
)
def test_any_write_to_a_page_rings_its_doorbell(
    machine: Machine, recording: Recording, event: Event, offset: int, value: int, size: int, rings: bool
) -> None:
    device = machine.running(CallbackDevice((0xFFFFC000,)))
    assert device.ring_page(event.fd, 0, 1) == S_OK
    since = len(recording)
    assert machine.write(PLACE + offset, value, size) == S_OK
    assert event.taken() == rings
    assert device.names() == ([] if rings else ["write"])
    kind = lib.HDVLAB_DOORBELL if rings else lib.HDVLAB_MMIO_WRITE
    names = ("kind", "origin", "device", "bar", "address", "size", "value", "status")
    assert pairs(recording.rows(since=since), *names) == [(kind, lib.HDVLAB_GUEST, 0, 0, offset, size, value, S_OK)]
    machine.read(PLACE + offset, size)
    assert device.names()[-1] == "read"


@pytest.mark.fault(36)
@pytest.mark.parametrize("exact", [(5, DWORD), (5, 0), (0, ANY | DWORD), (0, ANY)])
@pytest.mark.parametrize("page_first", [False, True])
def test_a_doorbell_of_a_place_takes_its_writes_from_the_page(
    machine: Machine, event: Event, other: Event, exact: tuple[int, int], page_first: bool
) -> None:
    device = machine.running(CallbackDevice())
    for page in (True, False) if page_first else (False, True):
        hresult = device.ring_page(other.fd) if page else device.ring(event.fd, 0, 0x20, *exact)
        assert hresult == S_OK
    assert machine.write(PLACE + 0x20, 5) == machine.write(PLACE + 0x24, 5) == S_OK
    assert (event.taken(), other.taken()) == (1, 1)
    assert device.unring(0, 0x20, *exact) == S_OK
    assert machine.write(PLACE + 0x20, 5) == S_OK
    assert (event.taken(), other.taken()) == (0, 1)
    assert device.unring_page() == S_OK
    assert machine.write(PLACE + 0x20, 5) == S_OK
    assert (event.taken(), other.taken(), device.names()) == (0, 0, ["write"])


@pytest.mark.fault(36)
def test_a_page_is_registered_once_and_apart_from_the_places_in_it(
    machine: Machine, recording: Recording, event: Event
) -> None:
    device = machine.running(CallbackDevice((0xFFFFE000,)))
    exists, missing = HResult.ERROR_ALREADY_EXISTS, HResult.ERROR_NOT_FOUND
    since = len(recording)
    assert [device.unring_page(0, 1), device.ring_page(event.fd, 0, 1), device.ring_page(event.fd, 0, 1)] == [
        missing,
        S_OK,
        exists,
    ]
    assert device.ring(event.fd, 0, 0x1000, 0, ANY) == device.ring_page(event.fd, 0, 0) == S_OK
    assert device.unring(0, 0x1000, 0, 0) == device.unring(0, 0x1000, 0, 0x4000_0000) == missing
    assert [
        device.unring_page(bar, page) for bar, page in ((1, 1), (0, 2), (6, 0), (0, 1 << 52), (0, 1 | 1 << 52))
    ] == [missing] * 5
    assert [device.unring_page(0, 1), device.unring_page(0, 1)] == [S_OK, missing]
    register, unregister = lib.HDVLAB_DOORBELL_REGISTER, lib.HDVLAB_DOORBELL_UNREGISTER
    rows = recording.rows(register, unregister, since=since)
    assert pairs(rows, "kind", "origin", "bar", "address", "size", "status")[:3] == [
        (unregister, lib.HDVLAB_DEVICE, 0, 0x1000, 0x1000, missing),
        (register, lib.HDVLAB_DEVICE, 0, 0x1000, 0x1000, S_OK),
        (register, lib.HDVLAB_DEVICE, 0, 0x1000, 0x1000, exists),
    ]
    assert len(rows) == 14


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("bar", "page", "expected"),
    [
        (0, 1, S_OK),
        (0, 2, HResult.E_INVALIDARG),
        (1, 0, S_OK),  # a BAR smaller than a page: the part of the page that there is
        (1, 1, HResult.E_INVALIDARG),
        (2, 0, HResult.E_INVALIDARG),
        (6, 0, HResult.E_INVALIDARG),
        (-1, 0, HResult.E_INVALIDARG),
        (0, 1 << 52, HResult.E_INVALIDARG),
        (0, (1 << 52) - 1, HResult.E_INVALIDARG),
        (0, (1 << 64) - 1, HResult.E_INVALIDARG),
    ],
)
def test_a_doorbell_page_is_one_of_its_bar(machine: Machine, event: Event, bar: int, page: int, expected: int) -> None:
    device = machine.running(CallbackDevice((0xFFFFE000, 0xFFFFFF00)))
    assert device.ring_page(event.fd, bar, page) == expected


@pytest.mark.fault(36)
def test_pages_share_the_rules_of_doorbells(machine: Machine, event: Event) -> None:
    device = machine.running(CallbackDevice())
    reading, writing = os.pipe()
    for fd in (-1, 1 << 20, writing, reading):
        assert device.ring_page(fd) == HResult.E_HANDLE
    os.close(reading)
    os.close(writing)
    seen: list[int] = []
    device.ring_page(event.fd)
    device.during["stop"] = lambda: seen.append(device.ring_page(event.fd))
    device.during["teardown"] = lambda: seen.append(device.unring_page())
    machine.stop()
    seen += [device.ring_page(event.fd), device.unring_page()]
    invalid = HResult.ERROR_INVALID_STATE
    assert seen == [invalid, S_OK, invalid, HResult.ERROR_NOT_FOUND]
    machine.teardown()
    assert device.ring_page(event.fd) == device.unring_page() == HResult.E_HANDLE
    assert event.taken() == 0


def test_a_doorbell_that_comes_and_goes_never_loses_a_write(machine: Machine, event: Event) -> None:
    device = machine.running(CallbackDevice())
    count = 3000

    def guest() -> None:
        for number in range(count):
            assert machine.write(PLACE, number) == S_OK

    with Threads() as threads:
        thread = threads.start(guest)
        while thread.is_alive():
            assert device.ring(event.fd, 0, 0, 0, ANY) == S_OK
            assert device.unring(0, 0, 0, ANY) == S_OK
    assert event.taken() + len(device.calls) == count


@pytest.mark.embedded_only("a doorbell that rings over there leaves no row here")
def test_a_doorbell_knows_the_row_that_rang_it_last(machine: Machine, recording: Recording, event: Event) -> None:
    device = machine.running(CallbackDevice())
    row = ffi.new("int64_t *", 7)
    where = (device.handle, 0, 0x10, 0, ANY)
    assert code(lib.hdvlab_doorbell_row(*where, row)) == HResult.ERROR_NOT_FOUND
    assert device.ring(event.fd, 0, 0x10, 0, ANY) == S_OK
    assert (code(lib.hdvlab_doorbell_row(*where, row)), row[0]) == (S_OK, -1)
    for value in (1, 2):
        assert machine.write(PLACE + 0x10, value) == S_OK
        assert (code(lib.hdvlab_doorbell_row(*where, row)), row[0]) == (S_OK, len(recording) - 1)
