"""A peer that cuts its messages at any byte, or sends what is none: the machine lives, and says why it cut it off."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.trace.schema import Kind

from .proxy_scaffold import (
    ANSWER,
    CONFIG_READ,
    CONNECT,
    DENIED,
    GET_DETAILS,
    GET_INSTANCE,
    HEADER,
    HELLO,
    HOST_END,
    INITIALIZE,
    INTERRUPT,
    MAP,
    READ,
    UNMAP,
    ProxyHost,
    RawPeer,
    RemoteHost,
    add_slot,
    memfd,
    pair,
    place,
    slot_device,
)
from .scaffold import CLASS_ID, DEADLINE, PLACE, S_OK, CallbackDevice, Machine, Recording, Threads

GONE, PROTOCOL = HResult.HCS_E_SERVICE_DISCONNECT, HResult.HCS_E_PROTOCOL_ERROR
ONES = 0xFFFF_FFFF


class Bare:
    """A bare peer and what the machine sees of it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        theirs, mine = pair()
        self.peer = RawPeer(theirs)
        self.peer.hello()
        self.remote = RemoteHost(mine)
        self.remote.register(machine)
        self.welcome = self.peer.receive()

    def plug(self, until: int = 0) -> dict[str, Any] | None:
        """Answer until the machine asks ``until``, which is left to the caller; 0: until the device is in."""
        self.result: list[int] = []
        with Threads() as threads:
            threads.start(lambda: self.result.append(add_slot(self.machine, uuid.uuid4())))
            while (request := self.peer.receive()) and request["operation"] != until:
                self.peer.serve(request)
                if not until and request["operation"] == 4:  # Start
                    break
            if until:
                self.after(request)
        if not until:
            assert self.result == [S_OK]
            slot_device(self.machine, 0, 0)
        return request

    def after(self, request: dict[str, Any] | None) -> None:
        """What to do with the request that :meth:`plug` stopped at."""

    def close(self) -> None:
        self.peer.end.close()
        self.remote.ended()
        self.remote.release()
        self.machine.remove_slot(0)


@pytest.fixture
def on(machine: Machine) -> Iterator[Machine]:
    """A running machine with a device of its own in slot 5, which lives through everything."""
    machine.running(CallbackDevice(), place=False)
    machine.remove_slot(0)
    healthy = machine.create(CallbackDevice())
    assert machine.add_slot(healthy, 5) == S_OK
    machine.place(healthy, 5, PLACE + 0x1000_0000)
    yield machine
    assert machine.write(PLACE + 0x1000_0000, 5) == S_OK
    assert machine.read(PLACE + 0x1000_0000) == (S_OK, 5)


@pytest.fixture
def bare(on: Machine) -> Iterator[Bare]:
    bare = Bare(on)
    yield bare
    bare.close()


def guest_read(bare: Bare) -> tuple[list[tuple[int, int]], Threads]:
    """A guest's read that waits for the peer."""
    result: list[tuple[int, int]] = []
    threads = Threads()
    threads.start(lambda: result.append(bare.machine.read(PLACE)))
    return result, threads


def placed(bare: Bare) -> None:
    with Threads() as threads:
        threads.start(lambda: place(bare.machine))
        for _ in range(3):  # BAR, command (read for the upper half), command
            request = bare.peer.receive()
            assert request is not None
            bare.peer.serve(request)


@pytest.mark.fault(38)
def test_a_registration_cut_at_any_byte_is_none(on: Machine) -> None:
    whole = RawPeer.message(HELLO, number=1, arguments=(1,), data=uuid.uuid4().bytes_le)
    for cut in range(len(whole)):
        theirs, mine = pair()
        if cut:
            theirs.send(whole[:cut])
        theirs.close()
        RemoteHost(mine, PROTOCOL if cut else GONE)


