"""Guest RAM with a descriptor: DMA_MAP, DMA_UNMAP, and what a device reaches through them."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Iterator

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, code
from . import client as wire
from .client import Client, expect, memory
from .served import Vm, descriptors, descriptors_become

MIB = 1 << 20
PAGE = 4096


@pytest.fixture
def ram() -> Iterator[int]:
    """A memfd of 2 MiB, sealed as QEMU's are by default."""
    fd = memory(2 * MIB)
    yield fd
    os.close(fd)


def request(address: int, size: int, offset: int = 0, flags: int = 3, argsz: int = 32) -> bytes:
    return struct.pack("<IIQQQ", argsz, flags, offset, address, size)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_device_reads_and_writes_the_very_memory(client: Client, device: CallbackDevice, sealed: bool) -> None:
    fd = memory(2 * MIB, sealed)
    client.dma_map(0, 2 * MIB, fd)
    os.pwrite(fd, b"hello", 0x1FFE)
    assert device.dma_read(0x1FFE, 5) == (S_OK, b"hello")
    assert device.dma_write(2 * MIB - 3, b"end") == S_OK
    assert os.pread(fd, 3, 2 * MIB - 3) == b"end"
    os.close(fd)
    assert device.dma_read(2 * MIB - 3, 3) == (S_OK, b"end")


def test_regions_are_a_translation_into_one_file(client: Client, device: CallbackDevice, ram: int) -> None:
    # QEMU splits the low mebibyte for firmware, and maps what is above 4 GiB from the middle of the file.
    client.dma_map(0, 0xC0000, ram)
    client.dma_map(0xC0000, MIB - 0xC0000, ram, 0xC0000)
    client.dma_map(1 << 32, MIB, ram, MIB)
    os.pwrite(ram, b"seam", 0xC0000 - 2)
    os.pwrite(ram, b"high", MIB)
    assert device.dma_read(0xC0000 - 2, 4) == (S_OK, b"seam"), "over a border of regions"
    assert device.dma_read(1 << 32, 4) == (S_OK, b"high")
    assert device.dma_write(0xC0000 - 1, b"xy") == S_OK
    assert os.pread(ram, 2, 0xC0000 - 1) == b"xy"


@pytest.mark.fault(21)
def test_outside_the_regions_nothing_is_copied(client: Client, device: CallbackDevice, ram: int) -> None:
    client.dma_map(0, PAGE, ram)
    client.dma_map(2 * PAGE, PAGE, ram, PAGE)
    for address, size in ((PAGE, 1), (PAGE - 1, 2), (2 * PAGE - 1, 2), (3 * PAGE, 1), (PAGE - 4, PAGE + 8)):
        assert device.dma_read(address, size) == (HResult.ERROR_NOACCESS, b"\xee" * size)
        assert device.dma_write(address, b"x" * size) == HResult.ERROR_NOACCESS
    assert os.pread(ram, 2 * PAGE, 0) == bytes(2 * PAGE)


