"""Config space: what the machine answers itself, what reaches the device, and how narrow writes become dwords.

Ref: PCI Local Bus 3.0, sections 6.1 to 6.2.5; PCI Power Management 1.2; PCI Express 5.0, section 7.5.3.
"""

from __future__ import annotations

import threading

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .scaffold import (
    BUS_MASTER,
    MEMORY,
    PLACE,
    S_OK,
    CallbackDevice,
    Failure,
    Machine,
    Recording,
    Threads,
    happens,
    ones,
    pairs,
)

BAD = (HResult.E_INVALIDARG, 0xFFFFFFFF)
CONFIG = (lib.HDVLAB_CONFIG_READ, lib.HDVLAB_CONFIG_WRITE)


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0x00, 4, 0x11E8_1234),
        (0x02, 2, 0x11E8),
        (0x08, 4, 0xFF00_0007),
        (0x0B, 1, 0xFF),
        (0x0E, 1, 0x00),
        (0x2C, 4, 0xBBBB_AAAA),
        (0x30, 4, 0x0000_0000),
        (0x3D, 1, 0x00),
    ],
)
def test_identity_comes_from_get_details_whatever_the_device_says(
    machine: Machine, offset: int, size: int, expected: int
) -> None:
    device = machine.running(CallbackDevice())
    device.config_read = lambda _: 0xFFFFFFFF
    assert machine.config_read(0, offset, size) == (S_OK, expected)


@pytest.mark.parametrize(("offset", "size"), [(0x40, 4), (0x100, 4), (0xFFC, 4), (0xFFF, 1), (0xFFE, 2), (0x41, 2)])
def test_the_rest_comes_from_the_device(machine: Machine, offset: int, size: int) -> None:
    device = machine.running(CallbackDevice())
    device.config[offset & ~3 : (offset & ~3) + 4] = b"\x11\x22\x33\x44"
    expected = int.from_bytes(device.config[offset : offset + size], "little")
    assert machine.config_read(0, offset, size) == (S_OK, expected)
    assert device.calls == [("config_read", offset & ~3)]


@pytest.mark.embedded_only("what the machine answers itself leaves no row here")
@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("offset", "size"), [(4096, 4), (4095, 2), (4094, 4), (0x41, 4), (0x43, 2), (1 << 31, 4), (0xFFFFFFFF, 1)]
)
def test_a_dword_that_is_none_reaches_no_device_and_does_not_wrap(
    machine: Machine, recording: Recording, offset: int, size: int
) -> None:
    device = machine.running(CallbackDevice())
    since = len(recording)
    assert machine.config_read(0, offset, size) == (HResult.E_INVALIDARG, ones(size))
    assert machine.config_write(0, offset, size, 0xFFFFFFFF) == HResult.E_INVALIDARG
    assert device.calls == []
    rows = recording.rows(since=since)
    assert pairs(rows, "kind", "address", "size", "status") == [
        (kind, offset, size, HResult.E_INVALIDARG) for kind in CONFIG
    ]


@pytest.mark.fault(14)
@pytest.mark.parametrize("size", [0, 3, 5, 8, 0xFFFFFFFF])
def test_a_size_that_no_access_has_is_refused(machine: Machine, size: int) -> None:
    device = machine.running(CallbackDevice())
    assert machine.config_read(0, 0x40, size) == (HResult.E_INVALIDARG, ones(min(size, 4)))
    assert machine.config_write(0, 0x40, size, 1) == HResult.E_INVALIDARG
    assert device.calls == []


