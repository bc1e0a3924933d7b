"""Accesses narrower or wider than a register, compared with a model of bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab import Bar, Device, Field, Lab, Register
from hdvlab.errors import AccessWarning, HResult
from hdvlab.lab import Plugged


class Bytes(Device):
    """Bytes 0 to 31 of the BAR: registers of all widths, a gap at 7, and bits of every access mode."""

    vendor_id, device_id = 0x1234, 3

    class bar0(Bar, size=32):
        A = Register(0, 32, reset=0x0403_0201)
        B = Register(4, 16, reset=0x0605)
        C = Register(6, 8, access="ro", reset=0x77)
        D = Register(8, 64, reset=0x1122_3344_5566_7788)
        E = Register(
            16, 32, reset=0xFFFF_0F0F, fields={"X": (4, 8), "Y": Field(16, 8, "w1c"), "Z": Field(24, 4, "w1s")}
        )
        F = Register(20, 32, access="wo")
        G = Register(24, 64, access="rc", reset=0x8877_6655_4433_2211)


class Model:
    """What the guest sees, byte by byte, each byte with masks of its own."""

    def __init__(self) -> None:
        self.stored = bytearray(32)
        self.masks = {name: bytearray(32) for name in ("read", "write", "w1c", "w1s", "rc")}
        self.claimed = bytearray(32)
        for register in Bytes.bar0.map:
            place = slice(register.offset, register.end)
            self.stored[place] = register.reset.to_bytes(register.size, "little")
            self.claimed[place] = b"\1" * register.size
            m = register.masks
            for name, mask in (("read", m.read), ("write", m.write), ("w1c", m.write_one_to_clear),
                               ("w1s", m.write_one_to_set), ("rc", m.read_to_clear)):  # fmt: skip
                self.masks[name][place] = mask.to_bytes(register.size, "little")

    def read(self, offset: int, size: int) -> int:
        answer = bytearray()
        for i in range(offset, offset + size):
            answer.append(self.stored[i] | ~self.masks["read"][i] & 0xFF if self.claimed[i] else 0xFF)
            self.stored[i] &= ~self.masks["rc"][i]
        return int.from_bytes(answer, "little")

    def write(self, offset: int, size: int, value: int) -> None:
        for i, byte in enumerate(value.to_bytes(size, "little"), offset):
            if self.claimed[i]:
                kept = self.stored[i] & ~self.masks["write"][i] | byte & self.masks["write"][i]
                self.stored[i] = kept & ~(byte & self.masks["w1c"][i]) & 0xFF | byte & self.masks["w1s"][i]


_ACCESS = st.sampled_from([1, 2, 4, 8]).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.integers(0, 32 - size),
        st.one_of(st.none(), st.integers(0, (1 << 8 * size) - 1), st.just((1 << 8 * size) - 1)),
    )
)


@pytest.fixture(scope="module")
def plugged() -> Iterator[Plugged]:
    with Lab() as lab:
        yield lab.plug(Bytes)


@pytest.mark.fault(15)
@settings(max_examples=100, deadline=None)
@given(accesses=st.lists(_ACCESS, max_size=12))
def test_accesses_of_any_size_at_any_place_touch_the_bytes_they_address(
    plugged: Plugged, accesses: list[tuple[int, int, int | None]]
) -> None:
    model, state, bar0 = Model(), plugged.device.bar0, plugged.bar0
    for register in Bytes.bar0.map:  # a power cycle for each example would be slow
        setattr(state, register.name, register.reset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccessWarning)
        for size, offset, value in accesses:
            if value is None:
                assert bar0.read(offset, size) == model.read(offset, size)
            else:
                bar0.write(offset, value, size)
                model.write(offset, size, value)
    for register in Bytes.bar0.map:
        want = int.from_bytes(model.stored[register.offset : register.end], "little")
        assert int(getattr(state, register.name)) == want, register


@pytest.mark.fault(15)
def test_an_unaligned_access_is_split_into_aligned_rows_as_a_bridge_does(lab: Lab) -> None:
    bar0 = lab.plug(Bytes).bar0
    with lab.record() as run:
        assert bar0.read(3, 4) == 0x7706_0504
    frame = run.frame()
    assert list(zip(frame["address"], frame["size"], frame["value"], strict=True)) == [(3, 1, 4), (4, 2, 0x0605),
                                                                                    (6, 1, 0x77)]  # fmt: skip


class Sizes(Device):
    vendor_id, device_id = 0x1234, 4

    class bar0(Bar):
        WORD = Register(0x00, reset=0x1111_1111, access_sizes=[4])
        LOW = Register(0x08, 64, reset=0x8877_6655_4433_2211, access_sizes=[4, 8], narrow="low")

    @bar0.LOW.on_write
    def low(self, value: int, old: int) -> None:
        self.seen = (value, old)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_an_access_of_a_size_that_the_register_does_not_take_reads_ones_and_writes_nothing(lab: Lab, size: int) -> None:
    plugged = lab.plug(Sizes)
    with pytest.warns(AccessWarning, match="does not take accesses of that size or place"):
        assert plugged.bar0.read(0, size) == (1 << 8 * size) - 1
    with pytest.warns(AccessWarning):
        plugged.bar0.write(0, 0, size)
    assert set(lab.trace.frame()["status"].tail(2)) == {HResult.E_INVALIDARG.signed}
    assert plugged.bar0.WORD.read() == 0x1111_1111


def test_a_narrow_access_of_a_low_register_reads_the_low_half_and_replaces_the_whole(lab: Lab) -> None:
    plugged = lab.plug(Sizes)
    assert plugged.bar0.read(8, 4) == 0x4433_2211
    plugged.bar0.write(8, 5, 4)
    assert plugged.bar0.LOW.read() == 5
    assert plugged.device.seen == (5, 0x8877_6655_4433_2211)


def test_a_narrow_access_of_a_low_register_must_start_at_its_offset(lab: Lab) -> None:
    bar0 = lab.plug(Sizes).bar0
    with pytest.warns(AccessWarning):
        assert bar0.read(12, 4) == 0xFFFF_FFFF
    with pytest.warns(AccessWarning):
        bar0.write(12, 0, 4)
    assert bar0.LOW.read() == 0x8877_6655_4433_2211
