"""The vfio-user server: what a VM's messages do to a device, its memory, its interrupts and its rows."""

from __future__ import annotations

import os
import socket
import struct

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .register_scaffold import RegisterDevice, register
from .scaffold import S_OK, CallbackDevice, Recording, code
from .vfio_user_scaffold import (
    CONFIG,
    DMA_WRITE,
    GET_INFO,
    IRQ_INFO,
    MIB,
    NO_REPLY,
    REGION_INFO,
    RESET,
    VM,
    eventfd,
    ram,
    signals,
)

GUEST, DEVICE, MACHINE = lib.HDVLAB_GUEST, lib.HDVLAB_DEVICE, lib.HDVLAB_MACHINE
INTX, MSI, MSIX = range(3)
WRITEABLE = 1  # HdvMmioMappingFlagWriteable
ASSIGN, DISABLE, UNMASK = 0x24, 0x21, 0x11
COMMAND, BUS_MASTER = 4, 6


def with_messages(**other: int) -> RegisterDevice:
    """MSI with 4 vectors at 0x40 (64 bit), MSI-X with 4 at 0x50, its table in BAR 1; INTA."""
    config = {
        0x04: (0x0010_0000, 0, 0),
        0x34: (0x40, 0, 0),
        0x3C: (0x100, 0xFF, 0),
        0x40: (0x0084_5005, 0x0071_0000, 0),
        0x44: (0, 0xFFFF_FFFC, 0),
        0x48: (0, 0xFFFF_FFFF, 0),
        0x4C: (0, 0xFFFF, 0),
        0x50: (0x0003_0011, 0xC000_0000, 0),
        0x54: (1, 0, 0),
        0x58: (0x1001, 0, 0),
    }
    return RegisterDevice([register(0), register(8)], bars=(4096, 8192), config=config, msi=0x40, msix=0x50, **other)


def raised(vm: VM, vector: int) -> int:
    return code(lib.hdvlab_register_file_interrupt(vm.device.file, vector))


def dma_write(vm: VM, gpa: int, data: bytes) -> int:
    return code(lib.HdvWriteGuestMemory(vm.handle, gpa, len(data), ffi.from_buffer("uint8_t[]", data)))


def dma_read(vm: VM, gpa: int, size: int) -> tuple[int, bytes]:
    buffer = ffi.new("uint8_t[]", size)
    return code(lib.HdvReadGuestMemory(vm.handle, gpa, size, buffer)), bytes(ffi.buffer(buffer))