@pytest.mark.embedded_only("what the machine answers itself leaves no row here")
@pytest.mark.parametrize("slot", [1, 31, 32, 255, 0xFFFFFFFF])
def test_a_missing_function_reads_all_ones(machine: Machine, recording: Recording, slot: int) -> None:
    machine.running(CallbackDevice())
    since = len(recording)
    assert machine.config_read(slot, 0, 2) == (HResult.ERROR_NOT_FOUND, 0xFFFF)
    assert machine.config_write(slot, 4, 2, 6) == HResult.ERROR_NOT_FOUND
    rows = recording.rows(since=since)
    assert pairs(rows, "kind", "device", "address", "size", "value") == [
        (CONFIG[0], lib.HDVLAB_NO_DEVICE, slot << 15, 2, 0xFFFF),
        (CONFIG[1], lib.HDVLAB_NO_DEVICE, slot << 15 | 4, 2, 6),
    ]


@pytest.mark.parametrize(
    ("probed", "place"),
    [
        ((0xFFFFF000,), [0xE0000000]),
        ((0xFFFFFFF0,), [0xE0000010]),
        ((0xFFF00008,), [0xE0000008]),
        ((0xFFFFC00C, 0xFFFFFFFF), [0x1000400C, 0x12]),
        ((0x0000000C, 0xFFFFFFF0), [0x0000000C, 0x40]),  # 64 GiB: no bit of the lower half
        ((0, 0, 0, 0, 0, 0xFFFF0000), [0, 0, 0, 0, 0, 0xE0010000]),
    ],
)
def test_bars_are_sized_by_all_ones_and_keep_their_type_bits(
    machine: Machine, probed: tuple[int, ...], place: list[int]
) -> None:
    machine.running(CallbackDevice(probed), place=False)
    for bar in range(6):
        machine.config_write(0, 0x10 + 4 * bar, 4, 0xFFFFFFFF)
    masks = [machine.config_read(0, 0x10 + 4 * bar)[1] for bar in range(6)]
    assert masks == [*probed, *[0] * (6 - len(probed))]
    for bar, value in enumerate(place):
        machine.config_write(0, 0x10 + 4 * bar, 4, value | 0x0F)
        assert machine.config_read(0, 0x10 + 4 * bar) == (S_OK, (value | 0x0F) & probed[bar] | value & 0xF)


def test_the_type_bits_of_a_bar_are_there_before_it_is_written(machine: Machine) -> None:
    machine.running(CallbackDevice((0xFFFFF008, 0, 0xFFFF000C, 0xFFFFFFFF)), place=False)
    assert [machine.config_read(0, 0x10 + 4 * bar) for bar in range(4)] == [(S_OK, bits) for bits in (8, 0, 0xC, 0)]
    machine.config_write(0, 4, 2, MEMORY)
    assert machine.read(0, 4) == (S_OK, 0)  # RAM: a BAR that nobody placed decodes nowhere


def test_a_64_bit_bar_decodes_above_4_gib_and_goes_by_its_lower_half(machine: Machine) -> None:
    device = machine.running(CallbackDevice((0, 0, 0xFFFFC00C, 0xFFFFFFFF)), place=False)
    machine.place(device, address=0x12_4000_0000)
    device.calls.clear()
    assert machine.read(0x12_4020_0008)[0] == S_OK
    assert machine.read(0x12_4020_4000)[0] == HResult.ERROR_NOACCESS
    assert machine.read(0x4020_0008)[0] == HResult.ERROR_NOACCESS
    assert device.calls == [("read", 2, 8, 4)]


def test_a_bar_can_be_placed_byte_by_byte(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    for at, byte in enumerate(b"\xff\x30\x20\xd0"):
        assert machine.config_write(0, 0x10 + at, 1, byte) == S_OK
    assert machine.config_read(0, 0x10) == (S_OK, 0xD0203000)
    assert machine.read(0xD0203004)[0] == S_OK
    assert device.calls[-1] == ("read", 0, 4, 4)


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    ("command", "decodes"), [(0, False), (MEMORY, True), (BUS_MASTER, False), (MEMORY | BUS_MASTER, True)]
)
def test_the_command_register_gates_decoding(machine: Machine, command: int, decodes: bool) -> None:
    device = machine.running(CallbackDevice())
    machine.config_write(0, 4, 2, command)
    device.calls.clear()
    answer = machine.read(PLACE)
    assert answer == ((S_OK, 0) if decodes else (HResult.ERROR_NOACCESS, 0xFFFFFFFF))
    assert bool(device.calls) is decodes


