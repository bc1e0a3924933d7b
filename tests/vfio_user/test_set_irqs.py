"""DEVICE_SET_IRQS: what is a request and what is none. Ref: linux/vfio.h, VFIO_DEVICE_SET_IRQS."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from . import client as wire
from .client import BOOL, ERR, EVENTFD, INTX, MASK, MSI, MSIX, NONE, REQ, TRIGGER, UNMASK, Client, expect
from .served import MessageDevice, Vm, descriptors, descriptors_become, event, fired, silent


@pytest.fixture
def client(vm: Vm) -> Client:
    """A device with INTx, four MSI and five MSI-X vectors."""
    client = vm.serve(MessageDevice(pin=1))
    client.enable()
    return client


def request(flags: int, index: int, start: int = 0, count: int = 0, data: bytes = b"", argsz: int = 20) -> bytes:
    return struct.pack("<IIIII", argsz + len(data), flags, index, start, count) + data


REFUSED: dict[str, bytes] = {
    "index 5": request(NONE | TRIGGER, 5),
    "index -1": request(NONE | TRIGGER, 0xFFFFFFFF),
    "no data type": request(TRIGGER, MSIX, 0, 1),
    "no action": request(NONE, MSIX, 0, 1),
    "two data types": request(NONE | BOOL | TRIGGER, MSIX, 0, 1, b"\1"),
    "three data types": request(7 | TRIGGER, MSIX, 0, 1, b"\1"),
    "two actions": request(NONE | MASK | TRIGGER, MSIX, 0, 1),
    "an unknown flag": request(NONE | TRIGGER | 0x40, MSIX, 0, 1),
    "no flag": request(0, MSIX, 0, 1),
    "start at the count": request(NONE | TRIGGER, MSIX, 5, 1),
    "start above the count": request(NONE | TRIGGER, MSIX, 0x80000000, 1),
    "one too many": request(NONE | TRIGGER, MSIX, 3, 3),
    "a sum that wraps": request(NONE | TRIGGER, MSIX, 1, 0xFFFFFFFF),
    "a count without bound": request(NONE | TRIGGER, MSIX, 0, 0xFFFFFFFF),
    "count 0 with a start": request(NONE | TRIGGER, MSIX, 1, 0),
    "count 0 to mask": request(NONE | MASK, MSIX, 0, 0),
    "count 0 of events": request(EVENTFD | TRIGGER, MSIX, 0, 0),
    "count 0 of bytes": request(BOOL | TRIGGER, MSIX, 0, 0),
    "too few bytes": request(BOOL | TRIGGER, MSIX, 0, 3, b"\1\1"),
    "too many bytes": request(BOOL | TRIGGER, MSIX, 0, 2, b"\1\1\1"),
    "no bytes": request(BOOL | TRIGGER, MSIX, 0, 1),
    "mask ERR": request(NONE | MASK, ERR, 0, 1),
    "two ERR": request(NONE | TRIGGER, ERR, 0, 2),
    "unmask REQ": request(NONE | UNMASK, REQ, 0, 1),
    "two INTx": request(NONE | TRIGGER, INTX, 0, 2),
    "INTx 1": request(NONE | TRIGGER, INTX, 1, 1),
    "five MSI of four": request(NONE | TRIGGER, MSI, 0, 5),
    "argsz too small": request(NONE | TRIGGER, MSIX, 0, 1, argsz=19),
}


@pytest.mark.fault(34)
@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_is_none_is_refused(client: Client, what: str) -> None:
    expect(errno.EINVAL, client.ask, wire.SET_IRQS, REFUSED[what])
    assert client.is_alive()


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    ("flags", "index", "start", "count", "fds"),
    [
        (EVENTFD | TRIGGER, MSIX, 0, 1, 2),
        (EVENTFD | TRIGGER, MSIX, 0, 3, 2),
        (EVENTFD | TRIGGER, MSIX, 0, 5, 6),
        (EVENTFD | TRIGGER, MSIX, 3, 3, 3),
        (EVENTFD | TRIGGER, 7, 0, 1, 1),
        (NONE | TRIGGER, MSIX, 0, 1, 1),
        (BOOL | TRIGGER, MSIX, 0, 1, 1),
        (NONE | MASK, INTX, 0, 1, 1),
        (EVENTFD | UNMASK, INTX, 0, 1, 2),
    ],
)
def test_descriptors_that_do_not_fit_the_request_are_refused_and_closed(
    client: Client, flags: int, index: int, start: int, count: int, fds: int
) -> None:
    events = [event() for _ in range(fds)]
    before = descriptors()
    data = b"\1" * count if flags & BOOL else b""
    expect(errno.EINVAL, client.ask, wire.SET_IRQS, request(flags, index, start, count, data), events)
    descriptors_become(before)
    assert client.is_alive()
    for fd in events:
        os.close(fd)


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    "command",
    [
        wire.GET_INFO,
        wire.GET_REGION_INFO,
        wire.GET_IRQ_INFO,
        wire.DMA_UNMAP,
        wire.RESET,
        wire.REGION_READ,
        wire.REGION_WRITE,
        wire.GET_REGION_IO_FDS,
        99,
    ],
)
def test_descriptors_with_a_command_that_takes_none_are_closed(client: Client, command: int) -> None:
    payloads = {
        wire.GET_REGION_INFO: struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0),
        wire.DMA_UNMAP: struct.pack("<IIQQ", 24, 0, 0, 4096),
        wire.RESET: b"",
        wire.REGION_READ: struct.pack("<QII", 0, 0, 4),
        wire.REGION_WRITE: struct.pack("<QII", 0, 0, 4) + b"abcd",
    }
    fd = wire.memory(4096)
    before = descriptors()
    payload = payloads.get(command, struct.pack("<IIII", 16, 0, 0, 0))
    expect({errno.EINVAL, errno.ENOENT}, client.ask, command, payload, [fd])
    client.raw(wire.frame(command, payload, flags=wire.NO_REPLY), [fd, fd])
    assert client.is_alive()
    descriptors_become(before)
    os.close(fd)


@pytest.mark.fault(9)
def test_more_descriptors_than_were_agreed_to_are_all_closed(client: Client) -> None:
    events = [event() for _ in range(17)]
    before = descriptors()
    # The kernel carries 253; none may stay where the control buffer ends.
    for count in (17, 100, 253):
        client.raw(wire.frame(wire.SET_IRQS, request(EVENTFD | TRIGGER, MSIX, 0, 5)), (events * 15)[:count])
        reply = client.receive()
        assert reply.error == errno.EINVAL
    descriptors_become(before)
    assert client.is_alive()
    for fd in events:
        os.close(fd)


@pytest.mark.fault(9)
@pytest.mark.parametrize("kind", ["directory", "pipe", "null"])
def test_an_event_that_is_none_stops_nobody(vm: Vm, client: Client, kind: str) -> None:
    pair = os.pipe() if kind == "pipe" else (os.open("/" if kind == "directory" else "/dev/null", os.O_RDONLY),)
    before = descriptors()
    try:
        client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, [pair[0]])
        client.set_irqs(NONE | TRIGGER, MSIX, 0, 1)  # fire it
        client.set_irqs(NONE | TRIGGER, MSIX)
    except wire.Refused as refused:
        assert refused.errno == errno.EINVAL  # noqa: PT017
    assert client.is_alive()
    descriptors_become(before)
    for fd in pair:
        os.close(fd)


def test_the_same_event_may_serve_several_vectors(client: Client) -> None:
    fd = event()
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 3, [fd] * 3)
    client.set_irqs(NONE | TRIGGER, MSIX, 0, 3)
    assert fired(fd) == 3
    os.close(fd)


def test_events_are_fired_by_number_and_by_bytes(client: Client) -> None:
    events = [event() for _ in range(5)]
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 5, events)
    client.set_irqs(NONE | TRIGGER, MSIX, 1, 2)
    assert [silent(fd) for fd in events] == [True, False, False, True, True]
    client.set_irqs(BOOL | TRIGGER, MSIX, 0, 5, data=b"\1\0\0\1\0")
    assert [silent(fd) for fd in events] == [False, True, True, False, True]
    for fd in events:
        os.close(fd)


@pytest.mark.fault(34)
def test_an_event_that_is_replaced_is_closed_and_signalled_no_more(client: Client) -> None:
    before = descriptors()
    old, new = event(), event()
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, [old])
    held = descriptors()
    for _ in range(20):
        client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, [new])
    descriptors_become(held)
    client.set_irqs(NONE | TRIGGER, MSIX, 0, 1)
    assert fired(new) == 1
    assert silent(old)
    os.close(old)
    os.close(new)
    client.set_irqs(NONE | TRIGGER, MSIX)
    descriptors_become(before)


def test_vectors_are_taken_back_one_by_one_and_all_at_once(client: Client) -> None:
    events = [event() for _ in range(3)]
    before = descriptors()
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 3, events)
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 1, 1)  # no descriptor: de-assign
    client.set_irqs(NONE | TRIGGER, MSIX, 0, 3)
    assert [silent(fd) for fd in events] == [False, True, False]
    client.set_irqs(NONE | TRIGGER, MSIX, 0, 0)
    client.set_irqs(NONE | TRIGGER, MSIX, 0, 3)
    assert [silent(fd) for fd in events] == [True] * 3
    descriptors_become(before)
    for fd in events:
        os.close(fd)


@pytest.mark.parametrize("index", range(5))
def test_disabling_what_is_not_enabled_is_nothing(client: Client, index: int) -> None:
    client.set_irqs(NONE | TRIGGER, index)


def test_disabling_what_the_device_has_not_is_nothing(vm: Vm) -> None:
    # QEMU does at every reset for the type that was active; libvfio-user refuses it where the count is 0.
    from ..core.scaffold import CallbackDevice

    client = vm.serve(CallbackDevice())
    client.set_irqs(NONE | TRIGGER, INTX)
    client.set_irqs(NONE | TRIGGER, MSIX)


def test_qemus_enabling_of_msix_without_a_vector_is_taken(vm: Vm, client: Client) -> None:
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1)
    fd = event()
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 2, 1, [fd])
    assert vm.state().interrupt_mode == 17
    client.set_irqs(NONE | TRIGGER, MSIX, 2, 1)
    assert fired(fd) == 1
    os.close(fd)


@pytest.mark.fault(35)
def test_an_event_that_is_full_makes_nobody_wait(client: Client) -> None:
    full = os.eventfd(0, os.EFD_CLOEXEC)  # one that blocks
    os.eventfd_write(full, (1 << 64) - 2)
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, [full])
    client.set_irqs(NONE | TRIGGER, MSIX, 0, 1)
    assert client.is_alive()
    assert os.eventfd_read(full) == (1 << 64) - 2
    os.close(full)


@pytest.mark.fault(38)
def test_events_are_closed_when_the_vm_goes(vm: Vm, client: Client) -> None:
    before = descriptors()
    events = [event() for _ in range(5)]
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 5, events)
    client.set_irqs(EVENTFD | UNMASK, INTX, 0, 1, [events[0]])
    for fd in events:
        os.close(fd)
    client.close()
    descriptors_become(before - 2)