def test_a_vm_learns_what_the_device_is(recording: Recording) -> None:
    with VM(with_messages(), recording) as vm:
        assert struct.unpack("<IIII", vm.call(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))) == (16, 3, 9, 5)
        sizes = []
        for index in range(9):
            reply = vm.call(REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
            sizes.append(struct.unpack("<IIIIQQ", reply)[4])
        assert sizes == [4096, 8192, 0, 0, 0, 0, 0, 256, 0]
        counts = [vm.call(IRQ_INFO, struct.pack("<IIII", 16, 0, i, 0)) for i in range(5)]
        assert [struct.unpack("<IIII", c)[3] for c in counts] == [1, 4, 4, 1, 1]
        assert vm.read(CONFIG, 0) == 0x11E8_1234
        assert vm.read(CONFIG, 0x10) == 0
        vm.write(CONFIG, 0x10, 0xFFFF_FFFF)
        assert vm.read(CONFIG, 0x10) == 0xFFFF_F000
        assert vm.read(CONFIG, 0x3D, 1) == 1


def test_accesses_are_rows_of_the_machine_until_the_first_reset_and_the_guests_from_then_on(
    recording: Recording,
) -> None:
    with VM(with_messages(), recording) as vm:
        vm.read(CONFIG, 0, 64)
        vm.call(RESET)
        vm.write(0, 8, 0x1234, posted=True)
        assert vm.read(0, 8) == 0x1234
    dump, reset, write, read = recording.rows(
        lib.HDVLAB_CONFIG_READ, lib.HDVLAB_RESET, lib.HDVLAB_MMIO_WRITE, lib.HDVLAB_MMIO_READ
    )
    assert (dump["origin"], dump["size"]) == (MACHINE, 64)
    assert recording.payload(dump["payload"], 64)[:4] == b"\x34\x12\xe8\x11"
    assert reset["origin"] == MACHINE
    assert (write["origin"], read["origin"]) == (GUEST, GUEST)


def test_a_reset_stops_and_starts_a_device_that_was_touched_only(recording: Recording) -> None:
    with VM(with_messages(), recording) as vm:
        vm.write(CONFIG, COMMAND, BUS_MASTER)
        vm.call(RESET)
        assert vm.read(CONFIG, COMMAND, 2) == 0
        vm.write(0, 8, 0x1234)
        vm.call(RESET)
        vm.call(RESET)
        assert vm.read(0, 8) == 0
    rows = recording.rows(lib.HDVLAB_RESET)
    assert [row["value"] for row in rows] == [0, 1, 0]


def test_a_device_reaches_the_memory_that_the_vm_maps(recording: Recording) -> None:
    fd = ram()
    with VM(with_messages(), recording) as vm:
        vm.map(0, MIB // 2, fd)
        vm.map(1 << 32, MIB // 2, fd, MIB // 2)
        assert dma_write(vm, 0x1000, b"early") == HResult.E_ACCESSDENIED
        vm.write(CONFIG, COMMAND, BUS_MASTER)
        assert dma_write(vm, 0x1000, b"hello") == S_OK
        assert os.pread(fd, 5, 0x1000) == b"hello"
        os.pwrite(fd, b"there", MIB // 2 + 16)
        assert dma_read(vm, (1 << 32) + 16, 5) == (S_OK, b"there")
        assert dma_write(vm, MIB // 2 - 1, b"ab") == HResult.ERROR_NOACCESS
        state = vm.state()
        assert (state.dma_regions, state.dma_bytes) == (2, MIB)
        vm.unmap(0, MIB // 2)
        assert dma_write(vm, 0x1000, b"late") == HResult.ERROR_NOACCESS
    os.close(fd)


def test_an_aperture_outlives_a_remap_to_the_same_place_and_no_other(recording: Recording) -> None:
    fd = ram()
    with VM(with_messages(), recording) as vm:
        vm.map(0, MIB, fd)
        vm.write(CONFIG, COMMAND, BUS_MASTER)
        out = ffi.new("void **")
        assert code(lib.HdvCreateGuestMemoryAperture(vm.handle, 0x7F000, 0x2000, 0, out)) == S_OK
        window = ffi.buffer(out[0], 0x2000)
        vm.unmap(0, MIB)
        vm.map(0, MIB // 2, fd)
        vm.map(MIB // 2, MIB // 2, fd, MIB // 2)
        vm.read(CONFIG, 0)
        window[:4] = b"same"
        assert os.pread(fd, 4, 0x7F000) == b"same"
        assert code(lib.HdvCreateGuestMemoryAperture(vm.handle, 0x7F000, 0x2000, 0, out)) == S_OK  # across the border
        vm.unmap(0, MIB // 2)
        vm.read(CONFIG, 0)
        assert bytes(window[:4]) == bytes(4)
        window[:4] = b"lost"
        assert os.pread(fd, 4, 0x7F000) == b"same"
    assert len(recording.rows(lib.HDVLAB_APERTURE_UNMAP)) == 2
    os.close(fd)


def test_msi_goes_to_the_event_of_its_vector(recording: Recording) -> None:
    events = [eventfd() for _ in range(4)]
    with VM(with_messages(), recording) as vm:
        vm.write(CONFIG, COMMAND, BUS_MASTER)
        for offset, value in ((0x44, 0xFEE0_1000), (0x48, 0), (0x4C, 0x4060), (0x40, 0x00A5_5005)):
            vm.write(CONFIG, offset, value)
        vm.set_irqs(MSI, ASSIGN, 0, 4, events)
        assert vm.state().interrupt_mode == 5
        assert raised(vm, 2) == S_OK
        assert [signals(fd, 0) for fd in events] == [0, 0, 1, 0]
        vm.set_irqs(MSI, DISABLE)
        assert raised(vm, 2) == S_OK  # nobody's event: a message to the VM
        vm.read(CONFIG, 0)
        assert [(c, f & NO_REPLY, p) for _, c, f, _, p in vm.later] == [
            (DMA_WRITE, NO_REPLY, struct.pack("<QQI", 0xFEE0_1000, 4, 0x4062))
        ]
    for fd in events:
        os.close(fd)


def test_msix_vectors_open_in_the_devices_own_table(recording: Recording) -> None:
    event = eventfd()
    with VM(with_messages(), recording) as vm:
        vm.write(CONFIG, COMMAND, BUS_MASTER)
        vm.write(CONFIG, 0x50, 0x8003_0011)
        vm.set_irqs(MSIX, ASSIGN, 0, 1)
        assert raised(vm, 1) == S_OK  # masked: pending in the device's own bits
        assert vm.read(1, 0x1000, 8) == 2
        vm.set_irqs(MSIX, ASSIGN, 1, 1, [event])
        assert signals(event) == 1
        assert vm.read(1, 0x1000, 8) == 0
        vm.set_irqs(MSIX, ASSIGN, 1, 1)
        assert raised(vm, 1) == S_OK
        assert signals(event, 0) == 0
        vm.set_irqs(MSIX, ASSIGN, 1, 1, [event])
        assert signals(event) == 1
        vm.set_irqs(MSIX, DISABLE)
    writes = recording.rows(lib.HDVLAB_MMIO_WRITE)
    assert {row["origin"] for row in writes} == {MACHINE}
    os.close(event)


def test_a_line_is_raised_again_until_the_device_lowers_it(recording: Recording) -> None:
    trigger, resample = eventfd(), eventfd()
    with VM(with_messages(), recording) as vm:
        vm.set_irqs(INTX, ASSIGN, 0, 1, [trigger])
        vm.set_irqs(INTX, 0x14, 0, 1, [resample])
        assert code(lib.hdvlab_device_set_line(vm.handle, 1)) == S_OK
        assert signals(trigger) == 1
        assert vm.read(CONFIG, 6, 2) & 8
        assert signals(trigger, 0) == 0
        vm.set_irqs(INTX, UNMASK, 0, 1)
        assert signals(trigger) == 1
        os.eventfd_write(resample, 1)
        assert signals(trigger) == 1
        assert code(lib.hdvlab_device_set_line(vm.handle, 0)) == S_OK
        vm.set_irqs(INTX, UNMASK, 0, 1)
        assert signals(trigger, 0) == 0
        assert not vm.read(CONFIG, 6, 2) & 8
        vm.write(CONFIG, COMMAND, 0x400, 2)
        assert code(lib.hdvlab_device_set_line(vm.handle, 1)) == S_OK
        assert signals(trigger, 0) == 0
        vm.write(CONFIG, COMMAND, 0, 2)
        assert signals(trigger) == 1
    os.close(trigger)
    os.close(resample)


def test_the_next_vm_finds_the_device_as_it_was(recording: Recording) -> None:
    with VM(CallbackDevice(), recording) as vm:
        vm.write(0, 8, 0x1234)
        vm.socket.close()
        vm.wait_for(lambda s: s.state == lib.HDVLAB_VFIO_USER_NONE)
        vm.connect()
        assert vm.read(0, 8) == 0x1234
        assert vm.state().connections == 1  # of a server that began anew
    assert len(recording.rows(lib.HDVLAB_MARK)) == 4  # came, went, came, went


def test_a_section_is_memory_that_the_vm_maps(recording: Recording) -> None:
    fd, device = ram(0x4000), CallbackDevice([0xFFFF_8000])
    with VM(device, recording) as vm:
        create = lib.HdvCreateSectionBackedMmioRange
        assert code(create(vm.handle, 0, 1, 2, WRITEABLE, ffi.cast("void *", fd), 2)) == S_OK
        request = struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0)
        reply = struct.unpack("<IIIIQQ", vm.call(REGION_INFO, request))
        assert reply[:2] == (64, 3)
        number = vm.send(REGION_INFO, struct.pack("<IIIIQQ", 64, 0, 0, 0, 0, 0))
        message, fds, _, _ = socket.recv_fds(vm.socket, 80, 4)
        assert struct.unpack_from("<H", message)[0] == number
        _, flags, _, cap, size, offset = struct.unpack_from("<IIIIQQ", message, 16)
        assert (flags, cap, size, offset) == (15, 32, 0x8000, 0x1000)
        assert struct.unpack_from("<HHIIIQQ", message, 48) == (1, 1, 0, 1, 0, 0x1000, 0x2000)
        os.pwrite(fds[0], b"abcd", offset + 0x1000)
        assert vm.read(0, 0x1000) == int.from_bytes(b"abcd", "little")
        os.close(fds[0])
    os.close(fd)
