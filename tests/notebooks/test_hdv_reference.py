"""The reference page says what the headers say, has an entry for every name, and leaves nothing out of one."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import hdvlab
import hdvlab.device
import hdvlab.hdv
import hdvlab.systems.hyperv
from hdvlab._core import lib
from hdvlab.errors import HResult
from hdvlab.registers import Bar, Register
from hdvlab.trace.schema import Kind

from ..conformance import C_NAMES, FUNCTIONS, INCLUDE, TYPES, signature
from ..core.compute_scaffold import System

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


def _field(name: str, field: str) -> str:
    found = re.search(rf"^\*\*{field}\.\*\* (.*?)(?=^\*\*|\Z)", ENTRIES[name], flags=re.M | re.S)
    assert found
    return found[1]


#: What the page's Python begins with, and what that is.
PYTHON: dict[str, Any] = {
    "Aperture": hdvlab.hdv.Aperture,
    "Device": hdvlab.Device,
    "DeviceHost": hdvlab.hdv.DeviceHost,
    "Doorbell": hdvlab.hdv.Doorbell,
    "Lab": hdvlab.Lab,
    "RemoteDevice": hdvlab.device.RemoteDevice,
    "Section": hdvlab.hdv.Section,
    "bar": Bar,
    "hdvlab": hdvlab,
    "lab": hdvlab.Lab,
    "register": Register,
}


@pytest.mark.parametrize("name", C_NAMES)
def test_what_an_entry_says_of_python_is_there(name: str) -> None:
    codes = re.findall(r"`@?([^`]+)`", _field(name, "In Python"))
    for code in codes:
        match = re.fullmatch(r"(\w+)?((?:\.\w+)*)(?:\((.*)\))?", code)
        assert match, code
        thing = PYTHON[match[1]] if match[1] else hdvlab.hdv.Aperture
        for part in match[2].split(".")[1:]:
            thing = getattr(thing, part)
        if match[3] and code.startswith(("Device.", "Doorbell.", "Aperture.")):  # with its arguments
            there = list(inspect.signature(thing).parameters)
            assert [one.split("=")[0].strip() for one in match[3].split(",")] == [
                one for one in there if one in match[3]
            ]


def test_what_the_rest_of_the_page_says_of_python_is_there() -> None:
    for module, name in re.findall(r"`(hdvlab(?:\.\w+)*)\.(?!h`)(\w+)", TEXT):
        thing: Any = hdvlab
        for part in [*module.split(".")[1:], name]:
            thing = getattr(thing, part)
    for name in re.findall(r"`(hdvlab_\w+)`", TEXT):
        assert hasattr(lib, name)


@pytest.mark.parametrize("name", [name for name in C_NAMES if name not in TYPES])
def test_the_rows_of_an_entry_are_kinds_of_rows(name: str) -> None:
    kinds = {kind.name for kind in Kind}
    columns = {"cause", "payload", "value", "record_sections"}
    for word in re.findall(r"`([a-z_]+)`", _field(name, "In the trace")):
        assert word in kinds | columns


def test_a_callbacks_first_row_is_named_as_it_is() -> None:
    names = {"read_config_space": "config_read", "write_config_space": "config_write"}
    names |= {"read_intercepted_memory": "mmio_read", "write_intercepted_memory": "mmio_write"}
    for name in C_NAMES:
        if name in TYPES or not name.startswith("HdvPci"):
            continue
        step = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removeprefix("HdvPci").removeprefix("Device")).lower()
        assert _field(name, "In the trace").startswith(f"`{names.get(step, step)}`")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_errors_of_an_entry_are_codes_that_exist(name: str) -> None:
    errors = re.search(r"^\*\*Errors\.\*\* (.*?)(?=^\*\*)", ENTRIES[name], flags=re.M | re.S)
    assert errors
    known = {code.name for code in HResult} | {"HRESULT"}
    for symbol in re.findall(r"`((?:E|ERROR|HCS|RPC)_\w+)`", errors[1]):
        assert symbol in known


def _header_codes() -> dict[str, int]:
    """HRESULTs and Win32 codes of the headers, all as unsigned HRESULTs."""
    text = "\n".join(path.read_text("utf-8") for path in INCLUDE.glob("*.h"))
    codes = {name: int(value, 16) for name, value in re.findall(r"#define (\w+) \(\(HRESULT\)(0x[0-9A-F]+)\)", text)}
    win32 = re.findall(r"#define (ERROR_\w+) (0x[0-9A-F]+)u", text)
    return codes | {name: 0x80070000 | int(value, 16) for name, value in win32}


def test_the_codes_of_the_page_have_the_values_it_says() -> None:
    rows = re.findall(r"^\| `(0x[0-9A-F]{8})` \| `(\w+)` \|", TEXT, flags=re.M)
    assert rows
    in_headers = _header_codes()
    for value, symbol in rows:
        assert HResult[symbol] == in_headers[symbol] == int(value, 16)


def test_every_code_that_the_page_speaks_of_is_in_a_table_or_windows_own() -> None:
    tables = set(re.findall(r"^\| `0x[0-9A-F]{8}` \| `(\w+)` \|", TEXT, flags=re.M))
    tables |= set(re.findall(r"`(HCS_E_\w+)` \(`0x", TEXT))
    spoken_of = set(re.findall(r"\b((?:E|ERROR|HCS_E|RPC_E)_[A-Z_]+[A-Z])\b", TEXT))
    assert spoken_of - tables == {"RPC_E_TOO_LATE", "E_PENDING", "ERROR_BUSY"}


def test_the_documents_of_the_page_are_real() -> None:
    machine, refusal = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, flags=re.S))
    with System(machine) as system:
        assert system.created == (HResult.S_OK, None)
    assert System({"VirtualMachine": {"Foo": 1}}).created == (HResult.HCS_E_INVALID_JSON, refusal)


#: How to get a compute system into a state.
STATES = {"created": [], "running": ["start"], "paused": ["start", "pause"], "stopped": ["terminate"]}
CALLS = ("Start", "Pause", "Resume", "ShutDown", "Terminate")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES)
def test_a_call_on_a_compute_system_is_for_the_states_of_the_table(call: str, state: str) -> None:
    row = re.search(rf"^\| `Hcs{call}ComputeSystem` \| (.*?) \|", TEXT, flags=re.M)
    assert row
    allowed = [one for one in STATES if one != "stopped"] if row[1] == "all but stopped" else [row[1]]
    with System() as system:
        for step in STATES[state]:
            assert system.do(step)[0] == HResult.S_OK
        hresult, document = system.do(re.sub(r"(?<!^)(?=[A-Z])", "_", call).lower())
        if state in allowed:
            assert hresult == HResult.S_OK
            return
        stopped = state == "stopped"
        assert hresult == (HResult.HCS_E_SYSTEM_ALREADY_STOPPED if stopped else HResult.HCS_E_INVALID_STATE)
        assert f"is {state.capitalize()}" in document["ErrorMessage"]
