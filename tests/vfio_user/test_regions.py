"""Accesses to BARs: every width, every place, and what no BAR has."""

from __future__ import annotations

import errno
import struct

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, SLACK, CallbackDevice, Failure, Recording, ones, resident
from . import client as wire
from .client import Client, Refused, expect, frame
from .served import IN_64_BITS, PAGE, Vm


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_an_access_of_each_width_is_one_callback(client: Client, device: CallbackDevice, size: int) -> None:
    value = 0x8877665544332211 & ones(size)
    device.read = lambda bar, offset, width: (value + offset) & ones(width)
    for offset in (0, size, 4096 - size):
        client.store(0, offset, value, size)
        assert client.load(0, offset, size) == (value + offset) & ones(size)
        assert device.calls == [("write", 0, offset, size, value), ("read", 0, offset, size)]
        device.calls.clear()


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_posted_write_of_each_width_is_one_callback(client: Client, device: CallbackDevice, size: int) -> None:
    value = 0x8877665544332211 & ones(size)
    client.post(0, 16, value, size)
    assert client.is_alive()
    assert device.calls == [("write", 0, 16, size, value)]


def test_each_bar_is_its_own(vm: Vm) -> None:
    device = CallbackDevice((PAGE, PAGE, IN_64_BITS, 0xFFFFFFFF, 0, 0xFFFFFFF0))
    client = vm.serve(device)
    client.enable()
    device.calls.clear()
    for bar in (0, 1, 2, 5):
        client.store(bar, 8, bar)
    assert device.calls == [("write", bar, 8, 4, bar) for bar in (0, 1, 2, 5)]


def test_an_access_is_one_finished_row(client: Client, recording: Recording) -> None:
    client.reset()
    client.enable()
    since = len(recording)
    client.post(0, 4, 0xAB, 1)
    client.store(0, 8, 0x1234, 2)
    assert client.load(0, 8, 2) == 0x1234
    rows = recording.rows(lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE, since=since)
    assert [(r["kind"], r["bar"], r["address"], r["size"], r["value"], r["status"]) for r in rows] == [
        (lib.HDVLAB_MMIO_WRITE, 0, 4, 1, 0xAB, S_OK),
        (lib.HDVLAB_MMIO_WRITE, 0, 8, 2, 0x1234, S_OK),
        (lib.HDVLAB_MMIO_READ, 0, 8, 2, 0x1234, S_OK),
    ]
    assert {row["origin"] for row in rows} == {lib.HDVLAB_GUEST}


def test_a_device_that_fails_answers_all_ones_and_no_error(
    client: Client, device: CallbackDevice, recording: Recording
) -> None:
    # QEMU makes all ones of an error reply, cloud-hypervisor hangs on it.
    def fail(*_: int) -> int:
        raise Failure(HResult.E_ABORT)

    device.read = device.write = fail
    assert client.load(0, 0, 8) == ones(8)
    client.store(0, 0, 1)
    rows = recording.rows(lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE)
    assert [row["status"] for row in rows] == [HResult.E_ABORT] * 2


@pytest.mark.fault(12)
@pytest.mark.parametrize(("offset", "size"), [(4096, 1), (4096, 4), (8192, 8), (1 << 40, 4)])
def test_behind_the_end_of_a_bar_is_nobody(client: Client, device: CallbackDevice, offset: int, size: int) -> None:
    assert client.load(0, offset, size) == ones(size)
    client.store(0, offset, 0, size)
    client.post(0, offset, 0, size)
    assert client.is_alive()
    assert device.calls == []


@pytest.mark.fault(13)
@pytest.mark.parametrize(("offset", "size"), [((1 << 64) - 1, 8), ((1 << 64) - 8, 8), ((1 << 64) - 1, 1)])
def test_an_offset_that_wraps_is_nobodys(client: Client, device: CallbackDevice, offset: int, size: int) -> None:
    assert client.load(0, offset, size) == ones(size)
    client.store(0, offset, 0, size)
    assert device.calls == []


@pytest.mark.fault(14)
def test_a_length_of_zero_succeeds_and_calls_nobody(client: Client, device: CallbackDevice) -> None:
    assert client.read(0, 0, 0) == b""
    client.write(0, 0, b"")
    assert device.calls == []


