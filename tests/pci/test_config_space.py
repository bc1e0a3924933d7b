"""The configuration space a device shows, byte by byte (PCI Local Bus 3.0, chapter 6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import RegisterError
from hdvlab.pci import (
    Capability,
    ConfigImage,
    MsiCapability,
    MsiState,
    MsixCapability,
    PmCapability,
    VendorCapability,
    walk,
)

IDS: dict[str, Any] = {
    "vendor_id": 0x1234,
    "device_id": 0x11E8,
    "revision_id": 0x10,
    "prog_if": 0x02,
    "sub_class": 0x80,
    "base_class": 0x07,
    "sub_vendor_id": 0x1AF4,
    "sub_system_id": 0x1100,
}


def guest_write(built: ConfigImage, contents: bytes, offset: int, data: bytes) -> bytes:
    """What the masks make of a guest's write."""
    after = bytearray(contents)
    for place, byte in enumerate(data, offset):
        after[place] = (contents[place] & ~built.write_mask[place] | byte & built.write_mask[place]) & ~(
            byte & built.w1c_mask[place]
        )
    return bytes(after)


def test_the_numbers_stand_at_the_standards_offsets_and_all_else_is_zero() -> None:
    built = ConfigImage.build(**IDS)
    expected = bytearray(4096)
    expected[0x00:0x04] = bytes.fromhex("3412 e811")
    expected[0x08:0x0C] = bytes.fromhex("10 02 80 07")
    expected[0x2C:0x30] = bytes.fromhex("f41a 0011")
    assert built.image == bytes(expected)
    assert built.capability_offsets == ()


def test_a_guest_may_write_the_standards_registers_and_no_others() -> None:
    built = ConfigImage.build(**IDS)
    writable = bytearray(4096)
    writable[0x04:0x06] = bytes.fromhex("4705")
    writable[0x0C:0x0E] = b"\xff\xff"
    writable[0x3C] = 0xFF
    assert built.write_mask == bytes(writable)
    clearing = bytearray(4096)
    clearing[0x06:0x08] = bytes.fromhex("00f9")
    assert built.w1c_mask == bytes(clearing)


def test_capabilities_are_linked_in_order_from_0x40_on_dwords() -> None:
    capabilities: list[Capability] = [
        PmCapability(),
        MsiCapability(4),
        VendorCapability(b"hello"),
        MsixCapability(8, 1, 0),
    ]
    built = ConfigImage.build(**IDS, capabilities=capabilities)
    assert built.capability_offsets == (0x40, 0x48, 0x58, 0x60)
    assert built.image[0x06:0x08] == b"\x10\x00"
    assert built.image[0x34] == 0x40
    assert built.image[0x40:0x6C] == bytes.fromhex(
        "01 48 0300 0800 000005 58 8400 00000000 00000000 0000 000009 60 08 68656c6c6f11 00 0700 01000000 81000000"
    )
    assert [entry.capability for entry in walk(built.image)] == capabilities
    assert built.write_mask[0x44:0x46] == b"\x03\x00"
    assert built.write_mask[0x4A:0x56] == bytes.fromhex("7100 fcffffff ffffffff ffff")
    assert built.write_mask[0x62:0x64] == b"\x00\xc0"


def test_what_a_guest_writes_into_msi_is_what_the_device_reads_out() -> None:
    built = ConfigImage.build(**IDS, capabilities=[MsiCapability(4, per_vector_masking=True)])
    written = bytes.fromhex("ffff a1ff 0710e0fe 01000000 4241 ffff ffffffff ffffffff")
    contents = guest_write(built, built.image, 0x40, written)
    assert MsiState.read(contents, 0x40) == MsiState(True, 4, 0x1_FEE0_1004, 0x4142, mask=0xF)
    assert contents[0x40:0x44] == bytes.fromhex("0500 a501")


