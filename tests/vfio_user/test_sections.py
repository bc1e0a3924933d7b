"""Sections: those that are there when the VM connects it may map, later ones are served by the server."""

from __future__ import annotations

import mmap
import os
import struct

import pytest

from ..core.scaffold import S_OK, CallbackDevice, Failure
from . import client as wire
from .client import Client, areas_of, caps_of, expect
from .served import Vm, descriptors, descriptors_become

PAGES = 0xFFFF8000  # 32 KiB
FLAG_READ, FLAG_WRITE, FLAG_MMAP, FLAG_CAPS = 1, 2, 4, 8
PAGE = 4096


class WithSection(CallbackDevice):
    """Makes its sections in Start, before any VM: (BAR page, pages, page of the file)."""

    def __init__(self, *sections: tuple[int, int, int]) -> None:
        super().__init__((PAGES, 0xFFFFF000))
        self.file = wire.memory(64 * PAGE)
        self.during["start"] = lambda: self._sections(sections)

    def _sections(self, sections: tuple[tuple[int, int, int], ...]) -> None:
        for page, pages, file_page in sections:
            hresult = self.section(self.file, 0, page, pages, 1, file_page)
            if hresult != S_OK:
                raise Failure(hresult)


def mapped(client: Client) -> tuple[int, int, list[tuple[int, int]]]:
    """The descriptor of BAR 0, the region's offset in it, and the areas."""
    truncated = client.region_info(0)
    argsz = caps_of(truncated.payload)[0][0]
    truncated.close()
    reply = client.region_info(0, argsz)
    fixed, caps = caps_of(reply.payload)
    assert fixed[0] == argsz == len(reply.payload)
    assert fixed[1] & FLAG_MMAP
    assert len(reply.fds) == 1, "one descriptor for the whole region"
    if not fixed[1] & FLAG_CAPS:
        return reply.fds.pop(), fixed[5], [(0, fixed[4])]
    [(identity, version, body)] = caps
    assert (identity, version, fixed[3]) == (1, 1, 32)
    return reply.fds.pop(), fixed[5], areas_of(body)


def test_a_section_before_the_vm_is_mapped_where_it_lies(vm: Vm) -> None:
    device = WithSection((2, 2, 5))
    client = vm.serve(device)
    client.enable()
    fd, base, areas = mapped(client)
    assert areas == [(2 * PAGE, 2 * PAGE)]
    view = mmap.mmap(fd, 2 * PAGE, offset=base + 2 * PAGE)
    os.close(fd)
    view[0:4] = b"vm's"
    # The device's section, which it has as its own file, and the VM's mapping are one memory.
    assert os.pread(device.file, 4, 5 * PAGE) == b"vm's"
    os.pwrite(device.file, b"dev's", 6 * PAGE + 8)
    assert view[PAGE + 8 : PAGE + 13] == b"dev's"
    # It must be answered over the wire all the same: QEMU turns mappings off while INTx is up.
    assert client.read(0, 2 * PAGE, 4) == b"vm's"
    client.store(0, 2 * PAGE + 4, 0x11223344)
    assert view[4:8] == b"\x44\x33\x22\x11"
    view.close()
    os.close(device.file)
    assert [name for name in device.names() if name in ("read", "write")] == []


def test_the_first_answer_says_how_much_room_the_second_needs(vm: Vm) -> None:
    client = vm.serve(device := WithSection((0, 1, 5), (4, 2, 9)))
    first = client.region_info(0)
    assert len(first.payload) == 32
    argsz = struct.unpack_from("<I", first.payload)[0]
    assert argsz == 32 + 8 + 8 + 2 * 16
    first.close()
    for short in (33, argsz - 1):
        between = client.region_info(0, short)
        assert len(between.payload) <= short
        assert struct.unpack_from("<I", between.payload) == (argsz,)
        between.close()
    fd, _, areas = mapped(client)
    assert sorted(areas) == [(0, PAGE), (4 * PAGE, 2 * PAGE)]
    os.close(fd)
    os.close(device.file)


def test_two_sections_of_one_bar_show_each_its_own_pages(vm: Vm) -> None:
    # One descriptor and one offset for the whole BAR: what lies elsewhere in its file cannot be mapped, but is served.
    device = WithSection((0, 1, 30), (4, 2, 9))
    client = vm.serve(device)
    client.enable()
    fd, base, areas = mapped(client)
    os.pwrite(device.file, b"one", 30 * PAGE)
    os.pwrite(device.file, b"two", 9 * PAGE)
    view = mmap.mmap(fd, 8 * PAGE, offset=base)
    content = {0: b"one", 4 * PAGE: b"two"}
    for offset, _ in areas:
        assert view[offset : offset + 3] == content[offset]
    for offset, text in content.items():
        assert client.read(0, offset, 3) == text
    view.close()
    os.close(fd)
    os.close(device.file)


def test_a_bar_without_sections_has_no_descriptor(vm: Vm) -> None:
    client = vm.serve(device := WithSection((0, 1, 0)))
    reply = client.region_info(1)
    assert reply.fds == []
    assert caps_of(reply.payload)[0][1] == FLAG_READ | FLAG_WRITE
    os.close(device.file)


def test_asking_again_and_again_leaves_no_descriptor(vm: Vm) -> None:
    client = vm.serve(device := WithSection((0, 1, 0)))
    before = descriptors()
    for _ in range(20):
        fd, _, _ = mapped(client)
        os.close(fd)
    descriptors_become(before)
    os.close(device.file)


def test_a_section_made_while_the_vm_runs_is_served(vm: Vm) -> None:
    device = WithSection()
    client = vm.serve(device)
    client.enable()
    device.calls.clear()
    assert device.section(device.file, 0, 3, 2, 1, 7) == S_OK
    os.pwrite(device.file, b"late", 7 * PAGE)
    assert client.read(0, 3 * PAGE, 4) == b"late"
    client.store(0, 4 * PAGE, 0x61626364)
    assert os.pread(device.file, 4, 8 * PAGE) == b"dcba"
    assert device.calls == []
    assert device.unsection(0, 3) == S_OK
    client.load(0, 3 * PAGE)
    assert device.names() == ["read"]
    os.close(device.file)


@pytest.mark.fault(37)
def test_a_file_that_is_cut_under_its_section_answers_all_ones(vm: Vm) -> None:
    device = WithSection()
    os.close(device.file)
    device.file = wire.memory(8 * PAGE, sealed=False)
    client = vm.serve(device)
    client.enable()
    if device.section(device.file, 0, 0, 2, 1, 0) == S_OK:
        os.ftruncate(device.file, 0)
        assert client.load(0, 8) == 0xFFFFFFFF
        client.store(0, 8, 1)
    assert client.is_alive()
    os.close(device.file)


@pytest.mark.parametrize(
    "payload",
    [
        struct.pack("<IIII", 16, 1, 0, 0),  # flags
        struct.pack("<IIII", 16, 0, 0, 1),  # count
        struct.pack("<IIII", 16, 0, 9, 0),  # no such region
        struct.pack("<IIII", (1 << 20) + 1, 0, 0, 0),
    ],
)
def test_a_request_for_a_regions_events_that_is_none_is_refused(client: Client, payload: bytes) -> None:
    import errno

    expect(errno.EINVAL, client.ask, wire.GET_REGION_IO_FDS, payload)
    assert client.is_alive()
