"""The memory panel's kernel side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import UsageError
from hdvlab.registers import RegisterMap
from hdvlab.widgets import memory
from hdvlab.widgets.memory import MemoryPanel
from hdvlab.widgets.memory_view import ABSENT, MemoryView
from hdvlab.widgets.overlay import SHIPPED, Overlay, overlays

from .front_end import FrontEnd

_RAM = 1 << 20


class Copy(Device):
    vendor_id, device_id = 0x1234, 0x41

    class bar0(Bar):
        GO = Register(0x00, 64)

    @bar0.GO.on_write
    def go(self, value: int) -> None:
        self.dma_write(value, bytes(range(1, 33)))


@pytest.fixture
def small() -> Iterator[Lab]:
    with Lab(ram=_RAM) as made:
        made.plug(Copy).on().enable()
        yield made


@pytest.fixture
def panel(small: Lab) -> Iterator[MemoryPanel]:
    made = memory(small, 0x2000, size=64)
    yield made
    made.close()


def test_a_window_shows_ram_and_leaves_no_row(small: Lab) -> None:
    small.machine.ram_write(0x2000, b"hello")
    rows, view = len(small.trace), MemoryView(small, 64)
    view.go(0x2003)
    assert view.look()
    assert view.address == 0x2000
    assert view.changes.data[:5] == b"hello"
    assert not view.look()
    assert len(small.trace) == rows


def test_the_end_of_ram_is_told_and_never_read(small: Lab) -> None:
    view = MemoryView(small, 4096)
    view.go(_RAM - 2048)
    view.look()
    assert view.gaps == [(_RAM, 2048, "no RAM is here")]
    assert view.flags()[2047:2049] == bytes([0, ABSENT])
    assert view.layout()["gaps"] == [[2048, 2048, "no RAM is here"]]


@pytest.mark.parametrize("address", [_RAM, 0xFEE0_0000, 1 << 40, (1 << 64) - 1])
def test_where_no_ram_is_all_is_absent(small: Lab, address: int) -> None:
    view = MemoryView(small, 64)
    view.go(address)
    view.look()
    assert view.flags() == bytes([ABSENT]) * 64
    assert "no RAM is here" in view.text(view.fetch())


def test_a_look_from_before_the_window_moved_is_not_shown(small: Lab) -> None:
    view = MemoryView(small, 64)
    old = view.fetch()
    view.go(0x3000)
    assert not view.take(old)


def test_addresses_are_hexadecimal_or_regions_that_dma_touched(small: Lab) -> None:
    view = MemoryView(small, 64)
    assert (view.find("2000"), view.find("0x20_00"), view.find(" FF ")) == (0x2000, 0x2000, 0xFF)
    with pytest.raises(UsageError, match="none yet, for no device has used DMA"):
        view.find("copy.dma0")
    with pytest.raises(UsageError, match="more than 64 bits"):
        view.find("1" * 17)
    small["copy"].bar0.GO.write(0x8000)
    small["copy"].bar0.GO.write(0x8020)
    small["copy"].bar0.GO.write(0x40000)
    assert view.regions() == [("copy.dma0", 0x8000, 0x803F, 2), ("copy.dma1", 0x40000, 0x4001F, 1)]
    assert view.find("copy.dma1") == 0x40000


def test_choosing_bytes_chooses_the_dma_rows_that_touched_them(small: Lab, panel: MemoryPanel) -> None:
    small["copy"].bar0.GO.write(0x2000)
    browser = FrontEnd(panel)
    browser.says("rows", first="201f", last="2020")
    assert browser.wait("rows")[0]["count"] == 1
    assert panel.selection.frame()["kind"].tolist() == ["dma_write"]
    assert panel.selection.address == 0x201F
    browser.says("rows", first="2020", last="2020")
    assert browser.wait("rows")[0]["count"] == 0
    assert len(panel.selection.rows) == 0


def test_another_panels_address_moves_the_window(small: Lab, panel: MemoryPanel) -> None:
    browser = FrontEnd(panel)
    panel.selection.set_address(0x5008)
    browser.says("dismiss")  # behind what was posted
    assert panel.address == 0x5000
    assert browser.take("cursor")[-1][0]["address"] == "5008"


def test_bad_requests_are_shown(panel: MemoryPanel) -> None:
    browser = FrontEnd(panel)
    for kind, given, told in (
        ("go", {"text": "here"}, "is no address"),
        ("overlay", {"name": "x", "at": "0"}, "no overlay"),
    ):
        browser.says(kind, **given)
        assert told in browser.wait("failed", lambda content: content["text"])[0]["text"]


def test_machine_off_is_said(small: Lab, panel: MemoryPanel) -> None:
    small.stop()
    view = MemoryView(small, 64)
    assert view.look()
    assert view.why.startswith("the machine is off")
    assert panel.text() == view.why


def test_overlays_are_shipped_and_made_of_register_maps_and_lists() -> None:
    assert [one.name for one in SHIPPED] == ["virtq_desc", "virtq_avail", "virtq_used", "nvme_sq", "nvme_cq"]
    assert {one.name: one.stride for one in SHIPPED}["nvme_sq"] == 64
    assert sum(size for _, size, _ in SHIPPED[3].fields) == 64
    assert sum(size for _, size, _ in SHIPPED[4].fields) == SHIPPED[4].stride == 16
    mine = overlays(
        [RegisterMap([Register(0, name="A"), Register(8, 64, name="B")], name="mine"), [(0, 2, "x"), (2, 6, "y")]]
    )
    assert mine["mine"].fields == ((0, 4, "A"), (8, 8, "B"))
    assert (mine["yours1"].stride, mine["yours1"].fields) == (8, ((0, 2, "x"), (2, 6, "y")))
    assert mine["yours1"].entry(1, bytes(range(16))) == {"x": 0x0908, "y": 0x0F0E0D0C0B0A}
    assert mine["yours1"].entry(2, bytes(16)) is None


@pytest.mark.parametrize("given", [[], [(0, 0, "x")], [(-1, 2, "x")], [1, 2], "abc"])
def test_an_overlay_that_makes_no_sense_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="overlay"):
        Overlay.of(given)  # type: ignore[arg-type]


def test_a_field_out_of_its_entry_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match="x is at bytes 6 to 9, but an entry has 8 bytes"):
        Overlay("short", 8, ((6, 4, "x"),))


def test_the_text_form_has_the_entries(small: Lab) -> None:
    small.machine.ram_write(0x2000, (0xFFFF_8000_0000_1000).to_bytes(8, "little") + b"\x40")
    made = memory(small, 0x2000, size=64, overlay="virtq_desc")
    assert "virtq_desc[0]  addr=0xffff800000001000  len=0x40  flags=0x0  next=0x0" in made.text()
    made.close()