def test_the_command_register_keeps_only_bits_that_a_device_of_ours_can_have(machine: Machine) -> None:
    machine.running(CallbackDevice())
    machine.config_write(0, 4, 2, 0xFFFF)
    assert machine.config_read(0, 4, 2) == (S_OK, 0x0547)


def test_the_interrupt_line_is_kept_and_there_is_no_pin(machine: Machine) -> None:
    machine.running(CallbackDevice())
    machine.config_write(0, 0x3C, 4, 0xFFFFFF2A)
    assert machine.config_read(0, 0x3C, 2) == (S_OK, 0x002A)


@pytest.mark.parametrize(("offset", "value"), [(0x04, 0x6), (0x10, 0xFFFFFFFF), (0x3C, 9), (0x40, 0xABCD), (0x100, 1)])
def test_every_write_reaches_the_device_also_of_what_the_machine_keeps(
    machine: Machine, offset: int, value: int
) -> None:
    device = machine.running(CallbackDevice())
    machine.config_write(0, offset, 4, value)
    assert device.calls == [("config_write", offset, value)]


@pytest.mark.parametrize(
    ("offset", "size", "value", "dword"),
    [
        (0x40, 1, 0xAA, 0x443322AA),
        (0x41, 1, 0xAA, 0x4433AA11),
        (0x43, 1, 0xAA, 0xAA332211),
        (0x40, 2, 0xBBAA, 0x4433BBAA),
        (0x42, 2, 0xBBAA, 0xBBAA2211),
        (0x41, 2, 0xBBAA, 0x44BBAA11),
        (0x40, 4, 0xDDCCBBAA, 0xDDCCBBAA),
        (0x40, 1, 0xFFFFFFAA, 0x443322AA),
    ],
)
def test_a_narrow_write_is_merged_into_its_dword(
    machine: Machine, offset: int, size: int, value: int, dword: int
) -> None:
    device = machine.running(CallbackDevice())
    device.config[0x40:0x44] = b"\x11\x22\x33\x44"
    assert machine.config_write(0, offset, size, value) == S_OK
    assert device.calls[-1] == ("config_write", 0x40, dword)


#: PM at 0x40 and PCI Express at 0x50, everything that a 1 clears set.
CAPABILITIES = {
    0x34: 0x40,
    0x40: 0x0003_5001,
    0x44: 0xFFFF_FFFF,
    0x50: 0x0002_0010,
    0x58: 0xFFFF_FFFF,
    0x60: 0xFFFF_FFFF,
}


@pytest.mark.parametrize(
    ("offset", "size", "value", "dword"),
    [
        (0x05, 1, 0x04, 0x0000_0406),  # Command: Status (PCI 3.0, 6.2.3) is not written back
        (0x04, 2, 0x0007, 0x0000_0007),
        (0x07, 1, 0xF9, 0xF900_0006),  # Status itself: the guest's own ones go through
        (0x44, 1, 0x03, 0xFFFF_7F03),  # PMCSR: PME_Status
        (0x45, 1, 0x80, 0xFFFF_80FF),
        (0x58, 2, 0x1234, 0x0000_1234),  # Device Control: Device Status
        (0x61, 1, 0x00, 0x0000_00FF),  # Link Control: Link Status
        (0x5A, 2, 0x0001, 0x0001_FFFF),
    ],
)
def test_a_narrow_write_clears_no_status_that_the_guest_did_not_mean(
    machine: Machine, offset: int, size: int, value: int, dword: int
) -> None:
    device = machine.running(CallbackDevice())
    device.config[0x04:0x08] = b"\xff" * 4
    for at, content in CAPABILITIES.items():
        device.config[at : at + 4] = content.to_bytes(4, "little")
    assert machine.config_write(0, offset, size, value) == S_OK
    assert device.calls[-1] == ("config_write", offset & ~3, dword)


