"""MSI and MSI-X of a register file: vectors as the guest programmed them, masks, and what is pending meanwhile.

Ref: PCI Local Bus 3.0, sections 6.8.1 (MSI) and 6.8.2 (MSI-X).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from .register_scaffold import ON_WRITE, RegisterDevice, register, running
from .scaffold import BUS_MASTER, MEMORY, PLACE, S_OK, Machine, Recording, ones, pairs

INVALID = HResult.E_INVALIDARG
MSI, MSIX = 0x50, 0x70
ENABLE = 1
WIDE, MASKING = 0x80, 0x100
MSIX_ENABLE, FUNCTION_MASK = 0x8000, 0x4000
TABLE, PBA = 0x800, 0xC00
WINDOW = 0xFEE0_0000
Make = Callable[..., RegisterDevice]


def _msi(control: int) -> dict[int, tuple[int, int, int]]:
    """A capability with the given control bits, enable and granted vectors writable, everything behind it too."""
    config = {MSI: (control << 16 | 0x05, 0x0071 << 16, 0)}
    return config | {MSI + at: (0, 0xFFFFFFFF, 0) for at in range(4, 4 + 8 + 8 * bool(control & MASKING) + 4, 4)}


def _msix(vectors: int, table: int = TABLE, pba: int = PBA) -> dict[int, tuple[int, int, int]]:
    return {MSIX: ((vectors - 1) << 16 | 0x11, 0xC000 << 16, 0), MSIX + 4: (table, 0, 0), MSIX + 8: (pba, 0, 0)}


@pytest.fixture
def make(machine: Machine) -> Iterator[Make]:
    made: list[RegisterDevice] = []

    def make(**description: Any) -> RegisterDevice:
        made.append(RegisterDevice(**description))
        return running(machine, made[-1])

    yield make
    for device in made:
        assert device.close() == S_OK


def _program_msi(machine: Machine, wide: bool, granted: int = 0, data: int = 0x4040, address: int = WINDOW) -> None:
    machine.config_write(0, MSI + 4, 4, address)
    if wide:
        machine.config_write(0, MSI + 8, 4, 0)
    machine.config_write(0, MSI + (12 if wide else 8), 2, data)
    machine.config_write(0, MSI + 2, 2, ENABLE | granted << 4)


def _program_msix(machine: Machine, vector: int, data: int, masked: int = 0, address: int = WINDOW) -> None:
    entry = PLACE + TABLE + 16 * vector
    for at, value in ((0, address & 0xFFFFFFFF), (4, address >> 32), (8, data), (12, masked)):
        assert machine.write(entry + at, value) == S_OK


def _taken(machine: Machine, *vectors: int) -> list[int]:
    """Which of the vectors were delivered; takes one of each."""
    return [vector for vector in vectors if machine.wait_interrupt(vector)[0] == S_OK]


@pytest.mark.fault(31)
def test_without_msi_no_vector_can_be_raised(machine: Machine, make: Make) -> None:
    assert make(bars=(4096,)).raise_vector(0) == HResult.ERROR_INVALID_STATE


@pytest.mark.fault(31)
@pytest.mark.parametrize("kind", ["msi", "msix"])
def test_a_vector_that_is_not_enabled_is_not_raised(machine: Machine, make: Make, kind: str) -> None:
    config = _msi(WIDE) if kind == "msi" else _msix(4)
    device = make(config=config, **{kind: MSI if kind == "msi" else MSIX})
    assert device.raise_vector(0) == HResult.ERROR_INVALID_STATE
    assert device.raise_vector(1 << 31) == HResult.ERROR_INVALID_STATE
    assert _taken(machine, 0, 0x40) == []


@pytest.mark.parametrize("wide", [False, True])
def test_msi_sends_what_the_guest_programmed(machine: Machine, recording: Recording, make: Make, wide: bool) -> None:
    device = make(config=_msi(WIDE * wide), msi=MSI)
    _program_msi(machine, wide, data=0x4142)
    since = len(recording)
    assert device.raise_vector(0) == S_OK
    assert pairs(recording.rows(since=since), "kind", "address", "value", "status") == [
        (lib.HDVLAB_INTERRUPT, WINDOW, 0x4142, S_OK)
    ]
    assert _taken(machine, 0x42) == [0x42]


def test_a_64_bit_msi_address_is_used_in_full(machine: Machine, make: Make) -> None:
    device = make(config=_msi(WIDE), msi=MSI)
    _program_msi(machine, wide=True)
    machine.config_write(0, MSI + 8, 4, 1)
    assert device.raise_vector(0) == HResult.ERROR_NOACCESS


@pytest.mark.fault(31)
@pytest.mark.parametrize("granted", [0, 1, 2, 5, 7])
def test_msi_vectors_are_told_apart_by_the_low_bits_that_were_granted(
    machine: Machine, make: Make, granted: int
) -> None:
    device = make(config=_msi(WIDE), msi=MSI)
    _program_msi(machine, wide=True, granted=granted, data=0x403F)
    count = min(1 << granted, 32)
    base = 0x3F & ~((1 << granted) - 1)
    for vector in range(count):
        assert device.raise_vector(vector) == S_OK
    assert _taken(machine, *range(256)) == sorted({base | vector for vector in range(count)})
    for vector in (count, 32, 255, 0xFFFFFFFF):
        assert device.raise_vector(vector) == INVALID


@pytest.mark.fault(31)
@pytest.mark.parametrize("wide", [False, True])
def test_a_masked_msi_vector_is_pending_until_it_is_unmasked(machine: Machine, make: Make, wide: bool) -> None:
    device = make(config=_msi(MASKING | WIDE * wide), msi=MSI)
    mask = MSI + (16 if wide else 12)
    _program_msi(machine, wide, granted=2, data=0x40)
    machine.config_write(0, mask, 4, 0b1010)
    for vector in (0, 1, 3, 1):
        assert device.raise_vector(vector) == S_OK
    assert machine.config_read(0, mask + 4) == (S_OK, 0b1010)
    assert _taken(machine, 0x40, 0x41, 0x43) == [0x40]
    machine.config_write(0, mask, 1, 0b1000)
    assert _taken(machine, 0x41, 0x43) == [0x41]
    assert _taken(machine, 0x41) == []  # it was pending once, however often it was raised
    assert machine.config_read(0, mask + 4) == (S_OK, 0b1000)
    machine.config_write(0, mask, 4, 0)
    assert _taken(machine, 0x43) == [0x43]
    assert machine.config_read(0, mask + 4) == (S_OK, 0)


@pytest.mark.parametrize("vectors", [1, 4, 64, 65, 128])
def test_the_msix_table_is_reset_masked_and_holds_what_is_written(machine: Machine, make: Make, vectors: int) -> None:
    make(bars=(16384,), config=_msix(vectors, 0x2000, 0x3000), msix=MSIX)
    for vector in {0, vectors - 1}:
        entry = PLACE + 0x2000 + 16 * vector
        assert [machine.read(entry + at)[1] for at in (0, 4, 8, 12)] == [0, 0, 0, 1]
        assert machine.write(entry, 0x1122334455667788, 8) == S_OK
        assert machine.read(entry + 4) == (S_OK, 0x11223344)
        assert machine.read(entry, 8) == (S_OK, 0x1122334455667788)


@pytest.mark.fault(12)
def test_the_msix_windows_end_where_the_vectors_end(machine: Machine, make: Make) -> None:
    device = make(config=_msix(3), msix=MSIX)
    missing = HResult.ERROR_NOT_FOUND
    for offset, size in (
        (TABLE + 48, 4),
        (PBA + 8, 4),
        (TABLE - 4, 4),
        (PBA - 8, 8),
        (TABLE, 2),
        (TABLE + 3, 1),
        (PBA, 1),
    ):
        assert machine.read(PLACE + offset, size) == (missing, ones(size))
        assert machine.write(PLACE + offset, 0, size) == missing
    assert machine.poke(device, False, 0, TABLE + 44, 8) == (missing, ones(8))
    assert machine.poke(device, True, 0, TABLE + 44, 8)[0] == missing
    assert machine.read(PLACE + TABLE + 44) == (S_OK, 1)


def test_the_pending_bits_are_read_only(machine: Machine, make: Make) -> None:
    make(config=_msix(3), msix=MSIX)
    assert machine.write(PLACE + PBA, 0xFF) == HResult.E_ACCESSDENIED
    assert machine.write(PLACE + PBA, 0xFF, 8) == HResult.E_ACCESSDENIED
    assert machine.read(PLACE + PBA, 8) == (S_OK, 0)


@pytest.mark.fault(31)
def test_msix_vectors_are_raised_masked_and_unmasked_one_by_one(machine: Machine, make: Make) -> None:
    device = make(config=_msix(70, pba=0xE00), msix=MSIX)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    _program_msix(machine, 0, 0x40)
    _program_msix(machine, 69, 0x41, masked=1)
    for vector in (0, 69, 69):
        assert device.raise_vector(vector) == S_OK
    assert device.raise_vector(70) == device.raise_vector(0xFFFFFFFF) == INVALID
    assert _taken(machine, 0x40, 0x41) == [0x40]
    assert machine.read(PLACE + 0xE08, 8) == (S_OK, 1 << 5)
    _program_msix(machine, 0, 0x40)  # writing another entry delivers nothing
    assert _taken(machine, 0x41) == []
    assert machine.write(PLACE + TABLE + 16 * 69 + 12, 0) == S_OK
    assert _taken(machine, 0x41) == [0x41]
    assert _taken(machine, 0x41) == []
    assert machine.read(PLACE + 0xE08, 8) == (S_OK, 0)


@pytest.mark.fault(31)
def test_the_function_mask_keeps_all_vectors_pending(machine: Machine, make: Make) -> None:
    device = make(config=_msix(4), msix=MSIX)
    for vector in range(4):
        _program_msix(machine, vector, 0x40 + vector, masked=vector == 3)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE | FUNCTION_MASK)
    for vector in range(4):
        assert device.raise_vector(vector) == S_OK
    assert machine.read(PLACE + PBA) == (S_OK, 0b1111)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    assert _taken(machine, 0x40, 0x41, 0x42, 0x43) == [0x40, 0x41, 0x42]
    assert machine.read(PLACE + PBA) == (S_OK, 0b1000)


def test_while_msix_is_enabled_msi_is_not_used(machine: Machine, make: Make) -> None:
    device = make(config=_msi(WIDE) | _msix(2), msi=MSI, msix=MSIX)
    _program_msi(machine, wide=True, data=0x50)
    _program_msix(machine, 1, 0x41)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    assert device.raise_vector(1) == S_OK
    assert _taken(machine, 0x41, 0x50, 0x51) == [0x41]
    machine.config_write(0, MSIX + 2, 2, 0)
    assert device.raise_vector(0) == S_OK
    assert _taken(machine, 0x41, 0x50) == [0x50]


@pytest.mark.fault(29)
@pytest.mark.parametrize("kind", ["msi", "msix"])
def test_without_bus_mastering_no_message_is_sent(machine: Machine, make: Make, kind: str) -> None:
    config = _msi(WIDE) if kind == "msi" else _msix(4)
    device = make(config=config, **{kind: MSI if kind == "msi" else MSIX})
    if kind == "msi":
        _program_msi(machine, wide=True)
    else:
        _program_msix(machine, 0, 0x40)
        machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    machine.config_write(0, 4, 2, MEMORY)
    assert device.raise_vector(0) == HResult.E_ACCESSDENIED
    machine.config_write(0, 4, 2, MEMORY | BUS_MASTER)
    assert device.raise_vector(0) == S_OK
    assert _taken(machine, 0x40) == [0x40]
    assert _taken(machine, 0x40) == []


@pytest.mark.fault(32)
def test_an_entry_that_points_at_ram_writes_none(machine: Machine, make: Make) -> None:
    device = make(config=_msix(1), msix=MSIX)
    _program_msix(machine, 0, 0x41414141, address=0x1000)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    assert device.raise_vector(0) == HResult.ERROR_NOACCESS
    assert machine.ram_read(0x1000, 4) == (S_OK, bytes(4))


def test_reset_masks_all_vectors_and_forgets_what_was_pending(machine: Machine, make: Make) -> None:
    device = make(config=_msi(MASKING | WIDE) | _msix(4), msi=MSI, msix=MSIX)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    _program_msix(machine, 0, 0x40)
    assert device.raise_vector(1) == S_OK
    assert machine.read(PLACE + PBA) == (S_OK, 0b10)
    machine.config_write(0, MSIX + 2, 2, 0)
    _program_msi(machine, wide=True)
    machine.config_write(0, MSI + 16, 4, 1)
    assert device.raise_vector(0) == S_OK
    assert device.reset() == S_OK
    assert machine.read(PLACE + PBA) == (S_OK, 0)
    assert machine.read(PLACE + TABLE, 8) == (S_OK, 0)
    assert machine.read(PLACE + TABLE + 12) == (S_OK, 1)
    assert device.raise_vector(0) == HResult.ERROR_INVALID_STATE
    _program_msi(machine, wide=True)
    machine.config_write(0, MSI + 16, 4, 0)
    assert _taken(machine, 0x40) == []


@pytest.mark.fault(31)
def test_a_device_that_does_not_run_raises_nothing(machine: Machine) -> None:
    device = RegisterDevice(config=_msi(WIDE), msi=MSI)
    assert device.raise_vector(0) == HResult.ERROR_INVALID_STATE
    running(machine, device)
    _program_msi(machine, wide=True)
    machine.stop()
    assert device.raise_vector(0) == HResult.ERROR_INVALID_STATE
    assert device.close() == S_OK
    assert device.raise_vector(0) == HResult.E_HANDLE


def test_a_handler_may_raise_a_vector_and_the_row_knows_its_cause(
    machine: Machine, recording: Recording, make: Make
) -> None:
    device = make(registers=[register(0, flags=ON_WRITE)], config=_msix(1), msix=MSIX)
    _program_msix(machine, 0, 0x40)
    machine.config_write(0, MSIX + 2, 2, MSIX_ENABLE)
    device.on_write = lambda index, value, old: None if device.raise_vector(0) == S_OK else 1 / 0
    since = len(recording)
    assert machine.write(PLACE, 1) == S_OK
    assert recording.rows(lib.HDVLAB_INTERRUPT)[-1]["cause"] == since


@pytest.mark.parametrize(
    ("vectors", "table", "pba", "expected"),
    [
        (1, 4096 - 16, 0, S_OK),
        (2, 4096 - 16, 0, INVALID),
        (64, 0, 4096 - 8, S_OK),
        (65, 0, 4096 - 8, INVALID),
        (3, 0x100, 0x130, S_OK),
        (3, 0x100, 0x128, INVALID),  # in one another
        (65, 0x108, 0x0F8, S_OK),
        (65, 0x100, 0x0F8, INVALID),
        (1, 0x0001, 0, INVALID),  # BAR 1 is not implemented
        (1, 0, 0x0006, INVALID),
        (1, 0x0007, 0, INVALID),
        (2048, 0, 0, INVALID),
        (1, 0xFFFFFFF8, 0, INVALID),
        (1, 0, 0xFFFFFFF8, INVALID),
    ],
)
def test_the_msix_structures_are_within_their_bars(vectors: int, table: int, pba: int, expected: int) -> None:
    device = RegisterDevice(config=_msix(vectors, table, pba), msix=MSIX)
    assert device.created == expected
    if expected == S_OK:
        assert device.close() == S_OK