@pytest.mark.parametrize(
    "message",
    [
        RawPeer.message(HELLO, number=1, arguments=(2,), data=bytes(16)),
        RawPeer.message(HELLO, number=1, arguments=(1,), data=bytes(15)),
        RawPeer.message(HELLO, number=1, arguments=(1,), data=bytes(16), magic=0),
        RawPeer.message(HELLO, number=1, arguments=(1,), data=bytes(16), flags=ANSWER),
        RawPeer.message(INTERRUPT, number=1, arguments=(1,), data=bytes(16)),
        RawPeer.message(HELLO, number=1, arguments=(1,), data=bytes(16), length=17),
        os.urandom(96),
    ],
    ids=["version", "no GUID", "magic", "answer", "request", "length", "noise"],
)
def test_what_is_no_registration_is_refused(on: Machine, message: bytes) -> None:
    theirs, mine = pair()
    theirs.send(message)
    RemoteHost(mine, PROTOCOL)
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_peer_that_says_nothing_is_not_waited_for(on: Machine) -> None:
    theirs, mine = pair()
    RemoteHost(mine, HResult.ERROR_TIMEOUT, timeout_ms=10)
    theirs.close()


@pytest.mark.fault(38)
@pytest.mark.parametrize("step", [GET_INSTANCE, INITIALIZE, 2, GET_DETAILS, 4])
def test_an_answer_of_a_lifecycle_step_cut_at_any_byte_fails_the_plug(on: Machine, step: int) -> None:
    for cut in [*range(HEADER.size), HEADER.size + 7]:
        bare = Bare(on)

        def spoil(request: dict[str, Any] | None, cut: int = cut, bare: Bare = bare) -> None:
            assert request is not None
            whole = RawPeer.message(request["operation"], flags=ANSWER, number=request["number"], data=bytes(36))
            if cut:
                bare.peer.end.send(whole[:cut])
            bare.peer.end.close()

        bare.after = spoil  # type: ignore[method-assign]
        bare.plug(until=step)
        assert bare.remote.ended() == (PROTOCOL if cut else GONE)
        assert bare.result[0] in (GONE, PROTOCOL, HResult.E_UNEXPECTED)
        bare.remote.release()


@pytest.mark.fault(38)
def test_an_answer_to_a_guest_cut_at_any_byte_is_all_ones(on: Machine, recording: Recording) -> None:
    for cut in range(HEADER.size):
        bare = Bare(on)
        bare.plug()
        placed(bare)
        since = len(recording)
        result, threads = guest_read(bare)
        with threads:
            request = bare.peer.receive()
            assert request is not None
            assert request["operation"] == READ
            assert request["cause"] == since
            whole = RawPeer.message(READ, flags=ANSWER, number=request["number"], arguments=(5,))
            if cut:
                bare.peer.end.send(whole[:cut])
            bare.peer.end.close()
        why = PROTOCOL if cut else GONE
        assert result == [(why, ONES)]
        assert bare.remote.ended() == why
        faults = recording.rows(Kind.fault, since=since)
        assert [(row["device"], row["status"]) for row in faults] == [(0, why)]
        bare.close()


@pytest.mark.fault(38)
@pytest.mark.parametrize("operation", [MAP, UNMAP, INTERRUPT, DENIED, HOST_END])
def test_a_request_cut_at_any_byte_ends_the_host_and_nothing_else(on: Machine, operation: int) -> None:
    for cut in range(1, HEADER.size, 3):
        bare = Bare(on)
        bare.plug()
        bare.peer.end.send(RawPeer.message(operation, number=9, arguments=(0, 4096))[:cut])
        assert bare.remote.ended() == PROTOCOL
        bare.close()


@pytest.mark.parametrize(
    "parts",
    [
        {"operation": 31},
        {"operation": 37},
        {"operation": HELLO},
        {"operation": READ},
        {"operation": 0},
        {"operation": 0xFFFF},
        {"operation": INTERRUPT, "flags": 2},
        {"operation": INTERRUPT, "data": b"x"},
        {"operation": READ, "flags": ANSWER, "number": 1 << 40},
        {"operation": INTERRUPT, "magic": 1},
        {"operation": MAP, "data": bytes(70_000)},
    ],
    ids=str,
)
def test_what_is_no_message_cuts_the_peer_off(bare: Bare, recording: Recording, parts: dict[str, Any]) -> None:
    bare.plug()
    bare.peer.end.send(RawPeer.message(parts.pop("operation"), **parts))
    assert bare.remote.ended() == PROTOCOL
    assert recording.rows(Kind.fault)[-1]["status"] == PROTOCOL
    assert bare.machine.config_read(0, 0)[1] == ONES