@pytest.mark.parametrize(
    ("offset", "size", "value", "dword"),
    [(0x05, 1, 0x04, 0x0406), (0x12, 1, 0x55, 0xE055_0000), (0x3D, 1, 0x01, 0x0000_0123)],
)
def test_a_narrow_write_to_what_the_machine_keeps_shows_the_device_the_machines_bytes(
    machine: Machine, offset: int, size: int, value: int, dword: int
) -> None:
    device = machine.running(CallbackDevice())
    machine.config_write(0, 0x3C, 4, 0x23)
    device.config_read = lambda _: 0  # keeps neither command nor BARs
    assert machine.config_write(0, offset, size, value) == S_OK
    assert device.calls[-1] == ("config_write", offset & ~3, dword)


@pytest.mark.parametrize("pointer", [0x40, 0x43, 0xFF, 0x3C])
def test_a_capability_list_that_goes_round_in_circles_ends(machine: Machine, pointer: int) -> None:
    device = machine.running(CallbackDevice())
    device.config_read = lambda at: pointer << 8 | 0x09 if at != 0x34 else pointer
    assert machine.config_write(0, 0x81, 1, 0) == S_OK
    assert len(device.calls) <= 51


@pytest.mark.embedded_only("the machine over there merges narrow accesses: callbacks and rows are of dwords")
@pytest.mark.parametrize("hresult", [HResult.E_FAIL, HResult.E_NOTIMPL, HResult.E_PENDING])
def test_a_failing_callback_reads_all_ones_and_its_hresult_stands_in_the_row(
    machine: Machine, recording: Recording, hresult: HResult
) -> None:
    device = machine.running(CallbackDevice())

    def fail(*_: int) -> int:
        raise Failure(hresult)

    device.config_read = device.config_write = fail  # type: ignore[assignment]
    expected = HResult.E_UNEXPECTED if hresult == HResult.E_PENDING else hresult
    since = len(recording)
    assert machine.config_read(0, 0x40, 2) == (expected, 0xFFFF)
    assert machine.config_write(0, 0x40, 4, 1) == expected
    assert machine.config_write(0, 0x41, 1, 1) == expected  # cannot be merged
    assert [row["status"] for row in recording.rows(since=since)] == [expected] * 3
    assert device.names()[:3] == ["config_read", "config_write", "config_read"]
    assert "config_write" not in device.names()[3:]


