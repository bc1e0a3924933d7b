"""The hidden-capability mode: until the first reset no list, so the VM manages none of it; then all is the device's."""

from __future__ import annotations

import struct

import pytest

from hdvlab._core import lib

from ..core.scaffold import S_OK
from . import client as wire
from .client import CONFIG, Client
from .served import MessageDevice, Vm


@pytest.fixture
def device() -> MessageDevice:
    return MessageDevice()


@pytest.fixture
def client(vm: Vm, device: MessageDevice) -> Client:
    return vm.serve(device, flags=lib.HDVLAB_VFIO_USER_HIDE_CAPABILITIES)


def test_there_is_no_list_until_the_first_reset_and_then_there_is(client: Client) -> None:
    assert client.load(CONFIG, 6, 2) & 0x10 == 0
    assert client.load(CONFIG, 0x34, 1) == 0
    whole = client.read(CONFIG, 0, 256)
    assert (whole[6] & 0x10, whole[0x34]) == (0, 0)
    client.reset()
    assert client.load(CONFIG, 6, 2) & 0x10
    assert client.load(CONFIG, 0x34, 1) == 0x40
    client.reset()
    assert client.load(CONFIG, 0x34, 1) == 0x40


def test_it_is_hidden_again_from_the_next_vm(vm: Vm, device: MessageDevice, tmp_path: object) -> None:
    vm.running(device, place=False)
    path = f"{tmp_path}/s"
    assert vm.listen(path, flags=lib.HDVLAB_VFIO_USER_HIDE_CAPABILITIES) == S_OK
    for _ in range(2):
        client = vm.dial(path)
        client.version()
        assert client.load(CONFIG, 0x34, 1) == 0
        client.reset()
        assert client.load(CONFIG, 0x34, 1) == 0x40
        client.close()


def test_messages_are_dma_writes_to_the_address_that_the_guest_programmed(
    client: Client, device: MessageDevice
) -> None:
    client.reset()
    client.enable()
    for vector in range(5):  # the guest programs the table in BAR 2, which no VM keeps from the device now
        client.store(2, 16 * vector, 0xFEE0_2000 + 0x1000 * vector)
        client.store(2, 16 * vector + 8, 0x50 + vector)
        client.store(2, 16 * vector + 12, 0)
    client.store(CONFIG, 0x62, 0x8000, 2)
    for vector in range(5):
        assert device.raise_vector(vector) == S_OK
        message = client.asked_next()
        assert (message.command, message.flags) == (wire.DMA_WRITE, wire.NO_REPLY)
        assert message.payload == struct.pack("<QQI", 0xFEE0_2000 + 0x1000 * vector, 4, 0x50 + vector)
    assert client.is_alive()


@pytest.mark.fault(31)
def test_a_vector_that_the_guest_masked_waits(client: Client, device: MessageDevice) -> None:
    client.reset()
    client.enable()
    client.store(2, 0, 0xFEE0_1000)
    client.store(2, 8, 0x41)
    client.store(CONFIG, 0x62, 0x8000, 2)
    assert device.raise_vector(0) == S_OK
    assert client.is_alive()
    assert client.asked == []
    assert client.load(2, 0x1000, 8) == 1
    client.store(2, 12, 0)
    assert struct.unpack_from("<Q", client.asked_next().payload) == (0xFEE0_1000,)