@pytest.mark.fault(26)
def test_the_very_same_region_again_succeeds_and_any_other_overlap_is_told_as_such(
    client: Client, device: CallbackDevice, ram: int
) -> None:
    client.dma_map(4 * PAGE, 4 * PAGE, ram)
    client.dma_map(4 * PAGE, 4 * PAGE, ram)
    other = memory(2 * MIB)
    for address, size, offset, flags, fd in (
        (4 * PAGE, 4 * PAGE, PAGE, 3, ram),
        (4 * PAGE, 4 * PAGE, 0, 1, ram),
        (4 * PAGE, 4 * PAGE, 0, 3, other),
        (7 * PAGE, 2 * PAGE, 0, 3, ram),
        (3 * PAGE, 2 * PAGE, 0, 3, ram),
        (0, 64 * PAGE, 0, 3, ram),
        (5 * PAGE, PAGE, 0, 3, ram),
    ):
        # The specification says EEXIST, libvfio-user EINVAL.
        expect(errno.EEXIST, client.ask, wire.DMA_MAP, request(address, size, offset, flags), [fd])
    expect(errno.EEXIST, client.ask, wire.DMA_MAP, request(4 * PAGE, 4 * PAGE))
    client.dma_map(8 * PAGE, PAGE, ram)  # beside it
    client.dma_unmap(4 * PAGE, 4 * PAGE)  # once, though it was mapped twice
    assert device.dma_read(4 * PAGE, 1)[0] == HResult.ERROR_NOACCESS
    os.close(other)


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("payload", "number"),
    [
        (request(0, 0), errno.EINVAL),
        (request((1 << 64) - PAGE, 2 * PAGE), errno.EINVAL),
        (request(PAGE, (1 << 64) - PAGE), errno.ENOSPC),
        (request(0, (8 << 40) + PAGE), errno.ENOSPC),
        (request(1, PAGE), errno.EINVAL),
        (request(0, PAGE + 1), errno.EINVAL),
        (request(0, PAGE, flags=0x13), errno.EINVAL),
        (request(0, PAGE, flags=0x80000003), errno.EINVAL),
    ],
    ids=[
        "size 0",
        "wraps",
        "wraps by its size",
        "8 TiB",
        "address not aligned",
        "size not aligned",
        "flag",
        "top flag",
    ],
)
@pytest.mark.parametrize("with_fd", [False, True])
def test_a_region_that_cannot_be_is_refused(client: Client, payload: bytes, number: int, with_fd: bool) -> None:
    fd = memory(4 * PAGE)
    before = descriptors()
    # With a descriptor 8 TiB are first of all behind the file's end.
    allowed = {number, errno.EINVAL} if with_fd or number == errno.ENOSPC else {number}
    expect(allowed, client.ask, wire.DMA_MAP, payload, [fd] if with_fd else [])
    descriptors_become(before)
    os.close(fd)
    assert client.is_alive()


@pytest.mark.fault(26)
@pytest.mark.parametrize(("offset", "size"), [(0, 5 * PAGE), (4 * PAGE, PAGE), (1, PAGE), ((1 << 64) - PAGE, PAGE)])
def test_a_region_behind_the_end_of_its_file_is_refused(client: Client, offset: int, size: int) -> None:
    fd = memory(4 * PAGE)
    before = descriptors()
    expect(errno.EINVAL, client.ask, wire.DMA_MAP, request(0, size, offset), [fd])
    descriptors_become(before)
    os.close(fd)


@pytest.mark.fault(26)
def test_more_regions_than_were_agreed_to_are_refused_and_all_others_stay(vm: Vm, device: CallbackDevice) -> None:
    vm.running(device, place=False)
    client = vm.wire()
    most = client.version()[2].get("max_dma_maps", 65535)
    payloads = [wire.frame(wire.DMA_MAP, request(i * 2 * PAGE, PAGE), i & 0xFFFF) for i in range(most + 1)]
    for at in range(0, len(payloads), 500):  # QEMU pipelines them
        part = payloads[at : at + 500]
        client.raw(b"".join(part))
        for i in range(at, at + len(part)):
            reply = client.reply_to(i & 0xFFFF, wire.DMA_MAP)
            assert reply.is_error == (i == most), i
    assert vm.state().dma_regions == most
    client.dma_unmap(0, PAGE)
    client.dma_map(most * 2 * PAGE, PAGE)


