"""BAR masks against PCI Local Bus 3.0, section 6.2.5.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.errors import AccessError, RegisterError
from hdvlab.pci import BarDescription, decode_probed_bars, probed_bar, probed_bars


@pytest.mark.parametrize(
    ("size", "bits", "prefetchable", "dwords"),
    [
        (16, 32, False, (0xFFFF_FFF0,)),
        (4096, 32, False, (0xFFFF_F000,)),
        (1 << 20, 32, True, (0xFFF0_0008,)),
        (1 << 31, 32, False, (0x8000_0000,)),
        (4096, 64, False, (0xFFFF_F004, 0xFFFF_FFFF)),
        (4096, 64, True, (0xFFFF_F00C, 0xFFFF_FFFF)),
        (1 << 32, 64, True, (0x0000_000C, 0xFFFF_FFFF)),
        (1 << 33, 64, False, (0x0000_0004, 0xFFFF_FFFE)),
        (1 << 63, 64, False, (0x0000_0004, 0x8000_0000)),
    ],
)
def test_a_probed_bar_reads_back_its_size_and_type(
    size: int, bits: int, prefetchable: bool, dwords: tuple[int, ...]
) -> None:
    assert probed_bar(size, bits, prefetchable) == dwords


def test_probed_bars_leaves_zero_where_no_bar_is_and_puts_a_64_bit_bar_into_two_entries() -> None:
    bars = [BarDescription(4, 256), BarDescription(0, 1 << 20), BarDescription(2, 1 << 34, 64, True)]
    assert probed_bars(bars) == (0xFFF0_0000, 0, 0x0000_000C, 0xFFFF_FFFC, 0xFFFF_FF00, 0)


@pytest.mark.parametrize(
    ("index", "size", "bits", "numbers"),
    [
        (0, 3000, 32, ("0xbb8", "0x1000")),
        (0, 8, 32, ("8 bytes", "16")),
        (0, 0, 32, ("0 bytes", "16")),
        (0, -16, 32, ("-16 bytes", "16")),
        (0, 1 << 32, 32, ("0x100000000", "0x80000000", "bits=64")),
        (0, 1 << 64, 64, ("0x10000000000000000", "0x8000000000000000")),
        (6, 16, 32, ("6", "0..5")),
        (-1, 16, 32, ("-1", "0..5")),
        (0, 16, 16, ("16 bits", "32 or 64")),
        (5, 16, 64, ("BAR5", "BAR6")),
    ],
)
def test_a_contradictory_bar_is_refused_with_both_numbers(
    index: int, size: int, bits: int, numbers: tuple[str, ...]
) -> None:
    with pytest.raises(RegisterError) as caught:
        BarDescription(index, size, bits)
    assert all(number in str(caught.value) for number in numbers), str(caught.value)


@pytest.mark.parametrize("second", [BarDescription(1, 16), BarDescription(0, 16), BarDescription(1, 16, 64)])
def test_two_bars_that_take_the_same_dword_are_refused(second: BarDescription) -> None:
    for bars in ([BarDescription(0, 4096, 64), second], [second, BarDescription(0, 4096, 64)]):
        with pytest.raises(RegisterError, match=r"both take BAR[01]"):
            probed_bars(bars)


def test_an_io_bar_is_refused_where_hdv_has_memory_bars_only() -> None:
    with pytest.raises(RegisterError, match="memory BARs only"):
        probed_bars([BarDescription(0, 32, io=True)])


def test_an_io_bar_has_neither_64_bits_nor_prefetching() -> None:
    with pytest.raises(RegisterError, match="I/O space"):
        BarDescription(0, 32, 64, io=True)
    with pytest.raises(RegisterError, match="I/O space"):
        BarDescription(0, 32, prefetchable=True, io=True)


def test_decoding_joins_the_halves_of_an_address() -> None:
    probed = (0xFFF0_0008, 0, 0xFFFF_C004, 0xFFFF_FFFF, 0x0000_FFE1, 0xFFFF_FF01)
    original = (0xFEB0_0008, 0, 0x8000_0004, 0x0000_0042, 0x0000_C001, 0x0001_0001)
    assert decode_probed_bars(probed, original) == [
        BarDescription(0, 1 << 20, 32, True, 0xFEB0_0000),
        BarDescription(2, 1 << 14, 64, False, 0x42_8000_0000),
        BarDescription(4, 32, address=0xC000, io=True),
        BarDescription(5, 256, address=0x1_0000, io=True),
    ]


def test_the_two_bars_of_a_bridge_are_decoded() -> None:
    assert decode_probed_bars((0xFFFF_F004, 0xFFFF_FFFF), (4, 0)) == [BarDescription(0, 4096, 64)]


@pytest.mark.parametrize(
    ("probed", "message"),
    [
        ((0xFFFF_FFFF, 0, 0, 0, 0, 0), "no device answered"),
        ((0xFFFF_FF03, 0, 0, 0, 0, 0), "bit 1 of an I/O BAR is reserved"),
        ((0xFFFF_F002, 0, 0, 0, 0, 0), "type .* is 1, which is reserved"),
        ((0xFFFF_F006, 0, 0, 0, 0, 0), "type .* is 3, which is reserved"),
        ((0xFF0F_F000, 0, 0, 0, 0, 0), "0xff0ff000"),
        ((0x0000_0008, 0, 0, 0, 0, 0), "write all ones"),
        ((0x0000_0001, 0, 0, 0, 0, 0), "write all ones"),
        ((0x0000_0004, 0, 0, 0, 0, 0), "write all ones"),
        ((0xFFFF_F004, 0, 0, 0, 0, 0), "write all ones"),
        ((0, 0, 0, 0, 0, 0xFFFF_F004), "BAR5 is the last"),
        ((0,) * 7, "7 probed and 6 original"),
        ((1 << 32, 0, 0, 0, 0, 0), "32 bits"),
        ((-16, 0, 0, 0, 0, 0), "32 bits"),
    ],
)
def test_dwords_that_no_bar_reads_back_are_refused(probed: tuple[int, ...], message: str) -> None:
    with pytest.raises(AccessError, match=message):
        decode_probed_bars(probed)


def test_too_few_original_dwords_are_refused_with_both_numbers() -> None:
    with pytest.raises(AccessError, match="6 probed and 2 original"):
        decode_probed_bars((0,) * 6, (0, 0))


@st.composite
def bar_sets(draw: st.DrawFn) -> list[BarDescription]:
    bars: list[BarDescription] = []
    index = 0
    while index < 6:
        bits = draw(st.sampled_from([0, 32, 64] if index < 5 else [0, 32]))
        if bits:
            size = 1 << draw(st.integers(4, bits - 1))
            address = draw(st.integers(0, (1 << bits) // size - 1)) * size
            bars.append(BarDescription(index, size, bits, draw(st.booleans()), address))
        index += max(bits // 32, 1)
    return bars


@given(bar_sets())
def test_decoding_what_was_probed_gives_the_bars_back(bars: list[BarDescription]) -> None:
    original = [0] * 6
    for bar in bars:
        value = bar.address | bar.type_bits
        for place in range(bar.registers):
            original[bar.index + place] = value >> 32 * place & 0xFFFF_FFFF
    assert decode_probed_bars(probed_bars(bars), original) == bars


@given(st.lists(st.integers(0, 0xFFFF_FFFF), min_size=6, max_size=6))
def test_any_six_dwords_decode_to_what_probes_the_same_or_are_refused(probed: list[int]) -> None:
    try:
        bars = decode_probed_bars(probed)
    except AccessError:
        return
    if not any(bar.io for bar in bars):
        assert probed_bars(bars) == tuple(probed)
