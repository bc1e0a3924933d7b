"""Class codes against the standard's table."""

from __future__ import annotations

import pytest

from hdvlab.pci import class_name, prog_if_name
from hdvlab.pci.class_code import CLASS_CODES, PROGRAMMING_INTERFACES


@pytest.mark.parametrize(
    ("base_class", "sub_class", "name"),
    [
        (0x02, 0x00, "Ethernet controller"),
        (0x0C, 0x03, "USB controller"),
        (0x06, 0xFE, "Bridge [06fe]"),
        (0xFF, 0x00, "Unassigned class [ff00]"),
        (0x42, 0x42, "Class 4242"),
    ],
)
def test_a_class_is_named_as_far_as_the_table_knows_it(base_class: int, sub_class: int, name: str) -> None:
    assert class_name(base_class, sub_class) == name


def test_a_programming_interface_without_a_name_gives_none() -> None:
    assert prog_if_name(0x0C, 0x03, 0x30) == "XHCI"
    assert prog_if_name(0x0C, 0x03, 0x31) is None


def test_every_code_is_a_byte_and_every_programming_interface_belongs_to_a_known_sub_class() -> None:
    for base_class, (_, sub_classes) in CLASS_CODES.items():
        assert 0 <= base_class <= 0xFF
        assert all(0 <= sub_class <= 0xFF for sub_class in sub_classes)
    for base_class, sub_class, prog_if in PROGRAMMING_INTERFACES:
        assert sub_class in CLASS_CODES[base_class][1]
        assert 0 <= prog_if <= 0xFF
