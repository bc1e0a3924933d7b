"""QEMU's own accesses, without a guest: config space and BARs."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, Failure, Recording, happens, ones
from ..vfio_user.client import memory
from ..vfio_user.served import IN_64_BITS, PAGE, MessageDevice, Vm
from ..vfio_user.test_slow import Hanging
from .qtest import Qtest

pytestmark = pytest.mark.vm

SLOT, PLACE = 4, 0xE000_0000
Boot = Callable[..., Qtest]


def test_config_space_is_the_devices_but_for_what_qemu_owns(vm: Vm, boot: Boot) -> None:
    qemu = boot(MessageDevice())
    seen = b"".join(qemu.config_load(SLOT, at).to_bytes(4, "little") for at in range(0, 256, 4))
    _, own = vm.config_peek(0)
    # BARs, ROM, the heads of capabilities, MSI and MSI-X are QEMU's own copies.
    owned = {*range(0x10, 0x28), *range(0x30, 0x34), *range(0x40, 0x58), *range(0x60, 0x6C)}
    assert [at for at in range(256) if at not in owned and seen[at] != own[at]] == []
    assert seen[0x40:0x42] == own[0x40:0x42]
    assert seen[0x60:0x6C] == own[0x60:0x6C]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_config_writes_of_every_width_reach_the_device(boot: Boot, size: int) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    for at in range(0x44, 0x48, size):
        device.calls.clear()
        qemu.config_store(SLOT, at, 0x5A5A5A5A & ones(size), size)
        value = (0x5A5A5A5A & ones(size)) << 8 * (at - 0x44)
        assert [call for call in device.calls if call[0] == "config_write"] == [("config_write", 0x44, value)]


def test_bars_are_sized_and_there_is_no_rom(boot: Boot) -> None:
    qemu = boot(CallbackDevice((PAGE, 0, IN_64_BITS, 0xFFFFFFFF)))
    for at, mask in ((0x10, PAGE), (0x14, 0), (0x18, IN_64_BITS), (0x1C, 0xFFFFFFFF), (0x20, 0), (0x24, 0)):
        qemu.config_store(SLOT, at, 0xFFFFFFFF)
        assert qemu.config_load(SLOT, at) == mask
    qemu.config_store(SLOT, 0x30, 0xFFFFF800)
    assert qemu.config_load(SLOT, 0x30) == 0


@pytest.mark.parametrize("posted", [True, False])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_accesses_of_every_width_are_callbacks(boot: Boot, recording: Recording, size: int, posted: bool) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device, x_no_posted_writes=not posted)
    bar = qemu.place(SLOT, PLACE)
    device.calls.clear()
    value = 0x8877665544332211 & ones(size)
    for offset in (0, 0x18, 4096 - size):
        qemu.store(bar + offset, value, size)
        assert qemu.load(bar + offset, size) == value
    expected = []
    for offset in (0, 0x18, 4096 - size):
        expected += [("write", 0, offset, size, value), ("read", 0, offset, size)]
    assert device.calls == expected
    rows = recording.rows(lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE)
    assert {row["origin"] for row in rows} == {lib.HDVLAB_GUEST}


def test_an_unaligned_access_comes_in_pieces(boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    device.calls.clear()
    qemu.write(bar + 3, b"abcdefg")
    assert qemu.load(bar, 1) == 0
    written = bytearray(16)
    for call in device.calls:
        if call[0] == "write":
            assert call[2] % call[3] == 0
            written[call[2] : call[2] + call[3]] = call[4].to_bytes(call[3], "little")
    assert written[3:10] == b"abcdefg"


def test_a_thousand_posted_writes_keep_their_order(boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    device.calls.clear()
    for value in range(1000):
        qemu.store(bar, value)
    assert qemu.load(bar) == 999
    assert [call[4] for call in device.calls[:-1]] == list(range(1000))


def test_a_device_that_fails_is_all_ones_and_no_more(boot: Boot) -> None:
    device = CallbackDevice((PAGE,))

    def fail(*_: int) -> int:
        raise Failure(HResult.E_ABORT)

    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    device.read = device.write = fail
    assert qemu.load(bar, 8) == ones(8)
    qemu.store(bar, 1)
    device.read = lambda *_: 7
    assert qemu.load(bar) == 7
    assert "vfio_region_read" not in qemu.log, "no error reply"


@pytest.mark.fault(53)
def test_a_device_that_hangs_costs_its_budget_and_not_the_connection(vm: Vm, boot: Boot) -> None:
    # QEMU would give up after x-msg-timeout; the late answer would desynchronise the stream.
    device = Hanging()
    qemu = boot(device, options={"budget_ms": 50})
    bar = qemu.place(SLOT, PLACE)
    assert qemu.load(bar) == 0xFFFFFFFF
    assert qemu.load(bar) == 0xFFFFFFFF
    device.leave.set()
    vm.until(lambda state: not state.hung)
    assert qemu.load(bar) == 0x1111


def test_a_slow_answer_is_waited_for(boot: Boot) -> None:
    device = Hanging()
    qemu = boot(device, options={"budget_ms": 0xFFFFFFFF}, x_msg_timeout=60000)
    bar = qemu.place(SLOT, PLACE)
    qemu._socket.sendall(f"readl {bar:#x}\n".encode())
    happens(device.entered)
    device.leave.set()
    assert qemu._line() == ["OK", "0x0000000000001111"]


@pytest.mark.fault(46)
def test_qemu_outlives_the_server(vm: Vm, boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    assert vm.end() == 0
    assert qemu.load(bar) == 0xFFFFFFFF
    qemu.store(bar, 1)
    assert qemu.process.poll() is None


@pytest.mark.fault(45)
def test_a_killed_qemu_is_seen_and_the_next_is_served(vm: Vm, boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    qemu.place(SLOT, PLACE)
    qemu.store(PLACE, 0x77)
    assert qemu.load(PLACE) == 0x77
    assert vm.state().peer == qemu.process.pid
    qemu.close()
    state = vm.until(lambda state: state.state == lib.HDVLAB_VFIO_USER_LISTENING)
    assert (state.dma_regions, state.peer) == (0, 0)
    again = boot(device)
    again.place(SLOT, PLACE)
    assert again.load(PLACE) == 0x77, "the device kept its state"


def test_a_machine_reset_is_a_reset_each_time(vm: Vm, boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    first = vm.until(lambda state: state.resets >= 1).resets
    for number in (1, 2):
        qemu.place(SLOT, PLACE)
        qemu.reset()
        vm.until(lambda state, least=first + number: state.resets >= least)
        assert qemu.config_load(SLOT, 4, 2) & 7 == 0
        device.calls.clear()
        qemu.load(PLACE)
        assert device.calls == [], "the BAR has no place"
    qemu.place(SLOT, PLACE)
    qemu.store(PLACE, 3)
    assert qemu.load(PLACE) == 3


def test_two_devices_are_two(boot: Boot) -> None:
    one, other = CallbackDevice((PAGE,)), CallbackDevice((PAGE,))
    qemu = boot(one, other)
    qemu.place(4, PLACE)
    qemu.place(5, PLACE + 0x10000)
    qemu.store(PLACE, 1)
    qemu.store(PLACE + 0x10000, 2)
    assert (qemu.load(PLACE), qemu.load(PLACE + 0x10000)) == (1, 2)
    assert (one.memory[0, 0], other.memory[0, 0]) == (1, 2)


def test_a_section_is_memory_that_qemu_maps(boot: Boot) -> None:
    device = CallbackDevice((0xFFFFC000,))
    fd = memory(8 * 4096)
    device.during["start"] = lambda: device.errors.extend(
        [AssertionError("no section")] if device.section(fd, 0, 1, 2, 1, 3) else []
    )
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    device.calls.clear()
    qemu.store(bar + 0x1010, 0x44434241)
    assert os.pread(fd, 4, 3 * 4096 + 0x10) == b"ABCD"
    os.pwrite(fd, b"wxyz", 4 * 4096 + 8)
    assert qemu.load(bar + 0x2008) == int.from_bytes(b"wxyz", "little")
    assert device.calls == []
    qemu.store(bar + 0x3000, 1)
    qemu.load(bar)
    assert device.names() == ["write", "read"]
    with mmap.mmap(fd, 8 * 4096) as view:
        assert view[3 * 4096 + 0x10] == ord("A")
    os.close(fd)


def test_accesses_of_mapped_pages_are_no_messages_and_other_writes_are_waited_for(vm: Vm, boot: Boot) -> None:
    device = CallbackDevice((0xFFFFC000,))
    fd, never, served = memory(2 * 4096), threading.Event(), threading.Event()
    device.during["start"] = lambda: device.errors.extend(
        [AssertionError("no section")] if device.section(fd, 0, 1, 1, 1, 1) else []
    )
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    before = vm.state().messages
    for offset in range(0, 4096, 64):
        qemu.store(bar + 0x1000 + offset, offset)
        assert qemu.load(bar + 0x1000 + offset) == offset
    assert vm.state().messages == before, "QEMU has mapped it"

    def slow(bar: int, offset: int, size: int, value: int) -> None:
        never.wait(0.3)
        served.set()

    device.write = slow
    qemu.store(bar, 1)
    assert served.is_set(), "no write is posted by a device of which something is mapped"
    os.close(fd)


def test_the_pages_of_the_msix_table_are_not_mapped(vm: Vm, boot: Boot, recording: Recording) -> None:
    device = MessageDevice(bars=(4096, 0, 0x4000))
    fd = memory(4 * 4096)

    def sections() -> None:
        assert [device.section(fd, 2, page, 1, 1, page) for page in (0, 1, 3)] == [S_OK] * 3

    qemu = boot(device, prepare=sections)
    table = qemu.place(SLOT, PLACE + 0x10000, bar=2)
    marks = [recording.payload(row["payload"], row["size"]) for row in recording.rows(lib.HDVLAB_MARK)]
    assert [mark for mark in marks if b"BAR" in mark] == [
        b"the VM may map BAR2+0x3000, 0x1000 bytes: accesses there leave no rows"
    ]
    before = vm.state().messages
    qemu.store(table + 0x3000, 0x1234)
    assert vm.state().messages == before
    assert os.pread(fd, 2, 3 * 4096) == b"\x34\x12"
    # The entry that the guest writes is QEMU's; it is not in the section's file.
    qemu.store(table + 8, 0x5678)
    assert qemu.load(table + 8) == 0x5678
    assert os.pread(fd, 16, 0) == bytes(16)
    os.close(fd)
