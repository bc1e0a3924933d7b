"""Guest RAM without a descriptor: the server asks for every byte."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, Failure, Recording, Threads
from . import client as wire
from .client import QEMU, Client, Ram, memory
from .served import Vm

PLACE = 0x8000_0000


@pytest.fixture
def ram(client: Client) -> Ram:
    """4 MiB at PLACE, known to the server by its address only."""
    ram = Ram(4 << 20, PLACE)
    client.dma_map(PLACE, 4 << 20)
    return ram


def answer_one(client: Client, ram: Ram) -> None:
    ram.answer(client)(client.asked_next())


def test_a_read_is_a_message_and_its_answer(client: Client, device: CallbackDevice, ram: Ram) -> None:
    ram.bytes[0x1000:0x1005] = b"hello"
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE + 0x1000, 5)))
        answer_one(client, ram)
    assert results == [(S_OK, b"hello")]
    assert ram.messages == [(wire.DMA_READ, PLACE + 0x1000, 5, False)]


def test_a_write_is_a_message(client: Client, device: CallbackDevice, ram: Ram) -> None:
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_write(PLACE + 3, b"written")))
        answer_one(client, ram)
    assert results == [S_OK]
    assert ram.bytes[3:10] == b"written"
    assert client.is_alive()


@pytest.mark.parametrize("limit", [4096, 65536, 1 << 20])
def test_no_message_is_longer_than_the_vm_can_take(vm: Vm, device: CallbackDevice, limit: int) -> None:
    vm.running(device, place=False)
    client = vm.connect(0, QEMU | {"max_data_xfer_size": limit})
    client.enable()
    client.dma_map(PLACE, 4 << 20)
    ram = Ram(4 << 20, PLACE)
    data = bytes(range(256)) * ((1 << 20) // 256 + 1)
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_write(PLACE, data)))
        while sum(count for command, _, count, _ in ram.messages if command == wire.DMA_WRITE) < len(data):
            answer_one(client, ram)
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE, len(data))))
        while sum(count for command, _, count, _ in ram.messages if command == wire.DMA_READ) < len(data):
            answer_one(client, ram)
    assert results == [S_OK, (S_OK, data)]
    assert max(count for _, _, count, _ in ram.messages) <= limit


def test_an_error_reply_is_the_devices_error(client: Client, device: CallbackDevice, ram: Ram) -> None:
    for number in (errno.ENODEV, errno.EFAULT, errno.EPERM):
        ram.error = number
        results = []
        with Threads() as threads:
            threads.start(lambda: results.append(device.dma_read(PLACE, 4)))  # noqa: B023
            answer_one(client, ram)
        assert results[0][0] in (HResult.ERROR_NOACCESS, HResult.E_ACCESSDENIED)
        assert results[0][1] == b"\xee" * 4
    assert client.is_alive()


@pytest.mark.parametrize(
    "payload", [b"", b"x" * 8, struct.pack("<QQ", PLACE, 4), struct.pack("<QQ", PLACE, 9) + b"x" * 9]
)
def test_an_answer_that_is_none_is_an_error_and_overruns_nothing(
    client: Client, device: CallbackDevice, ram: Ram, payload: bytes
) -> None:
    # QEMU 10.1 to 10.2 answer with another layout.
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE, 4)))
        client.respond(client.asked_next(), payload)
    assert results[0][0] != S_OK
    assert results[0][1] == b"\xee" * 4


def test_an_answer_to_another_message_answers_nobody(client: Client, device: CallbackDevice, ram: Ram) -> None:
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE, 4)))
        asked = client.asked_next()
        client.raw(wire.frame(wire.DMA_READ, asked.payload + b"nope", asked.id ^ 0x5555, wire.REPLY))
        client.raw(wire.frame(wire.DMA_READ, asked.payload + b"true", asked.id, wire.REPLY))
    assert results == [(S_OK, b"true")]


def test_accesses_go_on_while_a_dma_answer_is_awaited(client: Client, device: CallbackDevice, ram: Ram) -> None:
    # A vCPU that waits for its access holds QEMU's lock, without which no DMA is answered.
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE, 4)))
        asked = client.asked_next()
        client.store(0, 8, 0x77)
        assert client.load(0, 8) == 0x77
        ram.answer(client)(asked)
    assert results == [(S_OK, bytes(4))]


@pytest.mark.fault(54)
def test_a_handler_may_not_wait_for_the_vm_that_waits_for_it(client: Client, device: CallbackDevice, ram: Ram) -> None:
    seen = []

    def read(bar: int, offset: int, size: int) -> int:
        seen.append(device.dma_read(PLACE, 4)[0])
        return 5

    device.read = read
    assert client.load(0, 0) == 5
    assert seen == [HResult.ERROR_INVALID_STATE]
    assert ram.messages == []


def test_a_handler_reaches_memory_that_has_a_descriptor(client: Client, device: CallbackDevice) -> None:
    fd = memory(4096)
    client.dma_map(0, 4096, fd)
    os.close(fd)
    device.write = lambda bar, offset, size, value: _must(device.dma_write(0x10, value.to_bytes(4, "little")))
    device.read = lambda bar, offset, size: int.from_bytes(device.dma_read(0x10, 4)[1], "little")
    client.store(0, 0, 0x12345678)
    assert client.load(0, 0) == 0x12345678


def _must(hresult: int) -> None:
    if hresult != S_OK:
        raise Failure(hresult)


@pytest.mark.fault(38)
def test_a_vm_that_goes_away_ends_the_waiting(client: Client, device: CallbackDevice, ram: Ram) -> None:
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE, 4)))
        client.asked_next()
        client.close()
    assert results[0][0] != S_OK


@pytest.mark.fault(29)
def test_without_bus_mastering_nothing_is_asked(client: Client, device: CallbackDevice, ram: Ram) -> None:
    client.enable(2)
    assert device.dma_read(PLACE, 4)[0] == HResult.E_ACCESSDENIED
    assert client.is_alive()
    assert client.asked == []


def test_no_pointer_can_be_given_to_memory_without_a_descriptor(
    client: Client, device: CallbackDevice, ram: Ram
) -> None:
    hresult, _ = device.aperture(PLACE, 4096)
    assert hresult != S_OK
    assert client.is_alive()
    assert client.asked == []


def test_an_interrupt_waits_for_no_vm_that_has_not_negotiated(vm: Vm, device: CallbackDevice) -> None:
    # A command before the reply to VERSION is nothing that a VM expects.
    first = vm.serve(device)
    first.enable()  # which the device keeps
    first.close()
    vm.until(lambda state: state.state == lib.HDVLAB_VFIO_USER_NONE)
    client = vm.wire()
    assert device.interrupt(0xFEE0_1000, 0x41) == HResult.ERROR_INVALID_STATE
    client.version()
    assert client.asked == []
    assert device.interrupt(0xFEE0_1000, 0x41) == S_OK
    assert client.asked_next().payload == struct.pack("<QQI", 0xFEE0_1000, 4, 0x41)


@pytest.mark.fault(54)
def test_a_vm_that_does_not_answer_is_not_waited_for_for_ever(
    client: Client, device: CallbackDevice, ram: Ram, recording: Recording
) -> None:
    results = []
    with Threads() as threads:
        threads.start(lambda: results.append(device.dma_read(PLACE, 4)))
        asked = client.asked_next()
        assert client.is_alive()
    assert results == [(HResult.ERROR_TIMEOUT, b"\xee" * 4)]
    assert recording.rows(lib.HDVLAB_DMA_READ)[-1]["status"] == HResult.ERROR_TIMEOUT
    ram.answer(client)(asked)  # late: thrown away
    assert client.is_alive()


def test_many_may_ask_at_once_and_are_answered_in_any_order(client: Client, device: CallbackDevice, ram: Ram) -> None:
    for number in range(16):
        ram.bytes[number * 64 : number * 64 + 8] = number.to_bytes(8, "little")
    results = {}

    def read(number: int) -> None:
        results[number] = device.dma_read(PLACE + number * 64, 8)

    with Threads() as threads:
        for number in range(16):
            threads.start(lambda number=number: read(number))
        for asked in reversed([client.asked_next() for _ in range(16)]):
            ram.answer(client)(asked)
    assert results == {number: (S_OK, number.to_bytes(8, "little")) for number in range(16)}
