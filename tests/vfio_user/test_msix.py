"""MSI-X: QEMU keeps the real table; the device has one of the server's, whose entries say the vector."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice
from .client import CONFIG, EVENTFD, MSIX, NONE, TRIGGER, Client
from .served import MessageDevice, Vm, event, fired, silent

ENABLE, FUNCTION_MASK = 0x8000, 0x4000


@pytest.fixture
def device() -> MessageDevice:
    return MessageDevice()


@pytest.fixture
def events(client: Client) -> Iterator[list[int]]:
    """As QEMU does it: enabled without a vector, then one event for each vector that the guest unmasks."""
    events = [event() for _ in range(5)]
    client.store(CONFIG, 0x62, ENABLE, 2)
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1)
    yield events
    for fd in events:
        os.close(fd)


def unmask(client: Client, vector: int, fd: int) -> None:
    client.set_irqs(EVENTFD | TRIGGER, MSIX, vector, 1, [fd])


def pending(client: Client) -> int:
    """The pending bits as QEMU forwards them."""
    return client.load(2, 0x1000, 8)


def test_each_vector_finds_its_event(client: Client, vm: Vm, device: MessageDevice, events: list[int]) -> None:
    for vector, fd in enumerate(events):
        unmask(client, vector, fd)
    assert vm.state().interrupt_mode == 17
    for vector, fd in enumerate(events):
        assert device.raise_vector(vector) == S_OK
        assert fired(fd) == 1
        assert all(silent(other) for other in events)
    assert pending(client) == 0


@pytest.mark.fault(31)
def test_a_vector_without_an_event_is_pending_until_it_gets_one(
    client: Client, device: MessageDevice, events: list[int]
) -> None:
    unmask(client, 0, events[0])
    assert device.raise_vector(3) == S_OK
    assert pending(client) == 1 << 3
    assert all(silent(fd) for fd in events)
    unmask(client, 3, events[3])
    assert fired(events[3]) == 1
    assert pending(client) == 0


@pytest.mark.fault(31)
def test_the_function_mask_holds_vectors_back(client: Client, device: MessageDevice, events: list[int]) -> None:
    unmask(client, 1, events[1])
    client.store(CONFIG, 0x62, ENABLE | FUNCTION_MASK, 2)
    assert device.raise_vector(1) == S_OK
    assert silent(events[1])
    assert pending(client) == 2
    client.store(CONFIG, 0x62, ENABLE, 2)
    unmask(client, 1, events[1])  # QEMU sends those in use again
    assert fired(events[1]) == 1
    assert pending(client) == 0


@pytest.mark.fault(31)
def test_a_vector_that_is_not_there_is_refused(client: Client, device: MessageDevice, events: list[int]) -> None:
    assert device.raise_vector(5) == HResult.E_INVALIDARG
    assert client.is_alive()


@pytest.mark.fault(31)
def test_what_was_disabled_signals_no_stale_event(client: Client, device: MessageDevice, events: list[int]) -> None:
    for vector, fd in enumerate(events):
        unmask(client, vector, fd)
    client.set_irqs(NONE | TRIGGER, MSIX)
    client.store(CONFIG, 0x62, 0, 2)
    assert device.raise_vector(0) != S_OK
    assert all(silent(fd) for fd in events)


def test_a_raw_device_delivers_what_the_table_says(vm: Vm) -> None:
    # Its table is its own memory. The server writes entries into it that the device passes on, as a driver would.
    device = CallbackDevice((0xFFFFE000,))
    device.config[4:8] = (0x0010_0000).to_bytes(4, "little")
    device.config[0x34] = 0x60
    device.config[0x60:0x6C] = bytes.fromhex("11000300 00000000 00100000")  # four vectors, table 0, PBA 0x1000
    table = bytearray(0x2000)

    def write(bar: int, offset: int, size: int, value: int) -> None:
        table[offset : offset + size] = value.to_bytes(size, "little")

    def control(at: int, value: int) -> None:
        if at == 0x60:
            device.config[0x62:0x64] = (value >> 16).to_bytes(2, "little")

    device.write = write
    device.read = lambda bar, offset, size: int.from_bytes(table[offset : offset + size], "little")
    device.config_write = control
    client = vm.serve(device)
    client.enable()
    client.store(CONFIG, 0x62, ENABLE, 2)
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1)
    events = [event() for _ in range(4)]
    for vector, fd in enumerate(events):
        unmask(client, vector, fd)
    for vector, fd in enumerate(events):
        entry = table[16 * vector : 16 * vector + 16]
        assert not entry[12] & 1, "unmasked"
        address, data = int.from_bytes(entry[:8], "little"), int.from_bytes(entry[8:12], "little")
        assert device.interrupt(address, data) == S_OK
        assert fired(fd) == 1
        assert all(silent(other) for other in events)
    for fd in events:
        os.close(fd)