def test_a_status_bit_is_cleared_by_a_one_and_left_by_a_zero() -> None:
    built = ConfigImage.build(**IDS, capabilities=[PmCapability(pme_support=1)])
    contents = bytearray(built.image)
    contents[0x06:0x08] = b"\x10\xf9"
    contents[0x45] = 0x80
    assert guest_write(built, bytes(contents), 0x06, b"\xff\x20")[0x06:0x08] == b"\x10\xd9"
    assert guest_write(built, bytes(contents), 0x44, b"\x00\x00")[0x45] == 0x80
    assert guest_write(built, bytes(contents), 0x44, b"\x00\x80")[0x45] == 0x00


def test_an_object_with_the_numbers_as_attributes_gives_the_same() -> None:
    assert ConfigImage.from_pnp_id(SimpleNamespace(**IDS), [PmCapability()]) == ConfigImage.build(
        **IDS, capabilities=[PmCapability()]
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("vendor_id", 0x1_0000, "vendor_id is 0x10000.*16 bits"),
        ("device_id", -1, "device_id is -0x1.*16 bits"),
        ("revision_id", 0x100, "revision_id is 0x100.*8 bits"),
        ("prog_if", 0x100, "8 bits"),
        ("sub_class", 0x100, "8 bits"),
        ("base_class", 0x100, "8 bits"),
        ("sub_vendor_id", 0x1_0000, "16 bits"),
        ("sub_system_id", 0x1_0000, "16 bits"),
        ("vendor_id", 0xFFFF, "no device is there"),
    ],
)
def test_a_number_that_its_register_cannot_hold_is_refused(name: str, value: int, message: str) -> None:
    with pytest.raises(RegisterError, match=message):
        ConfigImage.build(**(IDS | {name: value}))


def test_capabilities_fill_the_256_bytes_to_the_last_and_not_further() -> None:
    ConfigImage.build(**IDS, capabilities=[PmCapability(), VendorCapability(bytes(181))])
    with pytest.raises(RegisterError, match="end at 0x101, the list has room up to 0x100"):
        ConfigImage.build(**IDS, capabilities=[PmCapability(), VendorCapability(bytes(182))])


@pytest.mark.parametrize("capability", [PmCapability(), MsiCapability(), MsixCapability(1)])
def test_a_second_capability_of_a_kind_that_is_there_once_is_refused(capability: Capability) -> None:
    with pytest.raises(RegisterError, match="2 capabilities"):
        ConfigImage.build(**IDS, capabilities=[capability, VendorCapability(b""), capability])


def test_vendor_capabilities_may_repeat() -> None:
    built = ConfigImage.build(**IDS, capabilities=[VendorCapability(b"a"), VendorCapability(b"b")])
    assert len(walk(built.image)) == 2


single_capabilities = st.tuples(
    st.builds(PmCapability, st.integers(0, 31)),
    st.builds(MsiCapability, st.sampled_from([1, 2, 4, 8, 16, 32]), st.booleans(), st.booleans()),
    st.builds(MsixCapability, st.integers(1, 2048), st.integers(0, 5), st.integers(0, 1000).map(lambda n: n * 8)),
    st.builds(VendorCapability, st.binary(max_size=100)),
)


@given(single_capabilities.flatmap(lambda all_four: st.permutations(all_four)), st.integers(0, 4))
def test_any_capabilities_are_found_again_and_their_masks_share_no_bit(
    capabilities: list[Capability], count: int
) -> None:
    built = ConfigImage.build(**IDS, capabilities=capabilities[:count])
    assert [entry.capability for entry in walk(built.image)] == capabilities[:count]
    assert tuple(entry.offset for entry in walk(built.image)) == built.capability_offsets
    assert not any(w & c for w, c in zip(built.write_mask, built.w1c_mask, strict=True))
    assert not any(built.write_mask[0x10:0x28])
    assert {len(built.image), len(built.write_mask), len(built.w1c_mask)} == {4096}
