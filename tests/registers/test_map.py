"""Finding registers by place and name, and descriptions that are written down and read back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab import Field, Register
from hdvlab.errors import RegisterError
from hdvlab.registers import Access, NoSuchRegisterError, RegisterMap

_NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,7}", fullmatch=True)


@st.composite
def registers_at(draw: st.DrawFn, name: str, slot: int) -> Register:
    width = draw(st.sampled_from([8, 16, 32, 64]))
    fields: dict[str, int | tuple[int, int] | Field] = {}
    bit = 0
    while bit < width and draw(st.booleans()):
        lsb = draw(st.integers(bit, width - 1))
        size = draw(st.integers(1, width - lsb))
        access = draw(st.one_of(st.none(), st.sampled_from(Access)))
        meanings = draw(st.dictionaries(st.integers(0, (1 << size) - 1), st.text(max_size=5), max_size=2))
        fields[f"F{lsb}"] = Field(lsb, size, access, meanings, draw(st.text(max_size=5)))
        bit = lsb + size
    return Register(
        slot * 8,
        width,
        access=draw(st.sampled_from(Access)),
        reset=draw(st.integers(0, (1 << width) - 1)),
        fields=fields,
        access_sizes=draw(st.one_of(st.none(), st.sets(st.sampled_from([1, 2, 4, 8]), min_size=1))),
        narrow=draw(st.sampled_from(["merge", "low"])),
        doc=draw(st.text(max_size=10)),
        name=name,
    )


@st.composite
def maps(draw: st.DrawFn) -> RegisterMap:
    names = draw(st.lists(_NAMES, unique=True, max_size=5))
    registers = [draw(registers_at(name, slot)) for slot, name in enumerate(names)]
    return RegisterMap(registers, draw(st.one_of(st.none(), st.just(4096))), draw(st.text(max_size=5)))


@settings(max_examples=60, deadline=None)
@given(maps())
def test_a_description_written_as_json_reads_back_the_same(made: RegisterMap) -> None:
    again = RegisterMap.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    for one, other in zip(made, again, strict=True):
        assert (one.masks, one.offset, one.end) == (other.masks, other.offset, other.end)
        assert (one.fields, one.access_sizes, one.narrow) == (other.fields, other.access_sizes, other.narrow)
        assert one.describe(one.reset) == other.describe(one.reset)


@settings(max_examples=60, deadline=None)
@given(maps(), st.integers(0, 64))
def test_a_register_is_found_at_each_of_its_bytes_and_nowhere_else(made: RegisterMap, offset: int) -> None:
    holders = [r for r in made if r.offset <= offset < r.end]
    assert made.at(offset) is (holders[0] if holders else None)


def test_two_registers_of_one_name_are_refused() -> None:
    with pytest.raises(RegisterError, match="bar0: two registers have the same name"):
        RegisterMap([Register(0, name="A"), Register(4, name="A")], name="bar0")


def test_a_missing_name_says_what_there_is() -> None:
    made = RegisterMap([Register(0, name="CTRL"), Register(4, name="STATUS")], name="bar0")
    with pytest.raises(NoSuchRegisterError, match="bar0 has no register ZZZ; it has CTRL, STATUS"):
        made["ZZZ"]
    with pytest.raises(NoSuchRegisterError, match="did you mean STATUS?"):
        made["status"]
    with pytest.raises(NoSuchRegisterError, match="it has none"):
        RegisterMap([], name="bar0")["A"]
