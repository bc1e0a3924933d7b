"""The reader of many lines and the reader of one line say the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab.formats.mmiotrace_block import scan
from hdvlab.formats.mmiotrace_line import Row, parse_line
from hdvlab.trace.schema import Kind

LINES = [
    b"R 4 1.500000 1 0xfebe001c 0x1 0x0 0\n",
    b"W 8 1.700000 1 0xfebe2000 0xfedcba9876543210 0xffffffff81000000 0\r\n",
    b"MARK 1.600000 load\n",
    b"UNMAP 1.900000 1 0x0 0\n",
    b"\n",
]

_number = st.integers(0, (1 << 64) - 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("RW"),
            st.sampled_from([1, 2, 4, 8]),
            st.integers(0, 0xFFFFFFFF),
            st.integers(0, 999_999),
            st.integers(0, 2**31),
            _number,
            _number,
            _number,
            st.sampled_from(["\n", "\r\n"]),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None)
def test_the_block_reader_and_the_line_reader_agree_with_what_was_written(written: list[tuple[Any, ...]]) -> None:
    text = "".join("%s %d %d.%06d %d 0x%x 0x%x 0x%x 0%s" % one for one in written).encode()  # noqa: UP031
    accesses, edges, others = scan(text)
    assert others.tolist() == []
    for index, (what, size, seconds, micros, _, physical, value, pc, _) in enumerate(written):
        kind = Kind.mmio_read if what == "R" else Kind.mmio_write
        expected = Row(kind, (seconds * 1_000_000 + micros) * 1_000, size, physical, value, pc)
        assert parse_line(text[edges[index] : edges[index + 1]]) == expected
        fast = [
            getattr(accesses, name)[index].item() for name in ("kind", "time_ns", "size", "physical", "value", "pc")
        ]
        assert Row(Kind(fast[0]), *fast[1:]) == expected


@given(
    st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=40)), max_size=20),
    st.data(),
)
@settings(deadline=None, max_examples=300)
def test_the_block_reader_takes_no_line_that_the_line_reader_would_not(
    pieces: list[bytes], data: st.DataObject
) -> None:
    text = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(0, 5)) if text else 0):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b"0xRW .\n\r159afAF\0\xff"))
    lines = bytes(text) + b"\n"
    accesses, edges, others = scan(lines)
    assert sorted([*accesses.line.tolist(), *others.tolist()]) == list(range(lines.count(b"\n")))
    for index, line in enumerate(accesses.line.tolist()):
        record = parse_line(lines[edges[line] : edges[line + 1]])
        fast = [
            getattr(accesses, name)[index].item() for name in ("kind", "time_ns", "size", "physical", "value", "pc")
        ]
        assert record == Row(Kind(fast[0]), *fast[1:])