@pytest.mark.embedded_only("the machine over there merges narrow accesses: callbacks and rows are of dwords")
def test_every_access_is_one_row_with_the_guests_own_numbers(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    device.config[0x44:0x48] = b"\x11\x22\x33\x44"
    since = len(recording)
    machine.config_read(0, 0x46, 1, origin=lib.HDVLAB_USER, pc=77)
    machine.config_write(0, 0x46, 1, 0xEE, pc=78)
    read, write = recording.rows(since=since)
    names = ("kind", "origin", "device", "bar", "size", "address", "value", "status", "cause", "payload", "pc")
    assert pairs([read, write], *names) == [
        (lib.HDVLAB_CONFIG_READ, lib.HDVLAB_USER, 0, -1, 1, 0x46, 0x33, 0, -1, -1, 77),
        (lib.HDVLAB_CONFIG_WRITE, lib.HDVLAB_GUEST, 0, -1, 1, 0x46, 0xEE, 0, -1, -1, 78),
    ]
    assert 0 <= read["t_ns"] <= write["t_ns"]


@pytest.mark.embedded_only("the machine over there merges narrow accesses: callbacks and rows are of dwords")
def test_peeking_shows_what_a_guest_would_read_and_leaves_no_row(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    device.config[:] = bytes(i * 7 & 0xFF for i in range(4096))
    since = len(recording)
    hresult, config = machine.config_peek(0)
    assert (hresult, len(recording)) == (S_OK, since)
    read = b"".join(machine.config_read(0, at)[1].to_bytes(4, "little") for at in range(0, 4096, 4))
    assert config == read
    assert machine.config_peek(1)[0] == machine.config_peek(99)[0] == HResult.ERROR_NOT_FOUND


def test_peeking_from_inside_a_callback_is_refused(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    seen: list[int] = []
    device.write = lambda *_: seen.append(machine.config_peek(0)[0])
    machine.write(PLACE, 1)
    assert seen == [HResult.ERROR_INVALID_STATE]


def test_peeking_asks_nobody_who_was_torn_down_while_it_waited(machine: Machine) -> None:
    device, torn_down, proceed = CallbackDevice(), threading.Event(), threading.Event()
    machine.running(device)

    def stop() -> None:
        torn_down.set()
        proceed.wait(0.1)  # long enough for the other thread to wait for the lock, whichever way it ends

    device.during["stop"] = stop
    answers: list[int] = []
    with Threads() as threads:
        threads.start(machine.teardown)
        happens(torn_down)
        threads.start(lambda: answers.append(machine.config_peek(0)[0]))
    assert answers[0] in (HResult.ERROR_INVALID_STATE, HResult.ERROR_NOT_FOUND)
    assert device.names() == ["stop", "teardown"]


@pytest.mark.embedded_only("what the machine answers itself leaves no row here")
@pytest.mark.fault(57)
def test_a_device_that_writes_its_own_config_space_changes_nothing(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    seen: list[int] = []
    device.write = lambda *_: seen.append(machine.config_write(0, 4, 2, 0))
    machine.write(PLACE, 1)
    assert seen == [HResult.ERROR_INVALID_STATE]
    assert machine.config_read(0, 4, 2) == (S_OK, MEMORY | BUS_MASTER)
    assert machine.read(PLACE)[0] == S_OK
    assert recording.rows(lib.HDVLAB_CONFIG_WRITE)[-1]["status"] == HResult.ERROR_INVALID_STATE


def test_a_write_that_times_out_changes_nothing_and_leaves_no_row(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    inside, proceed = threading.Event(), threading.Event()

    def write(*_: int) -> None:
        inside.set()
        happens(proceed)

    device.write = write
    with Threads() as threads:
        threads.start(machine.write, PLACE, 1)
        happens(inside)
        since = len(recording)
        assert machine.config_write(0, 4, 2, 0, wait_ms=1) == HResult.ERROR_BUSY
        assert machine.config_read(0, 4, 2, wait_ms=1) == (HResult.ERROR_BUSY, 0xFFFF)
        assert len(recording) == since
        proceed.set()
    assert machine.config_read(0, 4, 2) == (S_OK, MEMORY | BUS_MASTER)


@pytest.mark.fault(18)
def test_a_bar_that_moves_under_another_threads_accesses_is_at_the_old_place_or_the_new(machine: Machine) -> None:
    device = machine.running(CallbackDevice((0xFFF00000,)))
    places = (0xD000_0000, 0xE000_0000)
    device.read = lambda bar, offset, size: offset | 1
    done = threading.Event()
    served = [0, 0]

    def guest() -> None:
        number = 0
        while not done.is_set():
            number += 1
            which = number & 1
            offset = number * 64 & 0xFFFFC
            hresult, value = machine.read(places[which] + offset)
            assert (hresult, value) in ((S_OK, offset | 1), (HResult.ERROR_NOACCESS, 0xFFFFFFFF))
            served[which] += hresult == S_OK

    with Threads() as threads:
        for _ in range(2):
            threads.start(guest)
        moves = 0
        while moves < 100 or min(served) < 10:
            machine.config_write(0, 4, 2, 0)
            machine.config_write(0, 0x10, 4, 0xFFFFFFFF)
            machine.config_write(0, 0x10, 4, places[moves & 1])
            machine.config_write(0, 4, 2, MEMORY)
            moves += 1
        done.set()
