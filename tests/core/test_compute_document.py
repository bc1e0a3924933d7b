"""The documents of compute systems: what is taken, and how a mistake is named."""

from __future__ import annotations

import copy
import json
import uuid
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import wide

from .compute_scaffold import FLEXIBLE_IO, System, call, document, slot_entry
from .scaffold import CLASS_ID, S_OK, code

INVALID_JSON = HResult.HCS_E_INVALID_JSON


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good document with ``value`` at ``path``; ``...`` takes the field away."""
    result = copy.deepcopy(document({"dev": slot_entry()}, Owner="me", SchemaVersion={"Major": 2, "Minor": 3}))
    *outer, last = path.split(".")
    at: Any = result
    for name in outer:
        at = at.setdefault(name, {})
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return result


MEMORY = "VirtualMachine.ComputeTopology.Memory"
SLOT = "VirtualMachine.Devices.FlexibleIov.dev"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("Owner", 1, "expected a string, found 1"),
        ("Owner", "a\0b", "without a NUL"),
        ("SchemaVersion", "2.1", "expected an object"),
        ("SchemaVersion.Major", 1, "expected 2, found 1"),
        ("SchemaVersion.Major", ..., "missing"),
        ("SchemaVersion.Minor", -1, "whole number"),
        ("SchemaVersion.Patch", 1, "no such field"),
        ("ShouldTerminateOnLastHandleClosed", "yes", 'expected true or false, found "yes"'),
        ("ShouldTerminateOnLastHandleClosed", None, "expected true or false, found null"),
        ("VirtualMachine", ..., "missing"),
        ("VirtualMachine", [], "expected an object, found an array"),
        ("Container", {}, "expected VirtualMachine"),
        ("HostedSystem", {}, "expected VirtualMachine"),
        ("Virtualmachine", {}, "no such field"),
        ("VirtualMachine.Memory", {}, "no such field"),
        (f"{MEMORY}.SizeInMB", "64", 'expected a number, found "64"'),
        (f"{MEMORY}.SizeInMB", 0, "from 1 to 1048576, found 0"),
        (f"{MEMORY}.SizeInMB", 1048577, "from 1 to 1048576"),
        (f"{MEMORY}.SizeInMB", 1.5, "found 1.5"),
        (f"{MEMORY}.SizeInMb", 1, "no such field"),
        (f"{MEMORY}.AllowOvercommit", 1, "expected true or false"),
        ("VirtualMachine.ComputeTopology.Processor.Count", 0, "whole number"),
        ("VirtualMachine.Devices.FlexibleIov", [], "expected an object"),
        ("VirtualMachine.Devices.Flexible", {}, "no such field"),
        (SLOT, 1, "expected an object"),
        (f"{SLOT}.EmulatorId", ..., "missing"),
        (f"{SLOT}.EmulatorId", f"{{{CLASS_ID}}}", "expected a GUID"),
        (f"{SLOT}.EmulatorId", "é" * 300, "expected a GUID"),
        (f"{SLOT}.HostingModel", ..., '"Internal", the default'),
        (f"{SLOT}.HostingModel", "Internal", '"Internal", the default'),
        (f"{SLOT}.HostingModel", "external", 'found "external"'),
        (f"{SLOT}.Configuration", "a=b", "expected an array"),
        (f"{SLOT}.Emulator", "", "no such field"),
    ],
)
def test_a_mistake_is_named_by_its_path(path: str, value: Any, says: str) -> None:
    system = System(changed(path, value))
    hresult, error = system.created
    assert hresult == INVALID_JSON
    assert error["Error"] == INVALID_JSON.signed
    assert error["ErrorMessage"].startswith(f"{path}: ")
    assert says in error["ErrorMessage"]
    event = error["ErrorEvents"][0]
    assert event["Message"] == error["ErrorMessage"]
    assert event["Data"] == [{"Type": "String", "Value": path}]
    assert system.handle == ffi.NULL


def test_a_mistake_in_an_element_is_named_by_its_number() -> None:
    hresult, error = System(changed(f"{SLOT}.Configuration", ["a", 2])).created
    assert (hresult, error["ErrorMessage"]) == (INVALID_JSON, f"{SLOT}.Configuration[1]: expected a string, found 2")


def test_a_field_is_given_once() -> None:
    text = json.dumps(document()).replace('"VirtualMachine"', '"Owner": "a", "Owner": "b", "VirtualMachine"')
    hresult, error = System(text).created
    assert (hresult, error["ErrorMessage"]) == (INVALID_JSON, "Owner: expected once, found twice")


def test_two_keys_of_one_instance_are_refused() -> None:
    name = str(uuid.uuid5(FLEXIBLE_IO, "dev"))
    hresult, error = System(document({"dev": slot_entry(), name: slot_entry()})).created
    assert hresult == INVALID_JSON
    assert name in error["ErrorMessage"]


def test_there_are_32_slots() -> None:
    entries = {str(uuid.uuid4()): slot_entry() for _ in range(33)}
    assert "32 devices" in System(document(entries)).created[1]["ErrorMessage"]
    entries.popitem()
    with System(document(entries)) as system:
        assert system.created == (S_OK, None)


def test_text_that_is_no_json_is_refused_with_line_and_column() -> None:
    hresult, error = System('{\n  "Owner": me }').created
    assert (hresult, error["ErrorMessage"]) == (INVALID_JSON, "line 2, column 12: expected a value")


@pytest.mark.parametrize(
    "path",
    ["VirtualMachine.Chipset", "VirtualMachine.GuestState", "VirtualMachine.Devices.Scsi", "VirtualMachine.StorageQoS"],
)
def test_fields_of_the_schema_that_are_of_no_use_are_accepted(path: str) -> None:
    with System(changed(path, {"Any": [1, {"thing": None}]})) as system:
        assert system.created == (S_OK, None)


def test_ram_has_the_size_that_the_document_says() -> None:
    buffer = ffi.new("char *")
    for content, megabytes in ((document(megabytes=3), 3), ({"VirtualMachine": {}}, 64)):
        with System(content) as system:
            last = (megabytes << 20) - 1
            assert code(lib.hdvlab_guest_ram_read(system.handle, last, 1, buffer)) == S_OK
            assert code(lib.hdvlab_guest_ram_read(system.handle, last + 1, 1, buffer)) == HResult.ERROR_NOACCESS
            pages = system.properties({"PropertyTypes": ["Memory"]})[1]["Memory"]
            assert pages == {"VirtualMachineMemory": {"AssignedMemory": megabytes * 256}}


def test_an_id_is_not_empty() -> None:
    out = ffi.new("void **")
    text = wide(json.dumps(document()))
    answer = call(lambda op: lib.HcsCreateComputeSystem(wide(""), text, op, ffi.NULL, out))
    assert answer[0] == HResult.E_INVALIDARG