@pytest.mark.fault(27)
def test_only_exactly_one_region_is_unmapped(client: Client, device: CallbackDevice, ram: int) -> None:
    client.dma_map(0, 4 * PAGE, ram)
    client.dma_map(4 * PAGE, 4 * PAGE, ram, 4 * PAGE)
    for address, size in ((8 * PAGE, PAGE), (0, PAGE), (PAGE, 3 * PAGE), (0, 8 * PAGE), (0, 0), (2 * PAGE, 4 * PAGE)):
        expect(errno.ENOENT, client.ask, wire.DMA_UNMAP, struct.pack("<IIQQ", 24, 0, address, size))
    assert device.dma_read(0, 8 * PAGE)[0] == S_OK
    client.dma_unmap(0, 4 * PAGE)
    expect(errno.ENOENT, client.ask, wire.DMA_UNMAP, struct.pack("<IIQQ", 24, 0, 0, 4 * PAGE))
    assert device.dma_read(0, 1)[0] == HResult.ERROR_NOACCESS
    assert device.dma_read(4 * PAGE, 1)[0] == S_OK


def test_qemus_unmap_all_takes_every_region(client: Client, vm: Vm, ram: int) -> None:
    client.dma_map(0, PAGE, ram)
    client.dma_map(8 * PAGE, PAGE)
    client.dma_unmap(0, 0, flags=2)
    assert vm.state().dma_regions == 0


@pytest.mark.parametrize("flags", [1, 4, 0x80000000])
def test_an_unmap_with_a_bitmap_or_unknown_flags_is_refused(client: Client, flags: int) -> None:
    client.dma_map(0, PAGE)
    expect(errno.EINVAL, client.ask, wire.DMA_UNMAP, struct.pack("<IIQQ", 24, flags, 0, PAGE))
    client.dma_unmap(0, PAGE)


@pytest.mark.fault(27)
def test_an_aperture_ends_with_its_memory_and_leaves_zeros(client: Client, device: CallbackDevice, ram: int) -> None:
    client.dma_map(0, 4 * PAGE, ram)
    hresult, mapped = device.aperture(0, PAGE)
    assert hresult == S_OK
    hold = ffi.new("void **")
    assert code(lib.hdvlab_aperture_hold(device.handle, mapped, hold)) == S_OK
    os.pwrite(ram, b"live", 0)
    assert bytes(ffi.buffer(mapped, 4)) == b"live"
    client.close()  # the machine is gone, and its memory with it
    bytes(ffi.buffer(mapped, 4))  # no SIGSEGV, whichever it is
    assert code(lib.hdvlab_aperture_release(hold[0])) == S_OK


def test_an_aperture_survives_the_remapping_of_what_it_shows(client: Client, device: CallbackDevice, ram: int) -> None:
    # At boot QEMU unmaps the whole RAM and maps it again in other pieces, several times: borders move, bytes do not.
    client.dma_map(0, 2 * MIB, ram)
    hresult, mapped = device.aperture(MIB - PAGE, 2 * PAGE)
    assert hresult == S_OK
    client.dma_unmap(0, 2 * MIB)
    client.dma_map(0, 0xA0000, ram)
    client.dma_map(0xC0000, 2 * MIB - 0xC0000, ram, 0xC0000)
    os.pwrite(ram, b"still", MIB - 2)
    assert bytes(ffi.buffer(mapped + PAGE - 2, 5)) == b"still"
    ffi.buffer(mapped, 2)[:] = b"ap"
    assert os.pread(ram, 2, MIB - PAGE) == b"ap"


@pytest.mark.fault(28)
def test_memory_that_the_vm_cuts_off_kills_nobody(client: Client, device: CallbackDevice) -> None:
    fd = memory(4 * PAGE, sealed=False)
    client.dma_map(0, 4 * PAGE, fd)
    assert device.dma_write(2 * PAGE, b"there") == S_OK
    hresult, _ = device.aperture(2 * PAGE, PAGE)
    os.ftruncate(fd, PAGE)
    assert device.dma_read(0, 4)[0] == S_OK
    assert device.dma_read(2 * PAGE, 4)[0] == HResult.ERROR_NOACCESS
    assert device.dma_write(2 * PAGE, b"gone") == HResult.ERROR_NOACCESS
    # A pointer would be fatal now, so there is none to memory that may be cut.
    assert hresult == HResult.E_ACCESSDENIED
    os.close(fd)
    assert client.is_alive()


