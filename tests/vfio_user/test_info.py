"""What the device says of itself: DEVICE_GET_INFO, regions, interrupts."""

from __future__ import annotations

import errno
import struct

import pytest

from ..core.scaffold import CallbackDevice
from . import client as wire
from .client import Client, caps_of, expect
from .served import IN_64_BITS, PAGE, MessageDevice, Vm

READ_WRITE = 3


def test_the_device_is_pci_can_be_reset_and_has_nine_regions_and_five_interrupts(client: Client) -> None:
    # QEMU: malformed otherwise; without the reset flag it never resets.
    assert client.info() == (3, 9, 5)


def test_each_bar_has_the_size_that_the_device_says(vm: Vm) -> None:
    client = vm.serve(CallbackDevice((PAGE, 0, IN_64_BITS, 0xFFFFFFFF, 0, 0xFFFFFFF0)))
    sizes = {}
    for index in range(9):
        reply = client.region_info(index)
        fixed, caps = caps_of(reply.payload)
        argsz, flags, echoed, cap_offset, size, _ = fixed
        assert (len(reply.payload), argsz, echoed, cap_offset, caps, reply.fds) == (32, 32, index, 0, [], [])
        assert flags == (READ_WRITE if size else 0), index
        sizes[index] = size
    assert sizes.pop(wire.CONFIG) in (256, 4096)
    assert sizes == {0: 4096, 1: 0, 2: 4096, 3: 0, 4: 0, 5: 16, wire.ROM: 0, 8: 0}


def test_a_bar_beyond_4_gib_has_its_size(vm: Vm) -> None:
    client = vm.serve(CallbackDevice((0x0000000C, 0xFFFFFFF8)))
    assert caps_of(client.region_info(0).payload)[0][4] == 8 << 32


@pytest.mark.fault(16)
@pytest.mark.parametrize("index", [9, 10, 255, 0x80000000, 0xFFFFFFFF])
def test_a_region_or_interrupt_that_is_not_there_is_refused(client: Client, index: int) -> None:
    expect(errno.EINVAL, client.region_info, index)
    expect(errno.EINVAL, client.irq_info, index)


def test_the_interrupts_are_those_of_the_config_space(vm: Vm) -> None:
    client = vm.serve(MessageDevice(pin=1))
    counts = []
    for index in range(5):
        flags, count = client.irq_info(index)
        assert not count or flags & 1, "signalled by an eventfd"
        counts.append(count)
    assert counts[:3] == [1, 4, 5]
    # QEMU takes an ERR count of 0 for "cannot"; the server has no use for either.
    assert counts[3] in (0, 1)
    assert counts[4] in (0, 1)
    expect(errno.EINVAL, client.irq_info, 5)


def test_a_device_without_interrupts_has_none(client: Client) -> None:
    assert [client.irq_info(index)[1] for index in range(3)] == [0, 0, 0]


def test_regions_that_cannot_be_mapped_have_no_descriptors_to_signal(client: Client) -> None:
    request = struct.pack("<IIII", 16, 0, 0, 0)
    reply = client.ask(wire.GET_REGION_IO_FDS, request)
    assert reply.fds == []
    assert reply.payload == request
