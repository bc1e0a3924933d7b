"""Frames: what is on the line between host and agent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdvlab.systems.qemu.agent.protocol import CHUNK, FRAME_MAX, MARK, Frame, Kind, Parser, pack

frames = st.builds(
    Frame,
    st.sampled_from(Kind).map(int),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=60) | st.just(bytes(CHUNK)) | st.just(MARK * 9),
)


def packed(frame: Frame) -> bytes:
    return pack(frame.kind, frame.request, frame.sequence, frame.payload)


@given(st.lists(frames, max_size=5), st.data())
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(sent: list[Frame], data: st.DataObject) -> None:
    line = b"".join(packed(one) for one in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=6)))
    parser, got = Parser(), []
    for start, end in zip([0, *cuts], [*cuts, len(line)], strict=True):
        got += parser.feed(line[start:end])
    assert got == sent
    assert parser.skipped == 0


@given(st.binary(max_size=300).filter(lambda noise: MARK[:1] not in noise), frames, frames)
def test_noise_between_frames_is_skipped_and_counted(noise: bytes, first: Frame, second: Frame) -> None:
    parser = Parser()
    assert parser.feed(packed(first) + noise + packed(second)) == [first, second]
    assert parser.skipped == len(noise)


@given(frames, st.data())
def test_a_frame_with_a_wrong_bit_is_not_taken_and_the_next_ones_are(frame: Frame, data: st.DataObject) -> None:
    damaged = bytearray(packed(frame))
    at = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[at // 8] ^= 1 << at % 8
    good = Frame(Kind.PONG, 0, 0, b"")
    # As many as the damaged one can claim to be long.
    count = FRAME_MAX // len(packed(good)) + 1
    parser = Parser()
    assert parser.feed(bytes(damaged) + packed(good) * count)[-1:] == [good]
    assert parser.skipped > 0


def test_a_frame_that_was_cut_off_ends_with_the_zeros_of_the_next_host() -> None:
    parser = Parser()
    assert parser.feed(pack(Kind.DATA, 1, 7, bytes(range(1, 200)))[:50]) == []
    assert [one.kind for one in parser.feed(bytes(FRAME_MAX) + pack(Kind.HELLO, 0, 0, b"abcd"))] == [Kind.HELLO]


@pytest.mark.parametrize("length", [0, 1, CHUNK])
def test_a_frame_is_its_payload_and_16_bytes(length: int) -> None:
    assert len(pack(Kind.DATA, 1, 1, bytes(length))) == length + 16
