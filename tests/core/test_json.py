"""The JSON reader: takes what RFC 8259 takes, refuses all else, and says where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import wide

from .compute_scaffold import System, call, document, slot_entry
from .scaffold import S_OK, CallbackDevice, code


def check(text: str) -> tuple[int, int]:
    """HRESULT, and the unit at which it is no JSON."""
    at = ffi.new("uint64_t *")
    return code(lib.hdvlab_json_check(wide(text), at)), int(at[0])


def refused_constant(name: str) -> None:
    raise ValueError(name)


def is_json(text: str) -> bool:
    """What Python says, but for what RFC 8259 has not: NaN, and halves of surrogate pairs."""
    try:
        value = json.loads(text, parse_constant=refused_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-16-le")
    except (ValueError, RecursionError):
        return False
    return True


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 0, 3]))
def test_what_python_writes_is_json(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if "\0" not in text:
        assert check(text)[0] == S_OK


@given(text=st.text(alphabet='{}[]",:0123456789-+.eEtruefalsn\\/bu \t\n\r\x1f\x7f\ud800\udc00é', max_size=24))
@settings(max_examples=1000)
def test_random_text_is_json_when_python_says_so(text: str) -> None:
    # Two halves written next to each other are a pair in UTF-16.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert (check(text)[0] == S_OK) == is_json(text)


@given(value=VALUES, data=st.data())
@settings(max_examples=300)
def test_a_damaged_document_is_json_when_python_says_so(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.sampled_from(['"', "}", "]", ",", "\\", "0", "", "e", "-"])) + text[at + 1 :]
    assert (check(text)[0] == S_OK) == is_json(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", 0),
        ("{", 1),
        ("[", 1),
        ('{"a"', 4),
        ('{"a":', 5),
        ('{"a":1', 6),
        ('{"a":1,', 7),
        ('{"a":1,}', 7),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("{a:1}", 1),
        ("01", 1),
        ("-", 1),
        ("1.", 2),
        ("1e", 2),
        (".5", 0),
        ("+1", 0),
        ("tru", 0),
        ("NaN", 0),
        ("Infinity", 0),
        ('"', 1),
        ('"a\nb"', 2),
        ('"\\x"', 1),
        ('"\\u12g4"', 1),
        ('"\\ud800"', 7),
        ('"\\ud800\\u0041"', 7),
        ('"\\udc00"', 1),
        ('"\ud800"', 2),
        ("1 1", 2),
        ("[]]", 2),
        ("[}", 1),
        ("\ufeff{}", 0),
        ("\xa0{}", 0),
        ("'a'", 0),
        ("[1] // no", 4),
    ],
)
def test_a_mistake_is_found_where_it_is(text: str, at: int) -> None:
    assert check(text) == (HResult.HCS_E_INVALID_JSON, at)


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_nesting_ends_at_64_levels(brackets: tuple[str, str]) -> None:
    left, right = brackets
    assert check(left * 64 + "1" + right * 64)[0] == S_OK
    assert check(left * 65 + "1" + right * 65) == (HResult.HCS_E_INVALID_JSON, 64 * len(left))
    assert check(left * 1_000_000)[0] == HResult.HCS_E_INVALID_JSON


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=5))
@settings(max_examples=50, deadline=None)
def test_strings_arrive_as_python_wrote_them(texts: list[str]) -> None:
    device = CallbackDevice()
    with System(document({str(device.instance_id): slot_entry(configuration=texts)})) as system:
        system.plug(device)
        assert system.do("start")[0] == S_OK
        assert device.calls[1] == ("set_configuration", texts)


@given(owner=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@settings(max_examples=50, deadline=None)
def test_documents_that_are_written_are_json(owner: str) -> None:
    with System(document(Owner=owner)) as system:
        assert system.properties()[1]["Owner"] == owner
        asked = call(lambda op: lib.HcsModifyComputeSystem(system.handle, op, wide(json.dumps({owner: 1})), ffi.NULL))
        assert asked[0] == HResult.HCS_E_INVALID_JSON
        assert asked[1]["Error"] == HResult.HCS_E_INVALID_JSON.signed


@pytest.mark.parametrize(("number", "good"), [(1, True), ("1.0", False), ("1e0", False), (-1, False), (2**64, False)])
def test_a_whole_number_is_written_as_one(number: Any, good: bool) -> None:
    text = json.dumps(document()).replace('"SizeInMB": 1', f'"SizeInMB": {number}')
    with System(text) as system:
        assert (system.created[0] == S_OK) == good
