"""The embedded machine: RAM, the bus, config space, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessError, GuestMemoryError, HResult
from hdvlab.lab import Plugged
from hdvlab.systems import EmbeddedMachine
from hdvlab.trace.schema import Origin


class Plain(Device):
    vendor_id, device_id = 0x1234, 0x31
    revision_id, prog_if, sub_class, base_class = 0xA1, 0x02, 0x08, 0x01
    sub_vendor_id, sub_system_id = 0x5555, 0x6666

    class bar0(Bar, size=4096):
        FIRST = Register(0x000, reset=0x1111_1111)
        LAST = Register(0xFFC, reset=0x2222_2222)

    def initialize(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def config_written(self, offset: int, value: int) -> None:
        self.seen.append((offset, value))


@pytest.fixture
def plugged(lab: Lab) -> Plugged:
    return lab.plug(Plain)


def test_ram_is_read_and_written_without_rows(lab: Lab, plugged: Plugged) -> None:
    rows = len(lab.trace)
    lab.machine.ram_write(0x1234, b"hello")
    assert lab.machine.ram_read(0x1233, 7) == b"\0hello\0"
    assert lab.machine.read(0x1234, 4, Origin.guest, 0) == (int.from_bytes(b"hell", "little"), 0)
    assert lab.machine.write(0x1234, 1, 0x48, Origin.guest, 0) == 0
    assert lab.machine.ram_read(0x1234, 5) == b"Hello"
    assert len(lab.trace) == rows


def test_ram_that_is_not_there_is_told_with_its_size(lab: Lab, plugged: Plugged) -> None:
    for call in (lambda: lab.machine.ram_read((64 << 20) - 2, 4), lambda: lab.machine.ram_write(64 << 20, b"x")):
        with pytest.raises(GuestMemoryError, match="is not wholly in 0x4000000 bytes of RAM"):
            call()
    for address, size in ((0, -1), (-1, 4), (1 << 64, 4), (0, (64 << 20) + 1)):
        with pytest.raises(AccessError, match="is no range of guest RAM"):
            lab.machine.ram_read(address, size)


@pytest.mark.parametrize("ram", [0, 4096, (1 << 20) + 1, (1 << 40) + 4096])
def test_a_ram_size_that_no_machine_has_is_refused_with_the_limits(ram: int) -> None:
    with pytest.raises(AccessError, match=f"RAM of {ram} bytes: it is whole pages, 1 MiB to 1 TiB"):
        EmbeddedMachine(ram)
    with Lab(ram=ram) as lab, pytest.raises(AccessError, match="whole pages"):
        lab.start()


@pytest.mark.fault(12)
def test_an_access_over_the_end_of_a_bar_is_split_there(lab: Lab, plugged: Plugged) -> None:
    end = plugged.bar0.address + 4096
    value, status = lab.machine.read(end - 2, 4, Origin.guest, 0)
    assert (value, status) == (0xFFFF_2222, HResult.ERROR_NOACCESS.signed)
    lab.machine.write(end - 2, 4, 0, Origin.guest, 0)
    assert plugged.bar0.LAST.read() == 0x0000_2222


@pytest.mark.fault(13)
def test_an_access_that_wraps_or_has_an_odd_size_reaches_nobody(lab: Lab, plugged: Plugged) -> None:
    machine = lab.machine
    assert machine.read((1 << 64) - 4, 8, Origin.guest, 0)[1] == HResult.ERROR_ARITHMETIC_OVERFLOW.signed
    for size in (0, 3, 5, 16):
        assert machine.read(plugged.bar0.address, size, Origin.guest, 0)[1] == HResult.E_INVALIDARG.signed
        assert machine.write(plugged.bar0.address, size, 0, Origin.guest, 0) == HResult.E_INVALIDARG.signed
    assert plugged.bar0.FIRST.read() == 0x1111_1111


@pytest.mark.fault(16)
@pytest.mark.parametrize("bar", [1, 5, 6, 255])
def test_past_the_bus_a_bar_that_is_not_implemented_is_refused_with_a_row(lab: Lab, plugged: Plugged, bar: int) -> None:
    with lab.record() as run:
        value, status = lab.machine.device_access(plugged.handle, False, bar, 0, 4, 0, Origin.user)
    assert (value, status) == (0xFFFF_FFFF, HResult.E_INVALIDARG.signed)
    assert list(run.frame()["status"]) == [HResult.E_INVALIDARG.signed]


def test_a_moved_bar_answers_at_its_new_place_alone(lab: Lab, plugged: Plugged) -> None:
    old = plugged.bar0.address
    plugged.on().config_write(0x10, 0xF000_0000)
    assert lab.machine.read(0xF000_0000, 4, Origin.guest, 0) == (0x1111_1111, 0)
    assert lab.machine.read(old, 4, Origin.guest, 0)[1] == HResult.ERROR_NOACCESS.signed


@pytest.mark.fault(18)
def test_a_bar_that_moves_while_it_is_read_answers_wholly_or_not_at_all(lab: Lab, plugged: Plugged) -> None:
    """One program moves the BAR to and fro, the other reads both places."""
    places = (0xF000_0000, 0xF100_0000)

    def move(guest: Any) -> None:
        for turn in range(400):
            guest["plain"].config_write(0x10, places[turn % 2])

    def read(guest: Any) -> set[int]:
        seen = set()
        while mover.program is not None and mover.program.running:
            for place in places:
                seen.add(guest.bus.read(place, 4, Origin.guest, 0)[0])
        return seen

    mover = lab.run(move, wait=False)
    assert lab.run(read).value <= {0x1111_1111, 0xFFFF_FFFF}
    assert mover.program is not None
    mover.program.result()


# ---- config space ---------------------------------------------------------------------------------------------------


def test_config_space_says_who_the_device_is(plugged: Plugged) -> None:
    function = plugged.on()
    assert function.config_read(0x00) == 0x0031_1234
    assert function.config_read(0x08) == 0x0108_02A1
    assert function.config_read(0x2C) == 0x6666_5555
    assert [function.config_read(offset, 1) for offset in (0, 1, 2, 3)] == [0x34, 0x12, 0x31, 0x00]
    assert function.config_read(0x0E, 1) == 0
    assert len(function.config()) == 256


@pytest.mark.fault(17)
def test_config_space_is_4_kib_and_reads_0_where_nothing_is(lab: Lab, plugged: Plugged) -> None:
    function = plugged.on()
    assert function.config_read(0xFC) == 0
    assert function.config_read(0x100) == 0
    assert function.config_read(0xFFC) == 0
    machine = lab.machine
    for offset, size in ((255, 4), (4096, 4), (2, 4), (0, 8), (1 << 31, 1)):
        value, status = machine.config_read(plugged.slot, offset, size, Origin.guest, 0)
        assert status == HResult.E_INVALIDARG.signed
        assert value == (1 << 8 * min(size, 4)) - 1


def test_writes_reach_only_what_is_writable_and_the_device_is_told_of_each(lab: Lab, plugged: Plugged) -> None:
    function, device = plugged.on(), plugged.device
    assert isinstance(device, Plain)
    device.seen.clear()
    function.config_write(0x00, 0xFFFF_FFFF)
    function.config_write(0x08, 0)
    function.config_write(0x2C, 0)
    function.config_write(0x3C, 0xAB, 1)
    function.config_write(0x0C, 0x40, 1)
    assert function.config_read(0x00) == 0x0031_1234
    assert function.config_read(0x08) == 0x0108_02A1
    assert function.config_read(0x2C) == 0x6666_5555
    assert function.config_read(0x3C, 1) == 0xAB
    assert function.config_read(0x0C, 1) == 0x40
    assert [offset for offset, _ in device.seen] == [0, 8, 0x2C, 0x3C, 0x0C]


def test_looking_at_config_space_leaves_no_row_and_shows_what_the_guest_would_read(lab: Lab, plugged: Plugged) -> None:
    rows = len(lab.trace)
    looked = lab.machine.config_peek(plugged.slot)
    text = plugged.lspci(1)
    assert len(lab.trace) == rows
    assert len(looked) == 4096
    assert looked[:256] == plugged.on().config()
    assert text.startswith("00:01.0")
    assert "1234:0031" in text
    assert "Memory at e0000000" in text


def test_a_config_handler_that_raises_is_a_fault_and_the_lab_goes_on(lab: Lab) -> None:
    class Strict(Plain):
        def config_written(self, offset: int, value: int) -> None:
            if offset == 0x3C:
                raise ValueError("not that")

    lab.plug(Strict)

    def driver(guest: Any) -> int:
        guest["strict"].config_write(0x3C, 1, 1)
        return int(guest["strict"].config_read(0))

    assert lab.run(driver).value == 0x0031_1234
    assert [fault.operation for fault in lab.faults] == ["WriteConfigSpace"]
