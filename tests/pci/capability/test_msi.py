"""MSI against PCI Local Bus 3.0, section 6.8.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import MsiCapability, MsiState


def at_0x40(data: bytes) -> bytes:
    return (bytes(0x40) + data).ljust(256, b"\0")


@pytest.mark.parametrize(
    ("capability", "head", "size"),
    [
        (MsiCapability(), "05 50 80 00", 14),
        (MsiCapability(1, bits64=False), "05 50 00 00", 10),
        (MsiCapability(32, bits64=False, per_vector_masking=True), "05 50 0a 01", 20),
        (MsiCapability(8, per_vector_masking=True), "05 50 86 01", 24),
    ],
)
def test_the_four_layouts_have_the_standards_control_word_and_size(
    capability: MsiCapability, head: str, size: int
) -> None:
    assert capability.size == size
    assert capability.encode(0x50) == bytes.fromhex(head).ljust(size, b"\0")


@pytest.mark.parametrize(
    ("capability", "mask"),
    [
        (MsiCapability(bits64=False), "0000 7100 fcffffff ffff"),
        (MsiCapability(), "0000 7100 fcffffff ffffffff ffff"),
        (MsiCapability(4, False, True), "0000 7100 fcffffff ffff 0000 0f000000 00000000"),
        (MsiCapability(32, True, True), "0000 7100 fcffffff ffffffff ffff 0000 ffffffff 00000000"),
    ],
)
def test_a_guest_writes_enable_address_data_and_the_mask_bits_there_are(capability: MsiCapability, mask: str) -> None:
    assert capability.write_mask() == bytes.fromhex(mask)
    assert capability.w1c_mask() == bytes(capability.size)


@pytest.mark.parametrize("vectors", [0, -1, 3, 33, 64])
def test_a_number_of_vectors_that_msi_does_not_have_is_refused(vectors: int) -> None:
    with pytest.raises(RegisterError, match=f"{vectors} vectors.*32"):
        MsiCapability(vectors)


@pytest.mark.parametrize("pointer", [0x3C, 0x41, 0x100, -4])
def test_a_next_pointer_outside_the_list_is_refused(pointer: int) -> None:
    with pytest.raises(RegisterError, match="next capability"):
        MsiCapability().encode(pointer)


@given(st.sampled_from([1, 2, 4, 8, 16, 32]), st.booleans(), st.booleans(), st.sampled_from([0, 0x40, 0xFC]))
def test_decoding_what_was_encoded_gives_the_capability_back(
    vectors: int, bits64: bool, masking: bool, pointer: int
) -> None:
    capability = MsiCapability(vectors, bits64, masking)
    assert MsiCapability.decode(at_0x40(capability.encode(pointer)), 0x40) == capability


@pytest.mark.parametrize("capable", [6, 7])
def test_a_reserved_number_of_vectors_does_not_decode(capable: int) -> None:
    with pytest.raises(AccessError, match=rf"2\*\*{capable}"):
        MsiCapability.decode(at_0x40(bytes((5, 0, capable << 1, 0))), 0x40)


@pytest.mark.parametrize("offset", [-4, 0x40, 0xF8, 0x1000])
def test_another_capability_or_the_end_of_the_bytes_does_not_decode(offset: int) -> None:
    config = bytearray(256)
    config[0xF8] = 5
    with pytest.raises(AccessError):
        MsiCapability.decode(bytes(config), offset)


def test_the_state_is_what_the_guest_wrote() -> None:
    config = at_0x40(bytes.fromhex("0500 a701 0410e0fe 78563412 4241 0000 05000000 02000000"))
    state = MsiState.read(config, 0x40)
    assert state == MsiState(True, 4, 0x1234_5678_FEE0_1004, 0x4142, mask=5, pending=2)
    assert state.message(3) == (0x1234_5678_FEE0_1004, 0x4143)
    assert [state.masked(vector) for vector in range(4)] == [True, False, True, False]


def test_the_state_of_the_32_bit_layout_has_its_data_behind_the_address() -> None:
    state = MsiState.read(at_0x40(bytes.fromhex("0500 0100 0000e0fe 3412")), 0x40)
    assert state == MsiState(True, 1, 0xFEE0_0000, 0x1234)


def test_a_guest_that_grants_more_vectors_than_asked_for_gets_those_asked_for() -> None:
    state = MsiState.read(at_0x40(bytes.fromhex("0500 7300 0000e0fe 0000")), 0x40)
    assert state.vectors == 2
    with pytest.raises(AccessError, match="vector 2 of 2"):
        state.message(2)
