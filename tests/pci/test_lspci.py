"""Listings, against what ``lspci -F`` of pciutils 3.9 printed for the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError
from hdvlab.pci import (
    BarDescription,
    ConfigHeader,
    ConfigImage,
    MsiCapability,
    MsixCapability,
    PmCapability,
    VendorCapability,
    hexdump,
    lspci,
)


def device() -> bytearray:
    """A device with all four capabilities, placed and enabled as a guest would."""
    image = ConfigImage.build(
        vendor_id=0x1234,
        device_id=0x11E8,
        revision_id=0x10,
        sub_vendor_id=0x1AF4,
        sub_system_id=0x1100,
        capabilities=[
            PmCapability(0b11001),
            MsiCapability(4, per_vector_masking=True),
            MsixCapability(8, 2, 0x800),
            VendorCapability(b"lab"),
        ],
    ).image
    config = bytearray(image)
    config[0x04] = 0x06
    config[0x0C:0x0E] = b"\x10\x20"
    config[0x10:0x1C] = bytes.fromhex("0000b0fe 0cc00080 42000000")
    config[0x3C:0x40] = bytes((11, 1, 4, 0))
    config[0x4A:0x56] = bytes.fromhex("a501 0010e0fe 01000000 4241")
    config[0x58] = 0x02
    return config


def test_one_line_has_address_class_and_ids() -> None:
    image = ConfigImage.build(vendor_id=0x1234, device_id=0x11E8, revision_id=0x10).image
    assert lspci(image, "00:01.0") == "00:01.0 Unassigned class [ff00]: 1234:11e8 (rev 10)\n"


def test_a_revision_of_zero_is_left_out_and_a_domain_is_kept() -> None:
    image = ConfigImage.build(vendor_id=1, device_id=2, base_class=2).image
    assert lspci(ConfigHeader.decode(image), "0001:0a:1f.7") == "0001:0a:1f.7 Ethernet controller: 0001:0002\n"


def test_v_shows_flags_regions_and_one_line_per_capability() -> None:
    assert lspci(bytes(device()), "00:01.0", verbose=1) == (
        "00:01.0 Unassigned class [ff00]: 1234:11e8 (rev 10)\n"
        "\tSubsystem: 1af4:1100\n"
        "\tFlags: bus master, fast devsel, latency 32, IRQ 11\n"
        "\tMemory at feb00000 (32-bit, non-prefetchable)\n"
        "\tMemory at 428000c000 (64-bit, prefetchable)\n"
        "\tCapabilities: [40] Power Management version 3\n"
        "\tCapabilities: [48] MSI: Enable+ Count=4/4 Maskable+ 64bit+\n"
        "\tCapabilities: [60] MSI-X: Enable- Count=8 Masked-\n"
        "\tCapabilities: [6c] Vendor Specific Information: Len=06 <?>\n"
    )


def test_vv_shows_every_bit() -> None:
    bars = [BarDescription(0, 1 << 20), BarDescription(1, 1 << 14, 64, True)]
    assert lspci(bytes(device()), "00:01.0", verbose=2, bars=bars) == (
        "00:01.0 Unassigned class [ff00]: 1234:11e8 (rev 10)\n"
        "\tSubsystem: 1af4:1100\n"
        "\tControl: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-\n"
        "\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-\n"
        "\tLatency: 32 (1000ns min), Cache Line Size: 64 bytes\n"
        "\tInterrupt: pin A routed to IRQ 11\n"
        "\tRegion 0: Memory at feb00000 (32-bit, non-prefetchable) [size=1M]\n"
        "\tRegion 1: Memory at 428000c000 (64-bit, prefetchable) [size=16K]\n"
        "\tCapabilities: [40] Power Management version 3\n"
        "\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold+)\n"
        "\t\tStatus: D0 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-\n"
        "\tCapabilities: [48] MSI: Enable+ Count=4/4 Maskable+ 64bit+\n"
        "\t\tAddress: 00000001fee01000  Data: 4142\n"
        "\t\tMasking: 00000002  Pending: 00000000\n"
        "\tCapabilities: [60] MSI-X: Enable- Count=8 Masked-\n"
        "\t\tVector table: BAR=2 offset=00000800\n"
        "\t\tPBA: BAR=2 offset=00000880\n"
        "\tCapabilities: [6c] Vendor Specific Information: Len=06 <?>\n"
    )


def test_regions_of_an_image_without_bars_take_type_and_size_from_the_description() -> None:
    image = ConfigImage.build(vendor_id=1, device_id=2).image
    bars = [BarDescription(0, 4096), BarDescription(2, 1 << 32, 64, True, 0x42_0000_0000), BarDescription(4, 16)]
    assert lspci(image, verbose=2, bars=bars).splitlines()[3:] == [
        "\tRegion 0: Memory at <unassigned> (32-bit, non-prefetchable) [disabled] [size=4K]",
        "\tRegion 2: Memory at 4200000000 (64-bit, prefetchable) [disabled] [size=4G]",
        "\tRegion 4: Memory at <unassigned> (32-bit, non-prefetchable) [disabled] [size=16]",
    ]


def test_io_and_broken_regions_and_the_rom_are_told_as_they_stand() -> None:
    config = bytearray(ConfigImage.build(vendor_id=1, device_id=2).image)
    config[0x04] = 0x02
    config[0x10:0x14] = bytes.fromhex("81c00000")
    config[0x24:0x28] = bytes.fromhex("0400c0fe")
    config[0x30:0x34] = bytes.fromhex("0000d0fe")
    assert lspci(bytes(config), verbose=1).splitlines()[2:] == [
        "\tI/O ports at c080 [disabled]",
        "\tMemory at <broken-64-bit-slot> (64-bit, non-prefetchable)",
        "\tExpansion ROM at fed00000 [disabled]",
    ]


def test_a_broken_list_is_told_and_ended() -> None:
    config = device()
    config[0x6D] = 0x40
    assert lspci(bytes(config), verbose=1).endswith("\tCapabilities: [40] <chain looped>\n")
    config[0x6C] = 0xFF
    assert lspci(bytes(config), verbose=1).endswith("\tCapabilities: [6c] <chain broken>\n")
    assert lspci(bytes(config[:64]), verbose=1).endswith("\tCapabilities: <access denied>\n")


def test_a_capability_with_reserved_contents_is_told_as_it_stands() -> None:
    config = device()
    config[0x4A] = 0x8C
    assert "[48] MSI: Enable- Count=1/64 Maskable+ 64bit+" in lspci(bytes(config), verbose=1)


def test_other_capabilities_are_named_or_numbered() -> None:
    config = bytearray(256)
    config[0x06], config[0x34] = 0x10, 0x40
    config[0x40:0x50] = bytes.fromhex("10 44 4201  03 48 0000  77 4c 3412  10 00 0200")
    listing = lspci(bytes(config), verbose=2)
    assert "[40] Express (v2) Root Port (Slot+), MSI 00\n" in listing
    assert "[44] Vital Product Data\n" in listing
    assert "[48] Capability ID 0x77 [1234]\n" in listing
    assert "[4c] Express (v2) Endpoint, MSI 00\n" in listing


def test_a_header_that_is_of_no_known_type_is_not_guessed_at() -> None:
    config = bytearray(device())
    config[0x0E] = 0x13
    assert lspci(bytes(config), verbose=2).splitlines()[1:] == ["\t!!! Unknown header type 13"]


def test_a_class_that_contradicts_the_header_type_is_told() -> None:
    config = ConfigImage.build(vendor_id=1, device_id=2, base_class=6, sub_class=4).image
    assert "\t!!! Invalid class 0604 for header type 00\n" in lspci(config, verbose=1)


def test_the_dump_has_the_form_that_lspci_reads() -> None:
    lines = lspci(bytes(device()), "00:01.0", hex_level=1).splitlines()
    assert lines == [
        "00:01.0 Unassigned class [ff00]: 1234:11e8 (rev 10)",
        "00: 34 12 e8 11 06 00 10 00 10 00 00 ff 10 20 00 00",
        "10: 00 00 b0 fe 0c c0 00 80 42 00 00 00 00 00 00 00",
        "20: 00 00 00 00 00 00 00 00 00 00 00 00 f4 1a 00 11",
        "30: 00 00 00 00 40 00 00 00 00 00 00 00 0b 01 04 00",
    ]


@pytest.mark.parametrize(("hex_level", "size"), [(0, 0), (1, 64), (2, 64), (3, 256), (4, 4096)])
def test_each_x_dumps_more(hex_level: int, size: int) -> None:
    assert len(lspci(bytes(device()), hex_level=hex_level).splitlines()) == 1 + size // 16
    assert len(lspci(bytes(device()[:64]), hex_level=hex_level).splitlines()) == 1 + min(size, 64) // 16


@given(st.binary(max_size=4096))
def test_a_dump_read_back_gives_the_bytes(config: bytes) -> None:
    read = bytearray()
    for line in hexdump(config).splitlines():
        offset, text = line.split(": ")
        assert int(offset, 16) == len(read)
        read += bytes.fromhex(text)
    assert read == config


@pytest.mark.parametrize("address", ["", "1.0", "00:01.8", "00:01.0\n", "zz:01.0", "00:01", "00000:00:01.0"])
def test_an_address_that_lspci_would_not_read_is_refused(address: str) -> None:
    with pytest.raises(AccessError, match=r"as in 00:01\.0"):
        lspci(bytes(64), address)


@pytest.mark.parametrize("hex_level", [-1, 5])
def test_a_level_that_lspci_does_not_have_is_refused(hex_level: int) -> None:
    with pytest.raises(AccessError, match=f"hex_level is {hex_level}"):
        lspci(bytes(64), hex_level=hex_level)


@given(st.binary(min_size=256, max_size=256), st.integers(0, 2))
def test_any_bytes_are_listed(config: bytes, verbose: int) -> None:
    for layout in (0, 1, 2, config[0x0E]):
        dump = config[:6] + b"\x10" + config[7:0x0E] + bytes((layout,)) + config[0x0F:]
        listing = lspci(dump, verbose=verbose)
        assert listing.endswith("\n")
        assert listing.replace("\n", "").replace("\t", "").isprintable()


def test_capabilities_of_a_virtio_device_tell_where_its_structures_are() -> None:
    def listed(vendor_id: int, *data: bytes) -> str:
        given = [VendorCapability(one) for one in data]
        return lspci(ConfigImage.build(vendor_id=vendor_id, device_id=0x1044, capabilities=given).image, verbose=2)

    common = b"\x01\x00\x00\x00\x00" + (0x1000).to_bytes(4, "little") + (0x38).to_bytes(4, "little")
    notify = b"\x02\x02\x00\x00\x00" + (0x3000).to_bytes(4, "little") + (8).to_bytes(4, "little") + b"\x04\0\0\0"
    other = b"\x05" + bytes(16)
    assert (
        "\tCapabilities: [40] Vendor Specific Information: VirtIO: CommonCfg\n"
        "\t\tBAR=0 offset=00001000 size=00000038\n"
        "\tCapabilities: [50] Vendor Specific Information: VirtIO: Notify\n"
        "\t\tBAR=2 offset=00003000 size=00000008 multiplier=00000004\n"
        "\tCapabilities: [64] Vendor Specific Information: VirtIO: <unknown>\n"
        "\t\tBAR=0 offset=00000000 size=00000000\n"
    ) in listed(0x1AF4, common, notify, other)
    assert "Vendor Specific Information: Len=10 <?>" in listed(0x1234, common)
    assert "Vendor Specific Information: Len=0f <?>" in listed(0x1AF4, common[:-1])