def test_answers_with_the_wrong_amount_of_data_cut_the_peer_off(on: Machine) -> None:
    for size in (0, 35, 37, 65_536):
        bare = Bare(on)
        bare.after = lambda request, bare=bare, size=size: bare.peer.answer(  # type: ignore[method-assign]
            request, data=bytes(size)
        )
        bare.plug(until=GET_DETAILS)
        assert bare.remote.ended() == PROTOCOL
        assert bare.result[0] in (PROTOCOL, GONE)
        bare.remote.release()
        bare.peer.end.close()


def test_a_peer_speaks_for_its_own_devices_only(bare: Bare, recording: Recording) -> None:
    bare.plug()
    healthy = bare.machine.devices[-1]
    since = len(recording)
    number = int(healthy_number(healthy))
    for target in (number, 0, 1, (1 << 64) - 1, bare.remote.ipc):
        for operation in (INTERRUPT, MAP, UNMAP, DENIED):
            bare.peer.send(operation, number=3, target=target, arguments=(0xFEE0_0000, 0x41))
            answer = bare.peer.receive()
            assert answer is not None
            assert answer["status"] == HResult.E_HANDLE
    assert recording.rows(since=since) == []
    assert bare.machine.wait_interrupt(0x41)[0] == HResult.ERROR_TIMEOUT


def healthy_number(device: CallbackDevice) -> int:
    from hdvlab._core import ffi

    return int(ffi.cast("uintptr_t", device.handle))


@pytest.mark.parametrize(
    ("message", "why"), [(RawPeer.message(INTERRUPT, number=1), PROTOCOL), (b"", GONE)], ids=["request", "empty"]
)
def test_descriptors_that_were_not_asked_for_are_closed(bare: Bare, message: bytes, why: int) -> None:
    bare.plug()
    before = len(os.listdir("/proc/self/fd"))
    fds = [memfd() for _ in range(3)]
    socket.send_fds(bare.peer.end, [message], fds)
    assert bare.remote.ended() == why
    for fd in fds:
        os.close(fd)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_refusal_with_a_descriptor_leaves_none_in_the_devices_process() -> None:
    mine, theirs = pair()
    machine, memory = RawPeer(theirs), memfd()

    def be_machine() -> None:
        hello = machine.receive()
        assert hello is not None
        machine.answer(hello, arguments=(1,))

    with Threads() as threads:
        threads.start(be_machine)
        host = ProxyHost.over(mine)
    device = host.create(CallbackDevice())
    machine.send(GET_INSTANCE, number=1, data=CLASS_ID.bytes_le + device.instance_id.bytes_le)
    found = machine.receive()
    assert found is not None
    machine.send(CONNECT, number=2, target=found["arguments"][0], arguments=(7,))
    assert machine.receive() is not None
    before = len(os.listdir("/proc/self/fd"))

    def refuse() -> None:
        asked = machine.receive()
        assert asked is not None
        assert asked["operation"] == MAP
        status = HResult.E_ACCESSDENIED - (1 << 32)
        refusal = RawPeer.message(MAP, flags=ANSWER, number=asked["number"], status=status)
        socket.send_fds(machine.end, [refusal], [memory])

    for _ in range(3):
        with Threads() as threads:
            threads.start(refuse)
            assert device.aperture(0, 4096)[0] == HResult.E_ACCESSDENIED
    deadline = time.monotonic() + DEADLINE  # the reader closes it after it has passed the answer on
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < deadline, "a descriptor is left"
        threading.Event().wait(0.001)
    theirs.close()
    assert host.teardown() == S_OK
    os.close(memory)


