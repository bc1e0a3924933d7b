"""The reference page says what the headers say, has an entry for every name, and leaves nothing out of one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hdvlab.errors import HResult

from ..conformance import C_NAMES, FUNCTIONS, TYPES, signature

PAGE = Path(__file__).parents[2] / "notebooks/hdv-reference.md"
TEXT = PAGE.read_text("utf-8")
ENTRIES = dict(re.findall(r"^### (Hdv\w+)\n(.*?)(?=^##|\Z)", TEXT, flags=re.M | re.S))
TYPE_FIELDS = ("Meaning", "In Python", "On Windows")
FIELDS = ("Meaning", "Order", "Threads", "Errors", "In the trace", "In Python", "On Windows")


def test_every_name_has_one_entry_and_there_is_no_other() -> None:
    assert sorted(re.findall(r"^### (Hdv\w+)$", TEXT, flags=re.M)) == sorted(C_NAMES)
    assert len(C_NAMES) == 33


@pytest.mark.parametrize("name", C_NAMES)
def test_the_signature_of_an_entry_is_the_headers(name: str) -> None:
    block = re.search(r"```c\n(.*?)```", ENTRIES[name], flags=re.S)
    assert block
    assert re.sub(r"\s+", " ", block[1]).strip() == signature(C_NAMES[name])


@pytest.mark.parametrize("name", C_NAMES)
def test_an_entry_says_all_that_a_reader_asks(name: str) -> None:
    fields = dict(re.findall(r"^\*\*(.+?)\.\*\* (.*)$", ENTRIES[name], flags=re.M))
    assert tuple(fields) == (TYPE_FIELDS if name in TYPES else FIELDS)
    assert all(fields.values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_errors_of_an_entry_are_codes_that_exist(name: str) -> None:
    errors = re.search(r"^\*\*Errors\.\*\* (.*?)(?=^\*\*)", ENTRIES[name], flags=re.M | re.S)
    assert errors
    known = {code.name for code in HResult} | {"HRESULT"}
    for symbol in re.findall(r"`((?:E|ERROR|HCS|RPC)_\w+)`", errors[1]):
        assert symbol in known


def test_the_codes_of_the_page_have_the_values_it_says() -> None:
    rows = re.findall(r"^\| `(0x[0-9A-F]{8})` \| `(\w+)` \|", TEXT, flags=re.M)
    assert rows
    for value, symbol in rows:
        assert HResult[symbol] == int(value, 16)