@pytest.mark.fault(29)
def test_memory_that_is_read_only_is_not_written(client: Client, device: CallbackDevice, ram: int) -> None:
    client.dma_map(0, PAGE, ram, flags=wire.READABLE)
    client.dma_map(PAGE, PAGE, ram, PAGE)
    os.pwrite(ram, b"rom", 0)
    assert device.dma_read(0, 3) == (S_OK, b"rom")
    assert device.dma_write(0, b"xxx") == HResult.E_ACCESSDENIED
    assert device.dma_write(PAGE - 1, b"xx") == HResult.E_ACCESSDENIED
    assert os.pread(ram, PAGE + 1, 0) == b"rom" + bytes(PAGE - 2)


@pytest.mark.fault(29)
def test_without_bus_mastering_no_memory_is_reached(client: Client, device: CallbackDevice, ram: int) -> None:
    client.dma_map(0, PAGE, ram)
    client.enable(2)
    assert device.dma_read(0, 1)[0] == HResult.E_ACCESSDENIED
    assert device.dma_write(0, b"x") == HResult.E_ACCESSDENIED
    client.enable(6)
    assert device.dma_read(0, 1) == (S_OK, b"\0")


@pytest.mark.fault(30)
@pytest.mark.parametrize("kind", ["pipe", "directory", "null", "zero", "socket", "read-only", "path"])
def test_a_descriptor_that_is_no_memory_is_refused_and_closed(client: Client, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ram")
        with open(path, "wb") as file:
            file.truncate(4 * PAGE)
        spare = -1
        if kind == "pipe":
            spare, fd = os.pipe()
        elif kind == "socket":
            fd = os.dup(client.socket.fileno())
        else:
            flags = os.O_PATH if kind == "path" else os.O_RDONLY if kind in ("directory", "read-only") else os.O_RDWR
            name = {"directory": folder, "null": "/dev/null", "zero": "/dev/zero"}.get(kind, path)
            fd = os.open(name, flags | os.O_CLOEXEC)
        before = descriptors()
        expect({errno.EINVAL, errno.EACCES}, client.ask, wire.DMA_MAP, request(0, PAGE), [fd])
        descriptors_become(before)
        os.close(fd)
        if spare >= 0:
            os.close(spare)
    assert client.is_alive()


@pytest.mark.fault(9)
def test_two_descriptors_for_one_region_are_refused_and_closed(client: Client, ram: int) -> None:
    before = descriptors()
    expect(errno.EINVAL, client.ask, wire.DMA_MAP, request(0, PAGE), [ram, ram])
    expect(errno.EINVAL, client.ask, wire.DMA_MAP, request(0, PAGE), [ram] * 16)
    descriptors_become(before)


def test_storms_of_maps_leave_nothing_behind(client: Client, vm: Vm, ram: int) -> None:
    client.dma_map(0, 2 * MIB, ram)
    before = descriptors()
    for _ in range(50):
        client.dma_unmap(0, 2 * MIB)
        client.dma_map(0, MIB, ram)
        client.dma_map(MIB, MIB, ram, MIB)
        client.dma_unmap(0, MIB)
        client.dma_unmap(MIB, MIB)
        client.dma_map(0, 2 * MIB, ram)
    descriptors_become(before)
    state = vm.state()
    assert (state.dma_regions, state.dma_bytes) == (1, 2 * MIB)


def test_the_same_map_again_is_not_counted_twice(vm: Vm, client: Client) -> None:
    fd = memory(8192)
    for _ in range(3):
        client.dma_map(0, 8192, fd)
    state = vm.state()
    assert (state.dma_regions, state.dma_bytes) == (1, 8192)
    client.dma_unmap(0, 8192)
    state = vm.state()
    assert (state.dma_regions, state.dma_bytes) == (0, 0)
    os.close(fd)
