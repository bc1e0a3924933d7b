"""MSI: an address and data that the device delivers find the vector's event."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.gate_scaffold import Gate
from ..core.scaffold import S_OK, CallbackDevice, Recording, Threads
from .client import CONFIG, EVENTFD, MSI, NONE, TRIGGER, Client
from .served import MessageDevice, Vm, event, fired, silent

ADDRESS, DATA = 0xFEE0_1000, 0x40


@pytest.fixture
def device() -> MessageDevice:
    return MessageDevice()


@pytest.fixture
def events(client: Client) -> Iterator[list[int]]:
    """MSI enabled with four vectors in QEMU's order: config writes, then the events."""
    events = [event() for _ in range(4)]
    client.store(CONFIG, 0x44, ADDRESS)
    client.store(CONFIG, 0x48, 0)
    client.store(CONFIG, 0x4C, DATA, 2)
    client.store(CONFIG, 0x42, 0x21, 2)
    client.set_irqs(EVENTFD | TRIGGER, MSI, 0, 4, events)
    yield events
    for fd in events:
        os.close(fd)


def test_each_vector_finds_its_event(vm: Vm, device: MessageDevice, events: list[int], recording: Recording) -> None:
    assert vm.state().interrupt_mode == 5
    for vector, fd in enumerate(events):
        assert device.raise_vector(vector) == S_OK
        assert fired(fd) == 1
        assert all(silent(other) for other in events)
    rows = recording.rows(lib.HDVLAB_INTERRUPT)
    assert [(row["address"], row["value"], row["status"]) for row in rows] == [
        (ADDRESS, DATA | vector, S_OK) for vector in range(4)
    ]


def test_a_raw_device_delivers_what_it_read_from_its_capability(vm: Vm) -> None:
    device = CallbackDevice()
    device.config[4:8] = (0x0010_0000).to_bytes(4, "little")
    device.config[0x34] = 0x50
    device.config[0x50:0x54] = (0x0080_0005).to_bytes(4, "little")  # one vector, 64 bits

    def store(at: int, value: int) -> None:
        if at >= 0x50:
            device.config[at : at + 4] = value.to_bytes(4, "little")

    device.config_write = store
    client = vm.serve(device)
    client.enable()
    fd = event()
    # cloud-hypervisor's order: the event first.
    client.set_irqs(EVENTFD | TRIGGER, MSI, 0, 1, [fd])
    client.store(CONFIG, 0x54, ADDRESS)
    client.store(CONFIG, 0x58, 1)
    client.store(CONFIG, 0x5C, 0x1234, 2)
    client.store(CONFIG, 0x52, 1, 2)
    assert device.interrupt((1 << 32) | ADDRESS, 0x1234) in (S_OK, HResult.ERROR_NOACCESS)
    client.store(CONFIG, 0x58, 0)
    while not silent(fd):
        pass
    assert device.interrupt(ADDRESS, 0x1234) == S_OK
    assert fired(fd) == 1
    os.close(fd)


@pytest.mark.fault(31)
def test_a_vector_that_was_not_granted_or_is_not_there_signals_nobody(
    client: Client, device: MessageDevice, events: list[int]
) -> None:
    client.store(CONFIG, 0x42, 0x11, 2)  # two of four
    client.set_irqs(NONE | TRIGGER, MSI)
    client.set_irqs(EVENTFD | TRIGGER, MSI, 0, 2, events[:2])
    for vector in (2, 3, 4, 0xFFFFFFFF):
        assert device.raise_vector(vector) != S_OK
    assert all(silent(fd) for fd in events)


@pytest.mark.fault(31)
def test_what_is_not_enabled_signals_nobody(client: Client, device: MessageDevice, events: list[int]) -> None:
    client.set_irqs(NONE | TRIGGER, MSI)
    client.store(CONFIG, 0x42, 0, 2)
    assert device.raise_vector(0) != S_OK
    assert all(silent(fd) for fd in events)


@pytest.mark.fault(32)
@pytest.mark.parametrize("address", [0x1000, 0xFED0_0000, 0xFEF0_0000, 1 << 40])
def test_an_address_outside_the_interrupt_window_is_no_write(
    client: Client, device: MessageDevice, events: list[int], address: int
) -> None:
    assert device.interrupt(address, DATA) == HResult.ERROR_NOACCESS
    assert client.is_alive()
    assert client.asked == [], "never a DMA write"
    assert all(silent(fd) for fd in events)


@pytest.mark.fault(33)
def test_a_storm_of_interrupts_is_counted_and_stops_nobody(
    client: Client, device: MessageDevice, events: list[int]
) -> None:
    for _ in range(5000):
        device.raise_vector(0)
    assert client.is_alive()
    assert fired(events[0]) == 5000


def test_an_address_that_msi_was_pointed_at_in_ram_still_finds_its_event(
    client: Client, device: MessageDevice, events: list[int]
) -> None:
    # QEMU writes such a message to RAM: the whole of MSI is tested without a guest that way.
    client.store(CONFIG, 0x44, 0x2000)
    assert device.raise_vector(1) == S_OK
    assert fired(events[1]) == 1


ANY_ORIGIN = 1 << lib.HDVLAB_GUEST | 1 << lib.HDVLAB_MACHINE


@pytest.mark.parametrize("action", ["skip", "override"])
def test_a_message_goes_by_what_the_device_got_and_not_by_what_the_guest_wrote(
    vm: Vm, client: Client, device: MessageDevice, events: list[int], action: str
) -> None:
    gate = Gate(vm.system)
    gate.add(lib.HDVLAB_CONFIG_WRITE, first=0x44, last=0x47, origins=ANY_ORIGIN)
    given = ADDRESS if action == "skip" else 0xFEE0_2000
    with Threads() as threads:
        threads.start(client.store, CONFIG, 0x44, 0xFEE0_3000)
        if action == "skip":
            gate.go(lib.HDVLAB_SKIP)
        else:
            gate.go(lib.HDVLAB_OVERRIDE, given)
    assert client.load(CONFIG, 0x44) == given
    assert device.interrupt(given, DATA | 2) == S_OK
    assert fired(events[2]) == 1
    assert device.raise_vector(1) == S_OK
    assert fired(events[1]) == 1


def test_a_reset_that_was_skipped_leaves_messages_as_they_were(
    vm: Vm, client: Client, device: MessageDevice, events: list[int]
) -> None:
    gate = Gate(vm.system)
    gate.add(lib.HDVLAB_RESET, origins=ANY_ORIGIN)
    with Threads() as threads:
        threads.start(client.reset)
        gate.go(lib.HDVLAB_SKIP)
    assert client.load(CONFIG, 0x44) == ADDRESS
    assert device.raise_vector(3) == S_OK
    assert fired(events[3]) == 1
