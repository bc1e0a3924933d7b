"""Dumps of configuration space taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError
from hdvlab.pci import Command, ConfigHeader, ConfigImage, MsiCapability, Status

# Every register of a type 0 header holds another value.
HEADER = bytes.fromhex(
    "3412 e811 0605 10a0 10 02 03 0c 08 40 80 00"
    "0000b0fe 04000080 42000000 01c00000 00000000 080000fd"
    "11223344 f41a 0011 0100c0fe 00 000000 00000000 0b 01 02 03"
)


def test_every_register_of_the_header_is_found() -> None:
    header = ConfigHeader.decode(HEADER)
    assert (header.vendor_id, header.device_id) == (0x1234, 0x11E8)
    assert header.command == Command.MEMORY_SPACE | Command.BUS_MASTER | Command.SERR_ENABLE | Command.INTERRUPT_DISABLE
    assert header.status == (Status.CAPABILITIES_LIST | Status.RECEIVED_MASTER_ABORT | Status.DETECTED_PARITY_ERROR)
    assert (header.revision_id, header.prog_if, header.sub_class, header.base_class) == (0x10, 0x02, 0x03, 0x0C)
    assert (header.cache_line_size, header.latency_timer, header.bist) == (8, 0x40, 0)
    assert (header.header_type, header.layout, header.multi_function) == (0x80, 0, True)
    assert header.bars == (0xFEB0_0000, 0x8000_0004, 0x42, 0xC001, 0, 0xFD00_0008)
    assert (header.sub_vendor_id, header.sub_system_id, header.expansion_rom) == (0x1AF4, 0x1100, 0xFEC0_0001)
    assert (header.interrupt_line, header.interrupt_pin, header.min_gnt, header.max_lat) == (11, 1, 2, 3)
    assert header.class_name == "USB controller"
    assert header.present
    assert header.capabilities == ()


def test_a_bridge_has_two_bars_and_no_subsystem() -> None:
    header = ConfigHeader.decode(HEADER[:0x0E] + b"\x01" + HEADER[0x0F:])
    assert header.bars == (0xFEB0_0000, 0x8000_0004)
    assert (header.sub_vendor_id, header.sub_system_id, header.expansion_rom, header.min_gnt) == (0, 0, 0, 0)


def test_a_read_of_all_ones_is_no_device() -> None:
    header = ConfigHeader.decode(b"\xff" * 256)
    assert not header.present
    assert header.bars == ()


@pytest.mark.parametrize("size", [64, 256, 4096])
def test_the_three_sizes_of_a_dump_are_read(size: int) -> None:
    image = ConfigImage.build(vendor_id=1, device_id=2, capabilities=[MsiCapability()]).image
    header = ConfigHeader.decode(image[:size])
    assert (header.vendor_id, len(header.config), len(header.capabilities)) == (1, size, 1)


@pytest.mark.parametrize("size", [0, 63, 128, 255, 4097])
def test_another_size_is_refused_with_the_numbers(size: int) -> None:
    with pytest.raises(AccessError, match=f"{size} bytes.*64, 256 or 4096"):
        ConfigHeader.decode(bytes(size))


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=192, max_size=192))
def test_any_bytes_decode(head: bytes, rest: bytes) -> None:
    for dump in (head, head + rest):
        assert ConfigHeader.decode(dump).vendor_id == int.from_bytes(head[:2], "little")
