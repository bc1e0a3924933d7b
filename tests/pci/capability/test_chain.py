"""The capabilities list, whole and broken (PCI Local Bus 3.0, section 6.7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError
from hdvlab.pci import ChainFault, MsiCapability, PmCapability, VendorCapability, walk


def config_with(pieces: dict[int, str], pointer: int = 0x40, size: int = 256) -> bytes:
    config = bytearray(size)
    config[0x06] = 0x10
    config[0x34] = pointer
    for offset, text in pieces.items():
        data = bytes.fromhex(text)
        config[offset : offset + len(data)] = data
    return bytes(config)


def test_a_list_is_walked_in_its_order_and_unknown_ids_stay_undecoded() -> None:
    config = config_with({0x40: "01 80 0300 0800", 0x60: "05 00 80", 0x80: "10 a0 0200", 0xA0: "09 60 04 77"})
    assert walk(config) == [
        (0x40, 0x01, PmCapability()),
        (0x80, 0x10, None),
        (0xA0, 0x09, VendorCapability(b"\x77")),
        (0x60, 0x05, MsiCapability()),
    ]


def test_without_the_status_bit_there_is_no_list() -> None:
    config = bytearray(config_with({0x40: "01 00 0300"}))
    config[0x06] = 0
    assert walk(bytes(config)) == []


def test_reserved_pointer_bits_are_masked_off() -> None:
    assert [entry.offset for entry in walk(config_with({0x40: "09 4b 03", 0x48: "09 03 03"}, 0x43))] == [0x40, 0x48]


@pytest.mark.parametrize("back_to", [0x40, 0x48])
def test_a_loop_ends_with_a_marker(back_to: int) -> None:
    entries = walk(config_with({0x40: "09 48 03", 0x48: f"09 {back_to:02x} 03"}))
    assert [entry.offset for entry in entries] == [0x40, 0x48, back_to]
    assert entries[-1].capability is ChainFault.LOOPED


def test_a_pointer_into_the_header_ends_with_a_marker() -> None:
    assert walk(config_with({0x40: "09 10 03"}))[-1] == (0x10, 0xFF, ChainFault.BROKEN)


def test_an_id_of_all_ones_ends_with_a_marker() -> None:
    assert walk(config_with({0x40: "ff ff"})) == [(0x40, 0xFF, ChainFault.BROKEN)]


def test_a_header_alone_says_that_the_list_is_out_of_reach() -> None:
    assert walk(config_with({}, size=64)) == [(0x40, 0xFF, ChainFault.TRUNCATED)]


def test_a_capability_that_contradicts_the_standard_keeps_its_place_and_the_walk_goes_on() -> None:
    config = config_with({0x40: "05 50 0e00", 0x50: "11 60 0000 07000000", 0x60: "09 00 01"})
    assert walk(config) == [(0x40, 0x05, None), (0x50, 0x11, None), (0x60, 0x09, None)]


def test_a_capability_that_runs_over_the_end_stays_undecoded() -> None:
    assert walk(config_with({0xFC: "05 00 80 00"}, 0xFC)) == [(0xFC, 0x05, None)]


def test_a_cardbus_header_has_its_pointer_elsewhere() -> None:
    assert [entry.offset for entry in walk(config_with({0x0E: "02", 0x14: "50", 0x50: "09 00 03"}))] == [0x50]


def test_less_than_a_header_is_refused_with_both_numbers() -> None:
    with pytest.raises(AccessError, match="63 bytes.*64"):
        walk(bytes(63))


@given(st.binary(min_size=256, max_size=256))
def test_any_bytes_are_walked_in_at_most_49_steps(config: bytes) -> None:
    config = config[:6] + b"\x10" + config[7:]
    entries = walk(config)
    assert len(entries) <= 49
    assert all(not isinstance(entry.capability, ChainFault) for entry in entries[:-1])
    offsets = [entry.offset for entry in entries[:-1]]
    assert len(set(offsets)) == len(offsets)


def test_the_longest_list_is_walked_to_its_end() -> None:
    pieces = {offset: f"00 {offset + 4 if offset < 0xFC else 0x40:02x}" for offset in range(0x40, 0x100, 4)}
    entries = walk(config_with(pieces))
    assert len(entries) == 49
    assert entries[-1].capability is ChainFault.LOOPED
