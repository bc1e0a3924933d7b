from __future__ import annotations

import random

import pytest

from hdvlab.pci import BarDescription, ConfigImage, MsiCapability, MsixCapability, PmCapability, VendorCapability
from hdvlab.pci.tree import ConfigItem, config_tree


def _all(items: list[ConfigItem]) -> list[ConfigItem]:
    return [found for item in items for found in (item, *_all(list(item.items)))]


def _image(*capabilities: object) -> bytearray:
    made = ConfigImage.build(vendor_id=0x1AF4, device_id=0x1041, base_class=2, sub_class=0, capabilities=capabilities)  # type: ignore[arg-type]
    return bytearray(made.image)


def test_capabilities_have_their_registers_and_bytes() -> None:
    tree = config_tree(
        bytes(
            _image(
                PmCapability(), MsiCapability(bits64=True, per_vector_masking=True), MsixCapability(4, 0, 0, 0, 0x800)
            )
        )
    )
    labels = {item.label for item in _all(tree)}
    assert {"Control and status", "Message upper address", "Mask bits", "Table offset, BAR"} <= labels
    _, _, pm, msi, msix = tree
    assert (pm.size, msi.size, msix.size) == (8, 24, 12)
    assert msix.text == "MSI-X: Enable- Count=4 Masked-"


def test_a_64_bit_bar_is_one_thing_of_two_dwords() -> None:
    config = _image()
    config[0x10:0x18] = (0x1_E000_000C).to_bytes(8, "little")
    bars = config_tree(bytes(config), [BarDescription(0, 1 << 20, 64, True)])[1]
    assert bars.items[0].text == "0x1e0000000, 1M, 64-bit, prefetchable, decoding is off"
    assert [(item.start, item.size, item.access) for item in bars.items[0].items] == [(0x10, 4, "rw"), (0x14, 4, "rw")]
    assert [item.label for item in bars.items] == ["BAR0", "BAR2", "BAR3", "BAR4", "BAR5"]


def test_extended_capabilities_are_listed_where_pci_express_is() -> None:
    config = _image(VendorCapability(b"ab"))
    config[0x100:0x104] = (0x0001 | 2 << 16 | 0x140 << 20).to_bytes(4, "little")
    config[0x140:0x144] = (0x0003 | 1 << 16 | 0x100 << 20).to_bytes(4, "little")
    assert not any("Reporting" in item.text for item in config_tree(bytes(config)))
    config[0x40] = 0x10
    texts = [item.text for item in config_tree(bytes(config))]
    assert texts[-2:] == ["Advanced Error Reporting (v2)", "Device Serial Number (v1)"], "a list that loops ends"


@pytest.mark.parametrize("size", [64, 256, 4096])
def test_any_bytes_make_a_tree_whose_items_are_inside(size: int) -> None:
    chance = random.Random(size)
    for _ in range(200):
        config = chance.randbytes(size)
        for item in _all(config_tree(config)):
            assert 0 <= item.start <= item.start + item.size <= size
    for filled in (bytes(size), b"\xff" * size):
        assert config_tree(filled)
