"""Power management capability against PCI Bus Power Management Interface 1.2, section 3.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import PmCapability


def test_the_default_has_d0_and_d3hot_and_no_pme() -> None:
    capability = PmCapability()
    assert capability.size == 8
    assert capability.encode(0x48) == bytes.fromhex("01 48 0300 0800 0000")
    assert capability.write_mask() == bytes.fromhex("0000 0000 0300 0000")
    assert capability.w1c_mask() == bytes(8)


def test_with_pme_its_enable_is_writable_and_its_status_is_cleared_by_a_one() -> None:
    capability = PmCapability(pme_support=0b01001)
    assert capability.encode(0) == bytes.fromhex("01 00 0348 0800 0000")
    assert capability.write_mask() == bytes.fromhex("0000 0000 0301 0000")
    assert capability.w1c_mask() == bytes.fromhex("0000 0000 0080 0000")


@pytest.mark.parametrize(("pme_support", "version"), [(0x20, 3), (-1, 3), (0, 8), (0, -1)])
def test_a_number_wider_than_its_field_is_refused(pme_support: int, version: int) -> None:
    with pytest.raises(RegisterError, match="the field has [35] bits"):
        PmCapability(pme_support, version=version)


@given(st.integers(0, 31), st.booleans(), st.integers(0, 7))
def test_decoding_what_was_encoded_gives_the_capability_back(pme: int, keeps_state: bool, version: int) -> None:
    capability = PmCapability(pme, keeps_state, version)
    assert PmCapability.decode(bytes(0x40) + capability.encode(0), 0x40) == capability


def test_contents_that_are_cut_off_do_not_decode() -> None:
    with pytest.raises(AccessError, match="8 bytes"):
        PmCapability.decode(bytes(0x40) + b"\x01\x00\x03\x00", 0x40)
