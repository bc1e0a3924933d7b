"""A device's reads and writes of guest memory: bytes, rows, and everything that is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessError, GuestMemoryError, HdvError, HResult, StateError

BASE = 0x20_0000
RAM = 64 << 20


class Mover(Device):
    vendor_id, device_id = 0x1234, 9

    class bar0(Bar):
        GO = Register(0x00)

    @bar0.GO.on_write
    def go(self, value: int) -> None:
        self.dma_write(BASE + 0x1000, self.dma_read(BASE, value))


@pytest.fixture
def device(lab: Lab) -> Device:
    return lab.plug(Mover).device


def last(lab: Lab) -> Any:
    return lab.trace.frame().iloc[-1]


@pytest.mark.parametrize("size", [1, 4, 8, 9, 4096, 70_000])
def test_bytes_arrive_and_the_row_has_them(lab: Lab, device: Device, size: int) -> None:
    data = bytes(np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8))
    device.dma_write(BASE, data)
    assert lab.machine.ram_read(BASE, size) == data
    assert device.dma_read(BASE, size) == data
    frame = lab.trace.frame().tail(2)
    assert list(frame["kind"]) == ["dma_write", "dma_read"]
    assert set(frame["address"]) == {BASE}
    assert set(frame["size"]) == {size}
    assert set(frame["value"]) == {int.from_bytes(data[:8], "little")}
    assert set(frame["origin"]) == {"device"}
    assert set(frame["status"]) == {0}
    assert [lab.trace.payload(int(row)) for row in frame.index] == [data, data]


def test_rows_of_a_transfer_name_the_write_that_led_to_them(lab: Lab) -> None:
    plugged = lab.plug(Mover)
    lab.machine.ram_write(BASE, b"twenty bytes of data")
    with lab.record() as run:
        plugged.bar0.GO.write(20)
    frame = run.frame()
    assert list(frame["kind"]) == ["mmio_write", "dma_read", "dma_write"]
    assert list(frame["cause"]) == [-1, frame.index[0], frame.index[0]]
    assert lab.machine.ram_read(BASE + 0x1000, 20) == b"twenty bytes of data"


@pytest.mark.parametrize(
    "data",
    [bytearray(b"\1\0\0\0\2\0\0\0"), memoryview(b"\1\0\0\0\2\0\0\0"), np.array([1, 2], dtype="<u4"),
     memoryview(np.array([1, 2], dtype="<u4"))],
    ids=["bytearray", "bytes view", "array", "array view"],
)  # fmt: skip
def test_anything_with_bytes_is_written_whole(lab: Lab, device: Device, data: Any) -> None:
    device.dma_write(BASE, data)
    assert lab.machine.ram_read(BASE, 9) == b"\1\0\0\0\2\0\0\0\0"
    assert last(lab)["size"] == 8


def fails(lab: Lab, error: type[HdvError], hresult: HResult, call: Any, *arguments: Any) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    assert caught.value.hresult == hresult
    assert caught.value.symbol == hresult.name
    row = last(lab)
    assert row["status"] == hresult.signed
    assert row["payload"] == -1
    return str(caught.value)


@pytest.mark.fault(21)
@pytest.mark.parametrize("address", [RAM, RAM - 3, 0xC000_0000, 1 << 40, (1 << 64) - 16])
def test_a_range_that_is_not_wholly_ram_is_refused_and_nothing_is_copied(
    lab: Lab, device: Device, address: int
) -> None:
    before = lab.machine.ram_read(RAM - 16, 16)
    message = fails(lab, GuestMemoryError, HResult.ERROR_NOACCESS, device.dma_write, address, b"\xee" * 8)
    assert message.startswith(f"HdvWriteGuestMemory {address:#x}+0x8: the range is not wholly guest RAM")
    fails(lab, GuestMemoryError, HResult.ERROR_NOACCESS, device.dma_read, address, 8)
    assert lab.machine.ram_read(RAM - 16, 16) == before


@pytest.mark.fault(22)
def test_a_range_that_wraps_is_refused_as_such(lab: Lab, device: Device) -> None:
    address = (1 << 64) - 4
    fails(lab, GuestMemoryError, HResult.ERROR_ARITHMETIC_OVERFLOW, device.dma_read, address, 8)
    fails(lab, GuestMemoryError, HResult.ERROR_ARITHMETIC_OVERFLOW, device.dma_write, address, bytes(8))


@pytest.mark.fault(23)
def test_nothing_is_copied_for_no_bytes_and_a_huge_count_costs_no_memory(lab: Lab, device: Device) -> None:
    assert device.dma_read(BASE, 0) == b""
    device.dma_write(1 << 60, b"")
    assert (last(lab)["size"], last(lab)["status"]) == (0, 0)
    fails(lab, GuestMemoryError, HResult.ERROR_NOACCESS, device.dma_read, BASE, (1 << 32) - 1)


@pytest.mark.fault(24)
def test_the_devices_own_bar_and_anothers_are_no_memory(lab: Lab, device: Device) -> None:
    other = lab.plug(Mover, name="other")
    for plugged in (lab["mover"], other):
        fails(lab, GuestMemoryError, HResult.ERROR_NOACCESS, device.dma_write, plugged.bar0.address, bytes(4))


@pytest.mark.fault(29)
def test_without_bus_mastering_nothing_moves_and_the_message_says_what_to_do(lab: Lab, device: Device) -> None:
    function = lab["mover"].on()
    function.enable(memory=True, bus_master=False)
    before = lab.machine.ram_read(BASE, 8)
    message = fails(lab, GuestMemoryError, HResult.E_ACCESSDENIED, device.dma_write, BASE, b"\xee" * 8)
    assert "the driver has not enabled bus mastering (command register bit 2)" in message
    fails(lab, GuestMemoryError, HResult.E_ACCESSDENIED, device.dma_read, BASE, 8)
    assert lab.machine.ram_read(BASE, 8) == before
    function.enable()
    device.dma_write(BASE, b"\xee" * 8)


@pytest.mark.parametrize(("address", "size", "error"), [(-1, 4, GuestMemoryError), (1 << 64, 4, GuestMemoryError),
                                                        (0, -4, AccessError), (0, 1 << 32, AccessError)])  # fmt: skip
def test_numbers_that_no_transfer_has_are_our_own_mistake(
    lab: Lab, device: Device, address: int, size: int, error: type[HdvError]
) -> None:
    rows = len(lab.trace)
    with pytest.raises(error, match="HdvReadGuestMemory"):
        device.dma_read(address, size)
    assert len(lab.trace) == rows


@pytest.mark.fault(42)
def test_a_device_that_is_not_plugged_in_or_off_is_told_so(lab: Lab, device: Device) -> None:
    lab.stop()
    for each in (device, Mover()):
        for call in (lambda each=each: each.dma_read(0, 1), lambda each=each: each.dma_write(0, b"1"),
                     lambda each=each: each.aperture(0, 1), lambda each=each: each.doorbell(0),
                     lambda each=each: each.section(0, 4096), lambda each=each: each.after(0, print),
                     lambda each=each: each.spawn(print), lambda each=each: each.lock):  # fmt: skip
            with pytest.raises(StateError, match="mover is not plugged into a running machine"):
                call()
        assert each.interrupt() is False


def test_memory_above_the_hole_is_reached_by_its_own_addresses() -> None:
    with Lab(ram=(3 << 30) + (1 << 20)) as lab:
        device = lab.plug(Mover).device
        device.dma_write(1 << 32, b"above")
        assert lab.machine.ram_read(1 << 32, 5) == b"above"
        fails(lab, GuestMemoryError, HResult.ERROR_NOACCESS, device.dma_write, (3 << 30) - 2, b"over")
        fails(lab, GuestMemoryError, HResult.ERROR_NOACCESS, device.dma_write, (1 << 32) + (1 << 20) - 2, b"over")
        del device