@pytest.mark.fault(14)
@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("offset", "size"), [(0, 3), (0, 5), (0, 16), (1, 2), (2, 4), (4, 8), (7, 8), (1, 1000), (4095, 1), (0, 4096)]
)
def test_other_lengths_and_places_are_split_into_aligned_pieces_or_refused(
    client: Client, device: CallbackDevice, offset: int, size: int
) -> None:
    content = bytes(i * 7 & 0xFF for i in range(4096))
    device.read = lambda bar, at, width: int.from_bytes(content[at : at + width], "little")
    data = bytes(range(256)) * 16
    try:
        assert client.read(0, offset, size) == content[offset : offset + size]
        client.write(0, offset, data[:size])
    except Refused as refused:
        assert refused.errno == errno.EINVAL  # noqa: PT017
        assert size not in (1, 2, 4, 8) or offset % size
    else:
        written = bytearray(4096)
        for call in device.calls:
            if call[0] == "write":
                written[call[2] : call[2] + call[3]] = call[4].to_bytes(call[3], "little")
        assert written[offset : offset + size] == data[:size]
    for call in device.calls:
        assert call[3] in (1, 2, 4, 8)
        assert call[2] % call[3] == 0, "naturally aligned"
    assert client.is_alive()


@pytest.mark.fault(14)
@pytest.mark.parametrize("size", [(1 << 20) + 1, 1 << 31, 0xFFFFFFFF])
def test_more_than_max_data_xfer_size_is_refused_without_being_allocated(client: Client, size: int) -> None:
    before = resident()
    expect(errno.EINVAL, client.ask, wire.REGION_READ, struct.pack("<QII", 0, 0, size))
    expect(errno.EINVAL, client.ask, wire.REGION_WRITE, struct.pack("<QII", 0, 0, size) + b"abcd")
    assert resident() - before < SLACK
    assert client.is_alive()


@pytest.mark.fault(14)
def test_a_mebibyte_of_a_small_bar_is_the_bar_and_then_ones_or_refused(client: Client) -> None:
    try:
        answered = client.read(0, 0, 1 << 20)
    except Refused as refused:
        assert refused.errno == errno.EINVAL  # noqa: PT017
    else:
        assert set(answered[4096:]) == {0xFF}
    assert client.is_alive()


@pytest.mark.fault(14)
@pytest.mark.parametrize("there", [0, 3, 5, 8])
def test_a_write_with_other_than_the_bytes_it_says_is_refused(
    client: Client, device: CallbackDevice, there: int
) -> None:
    expect(errno.EINVAL, client.ask, wire.REGION_WRITE, struct.pack("<QII", 0, 0, 4) + b"x" * there)
    assert device.calls == []


@pytest.mark.fault(14)
def test_a_read_with_a_payload_behind_it_keeps_the_stream_in_step(client: Client) -> None:
    client.raw(frame(wire.REGION_READ, struct.pack("<QII", 0, 0, 4) + b"spurious"))
    assert client.receive().is_reply
    assert client.is_alive()


@pytest.mark.fault(15)
def test_an_access_over_the_end_of_a_bar_never_reaches_behind_it(client: Client, device: CallbackDevice) -> None:
    device.read = lambda bar, at, width: 0x42424242 & ones(width)
    assert client.load(0, 4094, 4) in (0xFFFF4242, 0xFFFFFFFF)
    client.store(0, 4094, 0, 4)
    assert all(call[2] + call[3] <= 4096 for call in device.calls)
    assert client.is_alive()


@pytest.mark.fault(16)
@pytest.mark.parametrize("region", [1, 5])
def test_a_bar_that_the_device_has_not_answers_all_ones(client: Client, device: CallbackDevice, region: int) -> None:
    assert client.load(region, 0, 4) == ones(4)
    client.store(region, 0, 0)
    assert device.calls == []


@pytest.mark.fault(16)
@pytest.mark.parametrize("region", [6, 8, 9, 255, 1 << 31, 0xFFFFFFFF])
def test_a_region_that_is_no_bar_reaches_nobody(client: Client, device: CallbackDevice, region: int) -> None:
    try:
        assert client.load(region, 0, 4) == ones(4)
    except Refused as refused:
        assert refused.errno == errno.EINVAL  # noqa: PT017
    client.send(wire.REGION_WRITE, struct.pack("<QII", 0, region, 4) + b"abcd", flags=wire.NO_REPLY)
    assert client.is_alive()
    assert device.calls == []


@pytest.mark.fault(20)
def test_bad_accesses_leave_memory_as_it_was(vm: Vm, recording: Recording) -> None:
    with_rows, without = len(recording), Vm(None)
    try:
        client = without.serve(CallbackDevice((PAGE,)))
        crowd = b"".join(
            frame(wire.REGION_WRITE, struct.pack("<QII", at, region, 4) + b"abcd", flags=wire.NO_REPLY)
            for at in (4096, 1 << 63, (1 << 64) - 1)
            for region in (0, 3, 9, 0xFFFFFFFF)
        )
        client.raw(crowd * 100)
        assert client.is_alive()
        before = resident()
        for _ in range(100):
            client.raw(crowd * 100)
        assert client.is_alive()
        assert resident() - before < SLACK
    finally:
        without.close()
    assert len(recording) == with_rows
