"""Doorbells: matched in the server's thread; and as descriptors for clients that ask for them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, Recording
from . import client as wire
from .client import Client
from .served import Vm, descriptors, descriptors_become, event, fired, silent

ANY_VALUE = 0x80000000
SIZE_4, DATA_MATCH = 0x3, 0
ENTRY = struct.Struct("<QQIIIIQ")


@pytest.fixture
def bell() -> Iterator[int]:
    fd = event()
    yield fd
    os.close(fd)


def test_a_posted_write_rings_and_does_not_call(
    client: Client, device: CallbackDevice, bell: int, recording: Recording
) -> None:
    assert device.ring(bell, 0, 0x10, 7, 0) == S_OK
    client.post(0, 0x10, 7)
    assert fired(bell) == 1
    client.store(0, 0x10, 7)
    assert fired(bell) == 1
    assert device.calls == []
    client.store(0, 0x10, 8)  # another value
    client.store(0, 0x14, 7)  # another place
    assert silent(bell)
    assert len(device.calls) == 2
    assert len(recording.rows(lib.HDVLAB_DOORBELL)) == 2


@pytest.mark.fault(36)
def test_any_value_rings_unless_an_exact_one_does(client: Client, device: CallbackDevice, bell: int) -> None:
    exact = event()
    assert device.ring(bell, 0, 0, 0, ANY_VALUE) == S_OK
    hresult = device.ring(exact, 0, 0, 5, 0)
    client.post(0, 0, 1)
    assert fired(bell) == 1
    client.post(0, 0, 5)
    assert client.is_alive()
    assert silent(exact) != silent(bell) or hresult != S_OK
    os.close(exact)


@pytest.mark.fault(36)
def test_what_was_unregistered_rings_no_more(client: Client, device: CallbackDevice, bell: int) -> None:
    assert device.ring(bell, 0, 0, 0, ANY_VALUE) == S_OK
    assert device.ring(bell, 0, 0, 0, ANY_VALUE) == HResult.ERROR_ALREADY_EXISTS
    assert device.unring(0, 0, 0, ANY_VALUE) == S_OK
    assert device.unring(0, 0, 0, ANY_VALUE) == HResult.ERROR_NOT_FOUND
    client.store(0, 0, 5)
    assert silent(bell)
    assert device.calls == [("write", 0, 0, 4, 5)]


@pytest.mark.fault(36)
def test_a_page_of_doorbells_rings_at_each_offset(client: Client, device: CallbackDevice, bell: int) -> None:
    if device.ring_page(bell, 0, 0) != S_OK:
        pytest.fail("no doorbell page")
    for offset in (0, 0x100, 0xFFC):
        client.post(0, offset, offset)
        assert fired(bell) == 1
    assert device.calls == []


@pytest.mark.fault(36)
def test_a_doorbell_survives_the_vm(vm: Vm, device: CallbackDevice, bell: int, tmp_path: object) -> None:
    vm.running(device, place=False)
    path = f"{tmp_path}/device.sock"
    assert vm.listen(path) == S_OK
    assert device.ring(bell, 0, 0, 0, ANY_VALUE) == S_OK
    for _ in range(2):
        client = vm.dial(path)
        client.version()
        client.enable()
        client.post(0, 0, 1)
        assert fired(bell) == 1
        client.close()
        vm.until(lambda state: state.state == lib.HDVLAB_VFIO_USER_LISTENING)


def events_of(client: Client, argsz: int = 4096) -> tuple[int, list[tuple[int, ...]], list[int]]:
    reply = client.ask(wire.GET_REGION_IO_FDS, struct.pack("<IIII", argsz, 0, 0, 0))
    needed, flags, index, count = struct.unpack_from("<IIII", reply.payload)
    assert (flags, index, needed) == (0, 0, 16 + 40 * count)
    fds, reply.fds = reply.fds, []
    return count, list(ENTRY.iter_unpack(reply.payload[16:])), fds


def test_doorbells_are_given_to_a_client_that_asks(client: Client, device: CallbackDevice, bell: int) -> None:
    other = event()
    assert device.ring(bell, 0, 0x10, 7, 0) == S_OK
    assert device.ring(other, 0, 0x20, 0, ANY_VALUE) == S_OK
    count, entries, fds = events_of(client)
    assert (count, len(entries)) == (2, 2)
    by_offset = {entry[0]: entry for entry in entries}
    _, _, fd_index, kind, flags, _, match = by_offset[0x10]
    assert (kind, flags & 1, match) == (0, 1, 7), "an ioeventfd that matches its data"
    os.eventfd_write(fds[fd_index], 1)  # as KVM would
    assert fired(bell) == 1
    assert by_offset[0x20][4] & 1 == 0
    os.eventfd_write(fds[by_offset[0x20][2]], 1)
    assert fired(other) == 1
    for fd in (*fds, other):
        os.close(fd)


def test_a_list_that_does_not_fit_says_only_how_long_it_is(client: Client, device: CallbackDevice, bell: int) -> None:
    assert device.ring(bell, 0, 0x10, 7, 0) == S_OK
    before = descriptors()
    count, entries, fds = events_of(client, 16)
    assert (count, entries, fds) == (1, [], [])
    descriptors_become(before)