def test_a_message_about_an_interrupt_that_did_not_fail_is_none(bare: Bare) -> None:
    bare.plug()
    target = healthy_number_of_slot(bare)
    bare.peer.send(DENIED, number=1, target=target, arguments=(int(Kind.interrupt), HResult.E_FAIL))
    answer = bare.peer.receive()
    assert answer is not None
    assert answer["status"] == HResult.E_ACCESSDENIED
    bare.peer.send(DENIED, number=2, target=target, arguments=(int(Kind.interrupt), S_OK))
    assert bare.remote.ended() == PROTOCOL


def test_a_row_number_that_there_is_not_is_no_cause(bare: Bare, recording: Recording) -> None:
    bare.plug()
    placed(bare)
    target = healthy_number_of_slot(bare)
    for cause, expected in ((1 << 62, -1), (-5, -1), (0, 0)):
        since = len(recording)
        bare.peer.send(INTERRUPT, number=1, target=target, cause=cause, arguments=(0xFEE0_0000, 0x40))
        answer = bare.peer.receive()
        assert answer is not None
        assert answer["status"] == S_OK
        assert [row["cause"] for row in recording.rows(Kind.interrupt, since=since)] == [expected]


def number_of_slot(machine: Machine) -> int:
    """The handle of slot 0's device; 0 when it is gone."""
    out = ffi.new("void **")
    lib.hdvlab_system_device(machine.system, 0, out)
    return int(ffi.cast("uintptr_t", out[0]))


def healthy_number_of_slot(bare: Bare) -> int:
    return int(ffi.cast("uintptr_t", slot_device(bare.machine)))


@pytest.mark.fault(53)
def test_late_and_double_answers_answer_nobody_else(bare: Bare) -> None:
    bare.plug()
    placed(bare)
    bare.remote.budget(50)
    assert bare.machine.read(PLACE) == (HResult.ERROR_TIMEOUT, ONES)
    late = bare.peer.receive()
    assert late is not None
    bare.peer.answer(late, arguments=(0xBAD,))
    while bare.remote.wait(1)[1] != 0:
        pass
    bare.remote.budget(4000)
    result, threads = guest_read(bare)
    with threads:
        request = bare.peer.receive()
        assert request is not None
        assert request["number"] != late["number"]
        bare.peer.answer(request, arguments=(0x600D,))
    assert result == [(S_OK, 0x600D)]
    bare.peer.answer(late, arguments=(0xBAD,))  # once was late, twice is rubbish
    assert bare.remote.ended() == PROTOCOL


@pytest.mark.fault(53)
def test_a_peer_that_does_not_read_what_it_is_sent_is_cut_off(bare: Bare) -> None:
    bare.plug()
    bare.remote.budget(50)
    target = healthy_number_of_slot(bare)
    bare.peer.end.settimeout(5)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            bare.peer.send(INTERRUPT, number=1, target=target, arguments=(0xFEE0_0000, 0x40))
    assert bare.remote.ended() in (GONE, PROTOCOL)


def test_a_thousand_spoilt_messages_harm_nobody(on: Machine) -> None:
    seeded = random.Random(38)
    bare = Bare(on)
    bare.plug()
    for _ in range(1000):
        while not (target := number_of_slot(on)):  # the message before, to which no answer has come yet, was its end
            bare.close()
            bare = Bare(on)
            bare.plug()
        operation = seeded.choice([MAP, UNMAP, INTERRUPT, DENIED, HOST_END, READ, CONFIG_READ, HELLO])
        message = bytearray(
            RawPeer.message(
                operation,
                flags=seeded.choice([0, 0, ANSWER]),
                number=seeded.getrandbits(8),
                target=target,
                arguments=tuple(seeded.getrandbits(seeded.choice([4, 16, 64])) for _ in range(5)),
            )
        )
        for _ in range(seeded.choice([0, 1, 3])):
            message[seeded.randrange(len(message))] = seeded.getrandbits(8)
        try:
            bare.peer.end.send(message)
            bare.peer.end.settimeout(0.002)
            while request := bare.peer.receive():
                if not request["flags"]:
                    bare.peer.serve(request)
        except TimeoutError:
            continue
        except OSError:
            pass
        bare.close()
        bare = Bare(on)
        bare.plug()
    bare.close()
