"""MSI-X against PCI Local Bus 3.0, section 6.8.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import MsixCapability, MsixEntry, MsixState


def at_0x40(data: bytes) -> bytes:
    return (bytes(0x40) + data).ljust(256, b"\0")


def test_the_capability_has_the_standards_layout() -> None:
    capability = MsixCapability(2048, 2, 0x1000, 4, 0x8000)
    assert capability.size == 12
    assert capability.encode(0x60) == bytes.fromhex("11 60 ff07 02100000 04800000")
    assert capability.write_mask() == bytes.fromhex("0000 00c0 00000000 00000000")
    assert capability.w1c_mask() == bytes(12)


@pytest.mark.parametrize(
    ("vectors", "pba_offset", "pba_size"), [(1, 0x1010, 8), (3, 0x1030, 8), (64, 0x1400, 8), (65, 0x1410, 16)]
)
def test_the_pending_bits_stand_right_behind_the_table_unless_told_otherwise(
    vectors: int, pba_offset: int, pba_size: int
) -> None:
    capability = MsixCapability(vectors, 1, 0x1000)
    assert (capability.pba_bar, capability.pba_offset, capability.pba_size) == (1, pba_offset, pba_size)


def test_the_pending_bits_may_stand_in_front_of_the_table() -> None:
    assert MsixCapability(4, 0, 8, pba_offset=0).pba_bar == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 0), "0 vectors.*2048"),
        ((2049, 0, 0), "2049 vectors.*2048"),
        ((1, 6, 0), "BAR6"),
        ((1, -1, 0), "BAR-1"),
        ((1, 0, 4), "0x4.*8"),
        ((1, 0, -8), "-0x8"),
        ((1, 0, 1 << 32), "0x100000000"),
        ((1, 0, (1 << 32) - 8), "0x100000008"),
        ((1, 0, 0, 1), "give pba_offset"),
        ((1, 0, 0, 6, 0), "BAR6"),
        ((1, 0, 0, 0, 20), "0x14"),
        ((4, 0, 0, 0, 0x38), r"0x0\.\.0x3f.*0x38"),
        ((4, 0, 0x20, 0, 0x20), "0x20"),
    ],
)
def test_a_contradictory_description_is_refused_with_its_numbers(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(RegisterError, match=message):
        MsixCapability(*arguments)


def test_a_table_that_ends_behind_its_bar_is_refused_with_both_numbers() -> None:
    capability = MsixCapability(4, 0, 0x1000)
    capability.check_within({0: 0x2000})
    with pytest.raises(RegisterError, match="table end at 0x1040 of BAR0, which has 0x1000"):
        capability.check_within({0: 0x1000})
    with pytest.raises(RegisterError, match="pending bits end at 0x8 of BAR1, which has 0x0"):
        MsixCapability(4, 0, 0, 1, 0).check_within({0: 0x1000})


@given(
    st.integers(1, 2048),
    st.integers(0, 5),
    st.integers(0, (1 << 29) - 1),
    st.integers(0, 5),
    st.integers(0, (1 << 29) - 1),
)
def test_decoding_what_was_encoded_gives_the_capability_back(
    vectors: int, table_bar: int, table_qword: int, pba_bar: int, pba_qword: int
) -> None:
    try:
        capability = MsixCapability(vectors, table_bar, table_qword * 8, pba_bar, pba_qword * 8)
    except RegisterError:
        assert table_bar == pba_bar
        return
    assert MsixCapability.decode(at_0x40(capability.encode(0)), 0x40) == capability


@pytest.mark.parametrize("data", ["1100 0000 06000000 00000000", "1100 0000 00000000 00000000", "0500 0000", "1100"])
def test_reserved_overlapping_or_missing_contents_do_not_decode(data: str) -> None:
    with pytest.raises(AccessError):
        MsixCapability.decode(bytes(0x40) + bytes.fromhex(data), 0x40)


@pytest.mark.parametrize(
    ("control", "state"), [(0x0003, (False, False)), (0x8003, (True, False)), (0xC003, (True, True))]
)
def test_the_state_is_what_the_guest_wrote(control: int, state: tuple[bool, bool]) -> None:
    config = at_0x40(b"\x11\x00" + control.to_bytes(2, "little") + bytes(8))
    assert MsixState.read(config, 0x40) == MsixState(*state)


def test_a_table_entry_has_the_standards_layout() -> None:
    entry = MsixEntry(0x1_FEE0_0004, 0x41, masked=False)
    assert entry.encode() == bytes.fromhex("0400e0fe 01000000 41000000 00000000")
    assert MsixEntry().encode() == bytes.fromhex("00000000 00000000 00000000 01000000")
    table = MsixEntry().encode() + entry.encode()
    assert [MsixEntry.decode(table, vector) for vector in range(2)] == [MsixEntry(), entry]


@pytest.mark.parametrize("vector", [-1, 2])
def test_an_entry_behind_the_table_is_refused(vector: int) -> None:
    with pytest.raises(AccessError, match=f"vector {vector} of a table of 32 bytes"):
        MsixEntry.decode(bytes(32), vector)
