"""Vendor-specific capability against PCI Local Bus 3.0, appendix H."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import VendorCapability


def test_the_length_byte_counts_the_header() -> None:
    capability = VendorCapability(b"abc")
    assert capability.size == 6
    assert capability.encode(0x48) == b"\x09\x48\x06abc"
    assert capability.write_mask() == capability.w1c_mask() == bytes(6)


def test_more_data_than_configuration_space_holds_is_refused_with_both_numbers() -> None:
    assert VendorCapability(bytes(189)).size == 192
    with pytest.raises(RegisterError, match="190 bytes of data, 189 fit"):
        VendorCapability(bytes(190))


@given(st.binary(max_size=189))
def test_decoding_what_was_encoded_gives_the_capability_back(data: bytes) -> None:
    config = (bytes(0x40) + VendorCapability(data).encode(0)).ljust(256, b"\xaa")
    assert VendorCapability.decode(config, 0x40) == VendorCapability(data)


@pytest.mark.parametrize("length", [0, 2, 193, 255])
def test_a_length_that_cannot_be_does_not_decode(length: int) -> None:
    with pytest.raises(AccessError, match=f"length {length}"):
        VendorCapability.decode(bytes(0x40) + bytes((9, 0, length)) + bytes(189), 0x40)


def test_data_that_is_cut_off_does_not_decode() -> None:
    with pytest.raises(AccessError, match="8 bytes.*0x44"):
        VendorCapability.decode(bytes(0x40) + bytes((9, 0, 8, 0)), 0x40)
