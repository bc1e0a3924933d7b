"""Headers, sizes, types, and messages that come in pieces or in crowds."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from ..core.scaffold import SLACK, CallbackDevice, resident
from . import client as wire
from .client import HEADER, Client, expect, frame, memory
from .served import Vm

INFO = struct.pack("<IIII", 16, 0, 0, 0)
LARGEST = (1 << 20) + 32


def refused(client: Client, data: bytes, number: int = errno.EINVAL) -> None:
    """The bytes are answered with an error reply, and what comes after them is understood."""
    client.raw(data)
    reply = client.receive()
    assert reply.is_reply
    assert reply.is_error
    assert (reply.error, reply.payload, reply.fds) == (number, b"", [])
    assert client.is_alive()


@pytest.mark.fault(2)
@pytest.mark.parametrize("size", [0, 1, 8, 15])
def test_a_size_below_the_header_is_refused_and_the_connection_lives(client: Client, size: int) -> None:
    refused(client, HEADER.pack(7, wire.GET_INFO, size, 0, 0))


@pytest.mark.fault(3)
@pytest.mark.parametrize("size", [LARGEST + 1 + 16, 1 << 31, 0xFFFFFFFF])
def test_a_size_above_the_largest_is_refused_without_waiting_for_its_body(
    vm: Vm, client: Client, device: CallbackDevice, size: int
) -> None:
    before = resident()
    client.raw(HEADER.pack(7, wire.REGION_WRITE, size, 0, 0))
    reply = client.receive()
    assert (reply.id, reply.command, reply.flags, reply.error) == (7, wire.REGION_WRITE, 0x21, errno.EINVAL)
    assert client.hung_up(), "what follows cannot be told from the body that never came"
    assert resident() - before < SLACK
    assert device.calls == []


@pytest.mark.fault(3)
def test_the_largest_write_is_taken_whole(client: Client) -> None:
    # One piece of max_data_xfer_size. It is longer than the BAR, so nobody gets it, but the stream stays in step.
    data = struct.pack("<QII", 0, 0, 1 << 20) + b"\xa5" * (1 << 20)
    client.raw(frame(wire.REGION_WRITE, data, 9))
    assert client.receive().id == 9
    assert client.is_alive()


@pytest.mark.fault(4)
@pytest.mark.parametrize("flags", [0x1, 0x21, 0x2, 0x7, 0xF])
@pytest.mark.parametrize("payload", [b"", INFO])
def test_a_reply_that_nobody_asked_for_and_unknown_types_are_refused(
    client: Client, flags: int, payload: bytes
) -> None:
    refused(client, frame(wire.GET_INFO, payload, 0x4242, flags))


@pytest.mark.fault(5)
@pytest.mark.parametrize("payload", [b"", b"\0" * 8, b"\0" * 64])
@pytest.mark.parametrize(
    "command",
    [
        0,
        wire.DMA_READ,
        wire.DMA_WRITE,
        14,
        wire.FEATURE,
        wire.MIG_DATA_READ,
        wire.MIG_DATA_WRITE,
        19,
        0x7FFF,
        0xFFFF,
    ],
)
def test_commands_that_are_none_of_the_clients_are_refused(client: Client, command: int, payload: bytes) -> None:
    refused(client, frame(command, payload))


@pytest.mark.fault(5)
@pytest.mark.parametrize("length", [0, 1, 4])
@pytest.mark.parametrize("command", [2, 3, 4, 5, 6, 7, 8, 9, 10, 15])
def test_a_command_without_its_payload_is_refused(client: Client, command: int, length: int) -> None:
    refused(client, frame(command, b"\0" * length))


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (wire.GET_INFO, struct.pack("<IIII", 15, 0, 0, 0)),
        (wire.GET_INFO, struct.pack("<IIII", 0, 0, 0, 0)),
        (wire.GET_REGION_INFO, struct.pack("<IIIIQQ", 31, 0, 0, 0, 0, 0)),
        (wire.GET_REGION_INFO, struct.pack("<IIIIQQ", 0, 0, 0, 0, 0, 0)),
        (wire.GET_IRQ_INFO, struct.pack("<IIII", 15, 0, 0, 0)),
        (wire.GET_REGION_IO_FDS, struct.pack("<IIII", 15, 0, 0, 0)),
        (wire.SET_IRQS, struct.pack("<IIIII", 19, 0x21, 0, 0, 0)),
        (wire.DMA_MAP, struct.pack("<IIQQQ", 31, 3, 0, 0, 4096)),
        (wire.DMA_UNMAP, struct.pack("<IIQQ", 23, 0, 0, 4096)),
    ],
)
def test_an_argsz_below_the_fixed_part_is_refused(client: Client, command: int, payload: bytes) -> None:
    expect(errno.EINVAL, client.ask, command, payload)
    assert client.is_alive()


@pytest.mark.fault(8)
def test_an_argsz_above_what_is_needed_gets_the_needed_one(client: Client) -> None:
    # cloud-hypervisor says 32 for GET_INFO.
    for argsz in (32, 0xFFFFFFFF):
        reply = client.ask(wire.GET_INFO, struct.pack("<IIII", argsz, 0, 0, 0)).payload
        assert len(reply) == 16
        assert struct.unpack_from("<I", reply) == (16,)
        reply = client.ask(wire.GET_IRQ_INFO, struct.pack("<IIII", argsz, 0, 1, 0)).payload
        assert (len(reply), reply[:4]) == (16, struct.pack("<I", 16))
        reply = client.region_info(0, argsz).payload
        assert (len(reply), reply[:4]) == (32, struct.pack("<I", 32))


@pytest.mark.fault(10)
def test_a_message_in_single_bytes_is_answered_as_a_whole_one(client: Client, device: CallbackDevice) -> None:
    request = frame(wire.REGION_WRITE, struct.pack("<QII", 8, 0, 4) + b"\x44\x33\x22\x11", 0x77)
    for byte in request:
        client.raw(bytes([byte]))
    reply = client.reply_to(0x77, wire.REGION_WRITE)
    assert reply.payload == struct.pack("<QII", 8, 0, 4)
    assert device.calls == [("write", 0, 8, 4, 0x11223344)]
    assert client.is_alive()


@pytest.mark.fault(10)
def test_a_thousand_messages_in_one_write_are_answered_in_order(client: Client, device: CallbackDevice) -> None:
    device.read = lambda bar, offset, size: offset
    crowd = b"".join(frame(wire.REGION_READ, struct.pack("<QII", 4 * (i % 1024), 0, 4), i) for i in range(1000))
    client.socket.setblocking(True)
    client.raw(crowd)
    for i in range(1000):
        reply = client.reply_to(i, wire.REGION_READ)
        assert reply.payload[16:] == struct.pack("<I", 4 * (i % 1024))


@pytest.mark.fault(10)
def test_ids_may_repeat(client: Client) -> None:
    client.raw(frame(wire.GET_INFO, INFO, 5) * 3)
    for _ in range(3):
        assert client.reply_to(5, wire.GET_INFO).payload


@pytest.mark.fault(10)
def test_no_reply_means_none_also_for_what_fails(client: Client, device: CallbackDevice) -> None:
    silent = wire.NO_REPLY
    client.raw(
        frame(wire.REGION_WRITE, struct.pack("<QII", 0, 0, 4) + b"abcd", 1, silent)
        + frame(wire.REGION_WRITE, struct.pack("<QII", 0, 99, 4) + b"abcd", 2, silent)  # no such region
        + frame(wire.REGION_WRITE, struct.pack("<QII", 0, 0, 8) + b"abcd", 3, silent)  # not the bytes it says
        + frame(99, b"", 4, silent)
        + frame(wire.GET_INFO, b"", 5, silent)
        + frame(wire.GET_INFO, INFO, 6)
    )
    client.reply_to(6, wire.GET_INFO)
    assert device.calls == [("write", 0, 0, 4, int.from_bytes(b"abcd", "little"))]


def test_posted_writes_and_reads_keep_their_order(client: Client, device: CallbackDevice) -> None:
    for value in range(200):
        client.post(0, 0x10, value)
    assert client.load(0, 0x10) == 199
    assert [call[4] for call in device.calls if call[0] == "write"] == list(range(200))


def test_a_multiple_write_is_taken_though_it_was_not_agreed_to(client: Client, device: CallbackDevice) -> None:
    # QEMU 10.1 takes its own proposal for agreed where the reply has no JSON.
    writes = [(0, 0, 4, b"\1\2\3\4"), (8, 0, 8, b"12345678"), (17, 0, 1, b"z")]
    body = b"".join(struct.pack("<QII8s", at, bar, size, data) for at, bar, size, data in writes)
    assert client.ask(wire.REGION_WRITE_MULTI, struct.pack("<Q", 3) + body).payload == struct.pack("<Q", 3)
    assert device.calls == [("write", bar, at, size, int.from_bytes(data, "little")) for at, bar, size, data in writes]
    client.send(wire.REGION_WRITE_MULTI, struct.pack("<Q", 3) + body, flags=wire.NO_REPLY)
    assert client.is_alive()
    assert len(device.calls) == 6


@pytest.mark.parametrize(
    "payload",
    [
        struct.pack("<Q", 2) + struct.pack("<QII8s", 0, 0, 4, b"abcd"),  # one is missing
        struct.pack("<Q", 0) + struct.pack("<QII8s", 0, 0, 4, b"abcd"),
        struct.pack("<Q", (1 << 64) // 24 + 1) + struct.pack("<QII8s", 0, 0, 4, b"abcd"),  # wraps to eight bytes
        struct.pack("<Q", 1) + struct.pack("<QII8s", 0, 0, 9, b"abcd"),
        struct.pack("<Q", 1) + struct.pack("<QII8s", 0, 0, 0xFFFFFFFF, b"abcd"),
    ],
)
def test_a_multiple_write_that_lies_is_refused_as_a_whole(
    client: Client, device: CallbackDevice, payload: bytes
) -> None:
    expect(errno.EINVAL, client.ask, wire.REGION_WRITE_MULTI, payload)
    assert device.calls == []
    assert client.is_alive()


def pipelined(*messages: tuple[int, bytes]) -> bytes:
    return b"".join(frame(command, payload, identity) for identity, (command, payload) in enumerate(messages, 1))


@pytest.mark.fault(10)
def test_descriptors_stay_with_their_message_behind_short_ones(client: Client) -> None:
    """RESET is a header only: what comes right behind it is read with it, and has the descriptor."""
    fd = memory(4096)
    for shorts in range(1, 5):
        for _ in range(shorts):
            client.send(wire.RESET)
        client.send(wire.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, shorts << 16, 4096), [fd])
        first = client.last_id - shorts
        for number in range(shorts):
            assert not client.reply_to(first + number, wire.RESET).is_error
        assert not client.reply_to(client.last_id, wire.DMA_MAP).is_error
    os.close(fd)


@pytest.mark.fault(10)
@pytest.mark.parametrize("cut", range(1, 120, 3))
def test_messages_of_every_length_may_be_cut_anywhere(client: Client, cut: int) -> None:
    access = struct.pack("<QII", 0, 0, 8)
    stream = pipelined(
        (wire.RESET, b""),
        (wire.REGION_WRITE, access + b"12345678"),
        (wire.RESET, b"x"),
        (wire.REGION_READ, access),
        (wire.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)),
    )
    client.enable()
    client.raw(stream[:cut])
    client.raw(stream[cut:])
    for identity, command in enumerate((wire.RESET, wire.REGION_WRITE, wire.RESET, wire.REGION_READ, wire.GET_INFO), 1):
        reply = client.reply_to(identity, command)
        assert reply.is_error == (identity == 3)
        if command == wire.REGION_READ:
            assert reply.payload[16:] == b"12345678"
