"""Register files: registers whose bits are served in C, and how an access of any size meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .register_scaffold import NARROW_LOW, ON_READ, ON_WRITE, RegisterDevice, failing, register, running
from .scaffold import PLACE, S_OK, CallbackDevice, Machine, ones

DENIED, MISSING, INVALID = HResult.E_ACCESSDENIED, HResult.ERROR_NOT_FOUND, HResult.E_INVALIDARG
Make = Callable[..., RegisterDevice]


@pytest.fixture
def make(machine: Machine) -> Iterator[Make]:
    """Makes a running device of registers; closes their files in the end."""
    made: list[RegisterDevice] = []

    def make(registers: Any = (), **other: Any) -> RegisterDevice:
        made.append(RegisterDevice(registers, **other))
        return running(machine, made[-1])

    yield make
    for device in made:
        assert device.close() == S_OK


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("access", "read", "write", "stored"),
    [
        ("rw", 0x5A, S_OK, 0x96),
        ("ro", 0x5A, DENIED, 0x5A),
        ("wo", -1, S_OK, 0x96),
        ("w1c", 0x5A, S_OK, 0x48),
        ("w1s", 0x5A, S_OK, 0xDE),
        ("rc", 0x5A, DENIED, 0x00),
    ],
)
def test_bits_behave_as_they_are_described(
    machine: Machine, make: Make, access: str, read: int, write: int, stored: int, size: int
) -> None:
    def everywhere(byte: int) -> int:
        return int.from_bytes(bytes([byte]) * size, "little")

    device = make([register(0, size, access, reset=everywhere(0x5A))])
    assert machine.read(PLACE, size) == (S_OK, ones(size) if read < 0 else everywhere(read))
    assert machine.write(PLACE, everywhere(0x96), size) == write
    assert device.stored(1) == [everywhere(stored)]
    assert device.calls == []


def test_masks_of_one_register_may_differ_bit_by_bit(machine: Machine, make: Make) -> None:
    masks = {
        "read_mask": 0x00FFFFFF,
        "write_mask": 0x000000FF,
        "write_one_to_clear": 0x0000FF00,
        "write_one_to_set": 0x000F0000,
        "read_to_clear": 0x00F00000,
    }
    device = make([register(0, 4, "ro", reset=0x12F0_FF5A) | masks])
    assert machine.read(PLACE) == (S_OK, 0xFFF0_FF5A)
    assert device.stored(1) == [0x1200_FF5A]
    assert machine.write(PLACE, 0xFFFA_0F33) == S_OK
    assert device.stored(1) == [0x120A_F033]


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("access", "offset", "size", "value", "stored"),
    [
        ("rw", 0, 1, 0xAA, 0x443322AA),
        ("rw", 3, 1, 0xAA, 0xAA332211),
        ("rw", 2, 2, 0xBBAA, 0xBBAA2211),
        ("w1c", 1, 1, 0xFF, 0x44330011),
        ("w1s", 1, 1, 0x80, 0x4433A211),
    ],
)
def test_a_narrow_write_touches_its_own_bytes_only(
    machine: Machine, make: Make, access: str, offset: int, size: int, value: int, stored: int
) -> None:
    device = make([register(0, 4, access, reset=0x44332211)])
    assert machine.write(PLACE + offset, value, size) == S_OK
    assert device.stored(1) == [stored]


@pytest.mark.fault(15)
def test_a_narrow_read_clears_only_what_it_showed(machine: Machine, make: Make) -> None:
    device = make([register(0, 4, "rc", reset=0x44332211)])
    assert machine.read(PLACE + 1, 1) == (S_OK, 0x22)
    assert device.stored(1) == [0x44330011]
    assert machine.read(PLACE + 2, 2) == (S_OK, 0x4433)
    assert device.stored(1) == [0x11]


@pytest.mark.fault(15)
def test_a_wide_access_meets_every_register_in_it_and_gaps_read_ones(machine: Machine, make: Make) -> None:
    device = make([register(0, 2, reset=0x1111), register(4, 2, reset=0x2222), register(6, 1, "ro", reset=0x33)])
    assert machine.read(PLACE, 8) == (S_OK, 0xFF332222_FFFF1111)
    assert machine.write(PLACE, 0x8877_6655_4433_2211, 8) == DENIED  # the first that failed; the others took it
    assert device.stored(3) == [0x2211, 0x6655, 0x33]
    assert machine.poke(device, False, 0, 5, 2) == (S_OK, 0x3366)  # past the bus nothing is split
    assert machine.poke(device, True, 0, 1, 4, 0xA4A3_A2A1) == (S_OK, 0xA4A3_A2A1)
    assert device.stored(3) == [0xA111, 0x66A4, 0x33]


@pytest.mark.fault(12)
def test_where_there_is_no_register_reads_are_ones_and_writes_are_dropped(machine: Machine, make: Make) -> None:
    device = make([register(0x10, 4, reset=5)])
    for offset in (0, 0x0C, 0x14, 0xFFC):
        assert machine.read(PLACE + offset) == (MISSING, 0xFFFFFFFF)
        assert machine.write(PLACE + offset, 1) == MISSING
    assert device.stored(1) == [5]


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("sizes", "offset", "size", "taken"),
    [
        (4, 0, 4, True),
        (4, 0, 2, False),
        (4, 0, 8, False),
        (3, 0, 2, True),
        (3, 2, 2, True),
        (3, 0, 4, False),
        (8, 0, 8, True),
    ],
)
def test_a_register_takes_the_sizes_that_it_names(
    machine: Machine, make: Make, sizes: int, offset: int, size: int, taken: bool
) -> None:
    device = make([register(0, 4, reset=0x44332211, sizes=sizes)])
    assert machine.write(PLACE + offset, 0, size) == (S_OK if taken else INVALID)
    assert (device.stored(1) == [0x44332211]) is not taken
    device.values[0] = 0x44332211
    expected = 0x44332211 >> 8 * offset | (0xFFFFFFFF << 32 if size == 8 else 0)
    assert machine.read(PLACE + offset, size) == ((S_OK, expected & ones(size)) if taken else (INVALID, ones(size)))


def test_a_narrow_access_may_stand_for_the_whole_register(machine: Machine, make: Make) -> None:
    narrow = {"flags": NARROW_LOW}
    device = make([register(0, 4, reset=0x44332211, **narrow), register(4, 4, "rc", reset=0x44332211, **narrow)])
    assert machine.write(PLACE, 0xAA, 1) == S_OK
    assert machine.write(PLACE + 1, 0xBB, 1) == INVALID
    assert device.stored(2) == [0xAA, 0x44332211]
    assert machine.read(PLACE + 4, 1) == (S_OK, 0x11)
    assert device.stored(2) == [0xAA, 0]


def test_a_register_with_behaviour_calls_its_author(machine: Machine, make: Make) -> None:
    device = make([register(0), register(4, 4, reset=0x10, flags=ON_READ | ON_WRITE)])
    device.on_read = lambda index, stored: stored + 1
    assert machine.read(PLACE + 4) == (S_OK, 0x11)
    assert machine.write(PLACE + 4, 0x20) == S_OK
    assert machine.write(PLACE + 5, 0xEE, 1) == S_OK
    assert machine.read(PLACE + 4, 2) == (S_OK, 0xEE21)
    assert device.calls == [
        ("read", 1, 0x10),
        ("write", 1, 0x20, 0x10),
        ("write", 1, 0xEE20, 0x20),
        ("read", 1, 0xEE20),
    ]
    assert device.stored(2) == [0, 0xEE20]


def test_a_handler_sees_the_stored_value_changed_already_and_may_change_it_again(machine: Machine, make: Make) -> None:
    device = make([register(0, 4, flags=ON_WRITE)])
    seen: list[int] = []

    def on_write(index: int, value: int, old: int) -> None:
        seen.append(device.values[0])
        device.values[0] = 0x77

    device.on_write = on_write
    machine.write(PLACE, 5)
    assert (seen, device.stored(1)) == ([5], [0x77])


@pytest.mark.parametrize(
    ("access", "value", "told"), [("w1c", 0x0100, 0x0100), ("w1s", 0x0100, 0x0100), ("rw", 0x0100, 0x4433_0111)]
)
def test_a_narrow_write_tells_the_handler_no_ones_that_the_guest_did_not_write(
    machine: Machine, make: Make, access: str, value: int, told: int
) -> None:
    device = make([register(0, 4, access, reset=0x44332211, flags=ON_WRITE)])
    assert machine.write(PLACE + 1, 1, 1) == S_OK
    assert device.calls == [("write", 0, told, 0x44332211)]


@pytest.mark.parametrize("access", ["rw", "w1c", "w1s", "ro"])
def test_a_write_that_its_handler_refuses_is_rolled_back(machine: Machine, make: Make, access: str) -> None:
    device = make([register(0, 4, access, reset=0x0F0F, flags=ON_WRITE)])
    device.on_write = failing(HResult.E_NOTIMPL)
    assert machine.write(PLACE, 0x00FF) == HResult.E_NOTIMPL
    assert device.stored(1) == [0x0F0F]


def test_a_read_that_its_handler_refuses_clears_nothing(machine: Machine, make: Make) -> None:
    device = make([register(0, 4, "rc", reset=5, flags=ON_READ), register(4, 4, reset=6)])
    device.on_read = failing()
    assert machine.read(PLACE) == (HResult.E_ABORT, 0xFFFFFFFF)
    assert machine.read(PLACE, 8) == (HResult.E_ABORT, ones(8))
    assert device.stored(2) == [5, 6]


def test_peeking_has_no_side_effect_and_calls_nobody(machine: Machine, make: Make) -> None:
    device = make([register(0, 4, "rc", reset=0x44332211), register(4, 4, "wo", reset=7, flags=ON_READ, sizes=4)])
    assert device.peek(0, 0, 4) == (S_OK, 0x44332211)
    assert device.peek(0, 4, 1) == (S_OK, 7)  # also what a guest may not read, and in sizes that it may not use
    assert device.peek(0, 0, 8) == (S_OK, 0x0000_0007_4433_2211)
    assert device.peek(0, 3, 3) == (S_OK, 0x000744)
    assert device.stored(2) == [0x44332211, 7]
    assert device.calls == []


@pytest.mark.fault(13)
@pytest.mark.parametrize(
    ("bar", "offset", "size", "expected"),
    [
        (0, 8, 4, MISSING),
        (0, 4093, 4, INVALID),
        (0, (1 << 64) - 1, 4, INVALID),
        (0, 0, 0, INVALID),
        (0, 0, 9, INVALID),
        (0, 0, 0xFFFFFFFF, INVALID),
        (1, 0, 4, INVALID),
        (6, 0, 4, INVALID),
        (0xFFFFFFFF, 0, 4, INVALID),
    ],
)
def test_a_peek_elsewhere_shows_ones(make: Make, bar: int, offset: int, size: int, expected: int) -> None:
    device = make([register(0)])
    assert device.peek(bar, offset, size) == (expected, ones(min(size, 8)))


def test_what_no_register_claims_goes_to_the_bar_where_it_has_behaviour(machine: Machine, make: Make) -> None:
    both = lib.HDVLAB_BAR_ON_READ | lib.HDVLAB_BAR_ON_WRITE
    device = make([register(0)], bars=(4096, 4096), bar_flags=(both, 0))
    assert machine.read(PLACE + 0x20, 4) == (S_OK, 0xB5B5)
    assert machine.read(PLACE + 0x20, 1) == (S_OK, 0xB5)
    assert machine.write(PLACE + 0x22, 0x12345, 2) == S_OK
    assert machine.write(PLACE, 1) == S_OK
    assert machine.read(PLACE + 0x10_0000) == (MISSING, 0xFFFFFFFF)
    assert device.calls == [("bar_read", 0, 0x20, 4), ("bar_read", 0, 0x20, 1), ("bar_write", 0, 0x22, 2, 0x2345)]
    device.on_bar_read = device.on_bar_write = failing()
    assert machine.read(PLACE + 0x20) == (HResult.E_ABORT, 0xFFFFFFFF)
    assert machine.write(PLACE + 0x20, 1) == HResult.E_ABORT


def test_registers_are_found_in_every_bar(machine: Machine, make: Make) -> None:
    registers = [register(offset, 4, bar=bar, reset=bar << 8 | offset) for bar in (0, 2, 5) for offset in (0, 8, 0x40)]
    make(registers, bars=(4096, 0, 65536, 0, 0, 4096))
    for one in registers:
        assert machine.read(PLACE + 0x10_0000 * one["bar"] + one["offset"]) == (S_OK, one["reset"])
    assert machine.read(PLACE + 0x20_0004)[0] == MISSING


def test_reset_gives_every_value_and_the_config_space_back(machine: Machine, make: Make) -> None:
    device = make([register(0, 4, reset=1), register(8, 8, reset=2)], config={0x40: (0x11, 0xFF, 0)})
    machine.write(PLACE, 9)
    machine.write(PLACE + 8, 9, 8)
    machine.config_write(0, 0x40, 1, 9)
    assert device.stored(2) == [9, 9]
    assert device.reset() == S_OK
    assert device.stored(2) == [1, 2]
    assert machine.config_read(0, 0x40) == (S_OK, 0x11)


def test_config_bits_are_written_cleared_by_ones_or_kept(machine: Machine, make: Make) -> None:
    device = make(config={0x40: (0x4433_2211, 0x0000_00FF, 0x00FF_0000), 0xFFC: (0, 0xFFFFFFFF, 0)})
    assert machine.config_write(0, 0x40, 4, 0xFF0F_FFAA) == S_OK
    assert machine.config_read(0, 0x40) == (S_OK, 0x4430_22AA)
    assert machine.config_write(0, 0xFFC, 4, 0x12345678) == S_OK
    assert machine.config_read(0, 0xFFC) == (S_OK, 0x12345678)
    assert device.calls == [("config_written", 0x40, 0xFF0FFFAA), ("config_written", 0xFFC, 0x12345678)]


@pytest.mark.parametrize(
    "wrong",
    [
        [register(0, 3)],
        [register(0, 16)],
        [register(0, 0)],
        [register(2, 4)],
        [register(4096, 4)],
        [register((1 << 64) - 4, 4)],
        [register(0, 4, bar=1)],
        [register(0, 4, bar=6)],
        [register(0), register(0)],
        [register(0, 8), register(4)],
        [register(4), register(0)],
        [register(0, 4, bar=2), register(0, 4)],
    ],
)
def test_a_description_that_cannot_be_is_refused(wrong: list[dict[str, int]]) -> None:
    device = RegisterDevice(wrong, bars=(4096, 0, 4096))
    assert (device.created, bool(device.file)) == (INVALID, False)


@pytest.mark.parametrize(("msi", "msix", "expected"), [(4072, 0, S_OK), (4073, 0, INVALID), (0, 4085, INVALID)])
def test_a_capability_is_within_the_config_space(msi: int, msix: int, expected: int) -> None:
    device = RegisterDevice(msi=msi, msix=msix)
    assert device.created == expected
    if expected == S_OK:
        assert device.close() == S_OK


def test_a_file_is_one_device_at_a_time_and_outlives_its_own_close(machine: Machine) -> None:
    device = RegisterDevice([register(0, reset=7)])
    machine.running(device)
    first = device.handle
    device.instance_id = CallbackDevice.new_instance_id()
    assert device.create(machine.host) == HResult.ERROR_ALREADY_EXISTS
    device.handle = first
    assert device.close() == S_OK
    assert device.close() == device.reset() == HResult.E_HANDLE
    assert machine.read(PLACE) == (S_OK, 7)
    machine.stop()
    assert device.calls[-1] == ("teardown",)


def test_a_file_whose_device_is_gone_can_be_plugged_again(machine: Machine) -> None:
    device = RegisterDevice([register(0, reset=7)])
    machine.running(device)
    machine.remove_slot(0)
    assert device.raise_vector(0) == HResult.ERROR_INVALID_STATE
    device.instance_id = CallbackDevice.new_instance_id()
    assert device.create(machine.host) == S_OK
    assert machine.add_slot(device) == S_OK
    machine.place(device)
    assert machine.read(PLACE) == (S_OK, 7)
    assert device.close() == S_OK


def test_an_instance_that_is_refused_leaves_the_file_free(machine: Machine) -> None:
    device, taken = RegisterDevice([register(0)]), machine.create(CallbackDevice())
    device.instance_id = taken.instance_id
    assert device.create(machine.host) == HResult.ERROR_ALREADY_EXISTS
    assert device.create(machine.system) == HResult.E_HANDLE
    device.instance_id = CallbackDevice.new_instance_id()
    assert device.create(machine.host) == S_OK
    assert device.close() == S_OK


def test_an_author_may_leave_out_what_it_does_not_need(machine: Machine) -> None:
    device = RegisterDevice([register(0, reset=3)], config={0x40: (0, 0xFF, 0)}, told=False)
    machine.running(device)
    assert machine.read(PLACE) == (S_OK, 3)
    assert machine.config_write(0, 0x40, 4, 5) == S_OK
    assert machine.stop() == S_OK
    assert device.close() == S_OK


def test_a_failing_author_fails_the_start(machine: Machine) -> None:
    device = machine.create(RegisterDevice([register(0)]))
    device.during["initialize"] = failing(HResult.E_OUTOFMEMORY)
    machine.add_slot(device)
    assert machine.start() == HResult.E_OUTOFMEMORY
    assert device.names() == ["initialize", "teardown"]
    assert device.close() == S_OK  # type: ignore[attr-defined]
