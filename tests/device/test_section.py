"""Section-backed pages of a BAR: memory that the guest and the device share, past all handlers."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessError, AccessWarning, HdvError, HResult, StateError
from hdvlab.guest import Guest
from hdvlab.hdv import Section

from ..labs import wait_for


class Paged(Device):
    vendor_id, device_id = 0x1234, 13

    class bar0(Bar, size=16384):
        CTRL = Register(0x0000)
        HIDDEN = Register(0x1000, reset=0x55)

    def initialize(self) -> None:
        self.reads = 0

    @bar0.HIDDEN.on_read
    def hidden(self, value: int) -> int:
        self.reads += 1
        return value


@pytest.fixture
def device(lab: Lab) -> Paged:
    device = lab.plug(Paged).device
    assert isinstance(device, Paged)
    return device


def test_the_guest_and_the_device_see_the_same_bytes(lab: Lab, device: Paged) -> None:
    section, bar0 = device.section(0x1000, 0x2000), lab["paged"].bar0
    section.memory[0x10:0x14] = b"\x78\x56\x34\x12"
    assert bar0.read(0x1010, 4) == 0x1234_5678
    bar0.write(0x2FF8, 0x1122_3344_5566_7788, 8)
    assert section.memory[0x1FF8:0x2000] == b"\x88\x77\x66\x55\x44\x33\x22\x11"
    assert [bar0.read(0x2FF8 + i, 1) for i in range(3)] == [0x88, 0x77, 0x66]


def test_accesses_there_reach_no_handler_and_leave_no_row_but_their_mapping_does(lab: Lab, device: Paged) -> None:
    with lab.record() as run:
        section = device.section(0x1000, 0x1000)
        assert lab["paged"].bar0.HIDDEN.read() == 0
        lab["paged"].bar0.HIDDEN.write(1)
        section.close()
    frame = run.frame()
    assert list(frame["kind"]) == ["section_map", "section_unmap"]
    assert set(frame["address"]) == {0x1000}
    assert set(frame["value"]) == {0x1000}
    assert device.reads == 0
    assert lab["paged"].bar0.HIDDEN.read() == 0x55, "closed, the register is back"
    assert device.reads == 1


def test_accesses_are_recorded_on_request() -> None:
    with Lab(record_sections=True) as lab:
        plugged = lab.plug(Paged)
        section = plugged.device.section(0x1000, 0x1000)
        with lab.record() as run:
            plugged.bar0.HIDDEN.write(0xABC)
            plugged.bar0.HIDDEN.read()
        assert list(run.frame()["kind"]) == ["mmio_write", "mmio_read"]
        assert set(run.frame()["value"]) == {0xABC}
        del section, plugged, run


def test_a_section_that_is_not_writable_drops_writes_with_a_row(lab: Lab, device: Paged) -> None:
    section = device.section(0x1000, 0x1000, writable=False)
    with lab.record() as run, pytest.warns(AccessWarning, match="had no effect"):
        lab["paged"].bar0.write(0x1000, 7)
    assert list(run.frame()["status"]) == [HResult.E_ACCESSDENIED.signed]
    assert section.memory[0] == 0
    section.memory[0] = 9
    assert lab["paged"].bar0.read(0x1000, 1) == 9


@pytest.mark.fault(37)
@pytest.mark.parametrize(("offset", "size"), [(1, 4096), (0, 100), (0, 0), (-4096, 4096), (0, -4096)])
def test_a_section_is_whole_pages(device: Paged, offset: int, size: int) -> None:
    with pytest.raises(AccessError, match="a section is whole pages of 4096 bytes"):
        device.section(offset, size)


@pytest.mark.fault(37)
@pytest.mark.parametrize(("offset", "size", "bar"), [(16384, 4096, 0), (12288, 8192, 0), (0, 4096, 1), (0, 4096, 6)])
def test_a_section_beyond_the_bar_is_refused(device: Paged, offset: int, size: int, bar: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AccessError, match="the range is outside the BAR"):
        device.section(offset, size, bar=bar)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.fault(37)
def test_a_section_over_another_is_refused(device: Paged) -> None:
    first = device.section(0x1000, 0x2000)
    with pytest.raises(HdvError, match="another section backs part of this range") as caught:
        device.section(0x2000, 0x2000)
    assert caught.value.hresult == HResult.ERROR_ALREADY_EXISTS
    first.close()
    first.close()
    device.section(0x2000, 0x2000).close()


@pytest.mark.fault(37)
@pytest.mark.parametrize("step", ["initialize", "configure", "stop", "teardown"])
def test_before_start_and_after_stop_a_section_is_refused(lab: Lab, step: str) -> None:
    refused: list[HdvError] = []

    def map_it(self: Paged, *arguments: object) -> None:
        with pytest.raises(StateError, match=r"map sections in start\(\) or later") as caught:
            self.section(0, 4096)
        refused.append(caught.value)

    lab.plug(type("Wrong", (Paged,), {step: map_it}))
    lab.stop()
    assert [error.hresult for error in refused] == [HResult.ERROR_INVALID_STATE]


def test_start_may_map_sections_and_leave_the_rest_for_later(lab: Lab) -> None:
    greeted = threading.Event()

    class Own(Paged):
        pages: Section

        def start(self) -> None:
            self.pages = self.section(0x1000, 4096)
            with pytest.raises(HdvError):
                self.dma_write(0x20_0000, b"no driver has enabled bus mastering")
            self.after(0, self.greet)

        def greet(self) -> None:
            assert self.interrupt(0) is False
            greeted.set()

    plugged = lab.plug(Own)
    plugged.device.pages.memory[0] = 0x31
    assert plugged.bar0.read(0x1000, 1) == 0x31
    wait_for(greeted)
    assert lab.faults == []


def test_sections_go_with_the_device_but_their_memory_stays_readable(lab: Lab, device: Paged) -> None:
    section = device.section(0x1000, 0x1000)
    lab["paged"].bar0.write(0x1000, 0x77, 1)
    before = len(os.listdir("/proc/self/fd"))
    lab.stop()
    assert len(os.listdir("/proc/self/fd")) < before
    assert section.memory[0] == 0x77
    section.close()
    lab.start()
    assert lab["paged"].bar0.HIDDEN.read() == 0x55


# ---- of files, and shared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "memfd"])
def test_a_file_of_the_users_is_the_memory(lab: Lab, device: Paged, kind: str, tmp_path: Path) -> None:
    fd = os.memfd_create("mine") if kind == "memfd" else os.open(tmp_path / "pages", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, bytes(8192) + b"from the file".ljust(4096, b"\0"), 0)
    with open(fd, "r+b", buffering=0) as file:
        section = device.section(0x1000, 0x1000, file=file, file_offset=8192)
    assert section.memory[:13] == b"from the file"
    bar0 = lab["paged"].bar0
    assert bar0.read(0x1000, 4) == int.from_bytes(b"from", "little")
    bar0.write(0x1000, int.from_bytes(b"FROM", "little"), 4)
    assert section.memory[:8] == b"FROM the"
    if kind == "file":
        assert (tmp_path / "pages").read_bytes()[8192:8200] == b"FROM the"


def test_a_file_that_is_open_for_reading_only_is_for_reading_only(lab: Lab, device: Paged, tmp_path: Path) -> None:
    (tmp_path / "rom").write_bytes(b"\x55\xaa" + bytes(4094))
    with open(tmp_path / "rom", "rb") as rom:
        with pytest.raises(HdvError, match="open for reading only; open it for both, or say writable=False") as caught:
            device.section(0x1000, 4096, file=rom)
        assert caught.value.hresult == HResult.E_ACCESSDENIED
        section = device.section(0x1000, 4096, file=rom, writable=False)
    assert lab["paged"].bar0.read(0x1000, 2) == 0xAA55
    with lab.record() as run, pytest.warns(AccessWarning, match="had no effect"):
        lab["paged"].bar0.write(0x1000, 7)
    assert list(run.frame()["status"]) == [HResult.E_ACCESSDENIED.signed]
    with pytest.raises(TypeError):
        section.memory[0] = 1


@pytest.mark.fault(28)
@pytest.mark.fault(37)
def test_a_file_that_gets_shorter_fails_the_access_and_not_the_process(lab: Lab, device: Paged, tmp_path: Path) -> None:
    (tmp_path / "pages").write_bytes(bytes(4096))
    with open(tmp_path / "pages", "r+b") as file:
        device.section(0x1000, 4096, file=file)
        file.truncate(0)
    with pytest.warns(AccessWarning, match="answered all ones"):
        assert lab["paged"].bar0.read(0x1000, 4) == 0xFFFF_FFFF


@pytest.mark.fault(37)
def test_what_cannot_be_a_section_says_why(device: Paged, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(4096))
    reading, writing = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    with open(tmp_path / "short", "r+b") as short:
        for offset, size in ((0, 8192), (4096, 4096), (1, 4096), (-4096, 4096)):
            with pytest.raises(AccessError, match="is not whole pages within the file of 0x1000 bytes"):
                device.section(0x1000, size, file=short, file_offset=offset)
        shared = device.section(0, 4096)
        with pytest.raises(AccessError, match="not both"):
            device.section(0x1000, 4096, file=short, share=shared)
        shared.close()
        del shared  # its memory was still to be read
    with pytest.raises(AccessError, match="no file that can be memory"):
        device.section(0x1000, 4096, file=reading)
    with pytest.raises(AccessError, match="is no open file"):
        device.section(0x1000, 4096, file=1 << 20)
    with pytest.raises(AccessError, match="give file= or share="):
        device.section(0x1000, 4096, file_offset=4096)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("recorded", [False, True])
def test_one_memory_is_a_window_of_two_devices(recorded: bool) -> None:
    with Lab(record_sections=recorded) as lab:
        one, two = lab.plug(Paged, name="one"), lab.plug(Paged, name="two")
        first = one.device.section(0, 0x2000)
        second = two.device.section(0x3000, 0x1000, share=first, file_offset=0x1000)
        with lab.record() as run:
            one.bar0.write(0x1008, 0xCAFE)
            assert two.bar0.read(0x3008) == 0xCAFE
            two.bar0.write(0x3008, 0xF00D, 2)
            assert one.bar0.read(0x1008, 2) == 0xF00D
        assert first.memory[0x1008:0x100A] == second.memory[8:10] == b"\x0d\xf0"
        rows = [
            ("mmio_write", one.index),
            ("mmio_read", two.index),
            ("mmio_write", two.index),
            ("mmio_read", one.index),
        ]
        assert list(run.frame()[["kind", "device"]].itertuples(index=False, name=None)) == rows * recorded
        for offset, size in ((0x2000, 0x1000), (0x1000, 0x2000), (0x10, 0x1000)):
            with pytest.raises(AccessError, match="is outside the shared section of 0x2000 bytes"):
                two.device.section(0, size, share=first, file_offset=offset)
        first.close()
        assert two.bar0.read(0x3008, 2) == 0xF00D, "it needs the first no longer"
        with pytest.raises(StateError, match="is closed"):
            two.device.section(0, 0x1000, share=first)
        lab.unplug("one")
        assert two.bar0.read(0x3008, 2) == 0xF00D
        del one, two, first, second, run


def test_sections_come_and_go_while_the_guest_runs(lab: Lab, device: Paged) -> None:
    begun, last = threading.Event(), threading.Event()

    def driver(guest: Guest) -> set[int]:
        seen, bar0 = set(), guest["paged"].bar0
        while not last.is_set():
            seen.add(bar0.HIDDEN.read())
            begun.set()
        return seen

    run = lab.run(driver, wait=False)
    wait_for(begun)
    for _ in range(50):
        section = device.section(0x1000, 0x1000)
        section.memory[0:4] = b"\x66\0\0\0"
        section.close()
    last.set()
    assert run.program is not None
    assert run.program.join(10)
    assert run.value <= {0, 0x66, 0x55}, "the memory or the register, nothing else"
    assert lab.faults == []


def test_a_peek_at_shared_pages_runs_no_handler_and_shows_the_register_below_them(lab: Lab, device: Paged) -> None:
    rows, one = len(lab.trace), lab["paged"]
    assert one.peek(0, 0x1000, 4) == 0x55
    assert device.reads == 0
    assert len(lab.trace) == rows
    device.section(0x1000, 0x1000).memory[0] = 1
    rows = len(lab.trace)
    assert [one.peek(0, 0x1000, 4) for _ in range(2)] == [0x55, 0x55]
    assert device.reads == 0
    assert len(lab.trace) == rows
