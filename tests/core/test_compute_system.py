"""Compute systems: what their documents say, their lives, their handles, their devices."""

from __future__ import annotations

import copy
import json
import os
import threading
import uuid
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import wide, wide_string

from .compute_scaffold import Operation, System, call, document, slot_entry
from .scaffold import CLASS_ID, S_OK, SLACK, CallbackDevice, Failure, Recording, Threads, code, happens, pairs, resident

INVALID_JSON = HResult.HCS_E_INVALID_JSON
BEGINNING = ["initialize", "set_configuration", "get_details", "start"]
FLEXIBLE_IO = uuid.UUID("a8679153-843f-467f-ad7e-f429328f7568")


def running(*devices: CallbackDevice, **fields: Any) -> System:
    system = System.with_devices(*devices, **fields)
    assert system.do("start") == (S_OK, None)
    return system


# ---- documents ---------------------------------------------------------------------------------------------------------


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
        (f"{SLOT}.EmulatorId", "{%s}" % CLASS_ID, "expected a GUID"),
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


# ---- start and stop ------------------------------------------------------------------------------------------------------


def test_a_device_lives_from_start_to_shutdown_on_other_threads_than_the_callers() -> None:
    device = CallbackDevice()
    threads: set[int] = set()
    for step in (*BEGINNING, "stop", "teardown"):
        device.during[step] = lambda: threads.add(threading.get_ident())
    with System.with_devices(device) as system:
        assert device.names() == []
        assert system.do("start") == (S_OK, None)
        assert device.names() == BEGINNING  # before the operation reports success
        assert system.do("shut_down") == (S_OK, None)
        assert device.names() == [*BEGINNING, "stop", "teardown"]
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("key", ["blink", "Gerät 🦉", str(uuid.uuid4()), str(uuid.uuid4()).upper(), "a\"\\/b"])
def test_a_key_is_the_instance_id_or_is_hashed_to_it(key: str) -> None:
    device = CallbackDevice()
    try:
        device.instance_id = uuid.UUID(key)
    except ValueError:
        device.instance_id = uuid.uuid5(FLEXIBLE_IO, key)
    with System(document({key: slot_entry(configuration=["a=1", "b"])})) as system:
        system.plug(device)
        assert system.do("start") == (S_OK, None)
        assert device.calls[1] == ("set_configuration", ["a=1", "b"])
        assert system.slot(device.instance_id) == (S_OK, 0)


def test_a_slot_that_nobody_registered_for_fails_the_start() -> None:
    device = CallbackDevice()
    with System(document({str(device.instance_id): slot_entry(), "missing": slot_entry()})) as system:
        system.plug(device)
        hresult, error = system.do("start")
        assert hresult == HResult.E_UNEXPECTED
        assert error["ErrorMessage"].startswith("VirtualMachine.Devices.FlexibleIov.missing: no device host of hosting")
        assert device.names() == ["initialize", "set_configuration", "get_details", "teardown"]
        assert system.state() == "Stopped"


@pytest.mark.parametrize("hot", [False, True])
def test_a_plain_host_does_not_serve_a_restricted_slot(hot: bool) -> None:
    device = CallbackDevice()
    entry = {} if hot else {str(device.instance_id): slot_entry("ExternalRestricted")}
    with System(document(entry)) as system:
        system.plug(device)
        answer = system.do("start")
        if hot:
            assert answer == (S_OK, None)
            answer = system.add(str(device.instance_id), hosting_model="ExternalRestricted")
        assert answer[0] == HResult.E_UNEXPECTED
        assert "ExternalRestricted" in answer[1]["ErrorMessage"]
        assert device.names() == []


@pytest.mark.fault(42)
@pytest.mark.parametrize("step", BEGINNING)
def test_a_device_that_fails_fails_the_start_with_its_hresult(step: str) -> None:
    first, second = CallbackDevice(), CallbackDevice()

    def fail() -> None:
        raise Failure(0x80041234)

    second.during[step] = fail
    with System.with_devices(first, second) as system:
        hresult, error = system.do("start")
        assert hresult == 0x80041234
        assert error["ErrorMessage"].startswith(f"VirtualMachine.Devices.FlexibleIov.{second.instance_id}: ")
        assert "0x80041234" in error["ErrorMessage"]
        for device in (first, second):
            assert device.names()[-1] == "teardown"
        assert system.do("start")[0] == HResult.HCS_E_SYSTEM_ALREADY_STOPPED
        assert system.properties()[1]["ExitType"] == "UnexpectedExit"


STATES: dict[str, list[str]] = {
    "Created": [],
    "Running": ["start"],
    "Paused": ["start", "pause"],
    "Stopped": ["terminate"],
}
ALLOWED = {
    ("start", "Created"),
    ("pause", "Running"),
    ("resume", "Paused"),
    ("shut_down", "Running"),
    ("modify", "Running"),
    ("terminate", "Created"),
    ("terminate", "Running"),
    ("terminate", "Paused"),
}


@pytest.mark.fault(42)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", ["start", "pause", "resume", "shut_down", "terminate", "modify"])
def test_each_call_has_its_states(verb: str, state: str) -> None:
    device = CallbackDevice()
    with System() as system:
        system.plug(device)
        for before in STATES[state]:
            assert system.do(before) == (S_OK, None)
        assert system.state() == state
        hresult, error = system.add(str(device.instance_id)) if verb == "modify" else system.do(verb)
        if (verb, state) in ALLOWED:
            assert (hresult, error) == (S_OK, None)
            return
        stopped = state == "Stopped"
        expected = HResult.HCS_E_SYSTEM_ALREADY_STOPPED if stopped else HResult.HCS_E_INVALID_STATE
        assert hresult == expected
        assert f"is {state}" in error["ErrorMessage"]
        assert system.state() == state


def test_options_are_an_object() -> None:
    with System() as system:
        assert call(lambda op: lib.HcsStartComputeSystem(system.handle, op, wide("[1]")))[0] == INVALID_JSON
        assert call(lambda op: lib.HcsStartComputeSystem(system.handle, op, wide("")))[0] == S_OK
        options = wide('{"SuspensionLevel": "Suspend"}')
        assert call(lambda op: lib.HcsPauseComputeSystem(system.handle, op, options))[0] == S_OK


def test_hdvlabs_own_calls_do_not_move_a_compute_system() -> None:
    with System() as system:
        for function in (lib.hdvlab_system_start, lib.hdvlab_system_stop, lib.hdvlab_system_close):
            assert code(function(system.handle)) == HResult.E_ACCESSDENIED
        assert system.state() == "Created"


def test_hcs_calls_do_not_move_a_machine_of_hdvlab() -> None:
    out = ffi.new("void **")
    assert code(lib.hdvlab_embedded_create(1 << 20, 0, ffi.NULL, out)) == S_OK
    machine = out[0]
    assert call(lambda op: lib.HcsStartComputeSystem(machine, op, ffi.NULL))[0] == HResult.E_NOTIMPL
    callback = ffi.cast("void (*)(HCS_EVENT *, void *)", 0x1000)
    assert code(lib.HcsSetComputeSystemCallback(machine, 0, ffi.NULL, callback)) == HResult.E_NOTIMPL
    lib.HcsCloseComputeSystem(machine)
    assert code(lib.hdvlab_system_stop(machine)) == HResult.E_HANDLE


# ---- hot plug --------------------------------------------------------------------------------------------------------------


def test_an_added_device_is_started_before_the_operation_is_done() -> None:
    device = CallbackDevice()
    with running() as system:
        system.plug(device)
        assert system.add(str(device.instance_id), configuration=["x"]) == (S_OK, None)
        assert device.names() == BEGINNING
        slot = system.slot(device.instance_id)
        assert slot == (S_OK, 0)
        out = ffi.new("void **")
        assert code(lib.hdvlab_system_device(system.handle, 0, out)) == S_OK
        assert out[0] == device.handle
        again = system.add(str(device.instance_id))
        assert again[0] == HResult.ERROR_ALREADY_EXISTS


@pytest.mark.parametrize("step", BEGINNING)
def test_an_added_device_that_fails_leaves_the_system_as_it_was(step: str) -> None:
    device = CallbackDevice()

    def fail() -> None:
        raise Failure(HResult.E_ACCESSDENIED)

    device.during[step] = fail
    with running() as system:
        system.plug(device)
        hresult, error = system.add(str(device.instance_id))
        assert hresult == HResult.E_ACCESSDENIED
        assert str(device.instance_id) in error["ErrorMessage"]
        assert device.names()[-1] == "teardown"
        again = CallbackDevice()
        again.instance_id = device.instance_id
        system.plug(again)
        assert system.add(str(device.instance_id)) == (S_OK, None)


def test_an_added_slot_that_nobody_registered_for_is_unexpected() -> None:
    with running() as system:
        hresult, error = system.add("nobody")
        assert hresult == HResult.E_UNEXPECTED
        assert error["ErrorMessage"].startswith("VirtualMachine.Devices.FlexibleIov.nobody: no device host")
        assert system.state() == "Running"


def test_the_33rd_device_has_no_slot() -> None:
    devices = [CallbackDevice() for _ in range(32)]
    with running(*devices) as system:
        late = system.plug(CallbackDevice())
        assert system.add(str(late.instance_id))[0] == HResult.ERROR_NOT_ENOUGH_QUOTA


ADD = {"ResourcePath": "VirtualMachine/Devices/FlexibleIov/dev", "RequestType": "Add", "Settings": slot_entry()}


@pytest.mark.parametrize(
    ("change", "hresult", "says"),
    [
        ({"RequestType": "Remove"}, HResult.ERROR_NOT_SUPPORTED, "RequestType: "),
        ({"RequestType": "Update"}, HResult.ERROR_NOT_SUPPORTED, "RequestType: "),
        ({"RequestType": "add"}, INVALID_JSON, 'RequestType: expected "Add", "Remove" or "Update", found "add"'),
        ({"ResourcePath": "VirtualMachine/Devices/Scsi/0"}, HResult.ERROR_NOT_SUPPORTED, "ResourcePath: only"),
        ({"ResourcePath": "VirtualMachine/Devices/FlexibleIov/"}, INVALID_JSON, "ResourcePath: expected the device's key"),
        ({"ResourcePath": ...}, INVALID_JSON, "ResourcePath: missing"),
        ({"Settings": ...}, INVALID_JSON, "Settings: missing"),
        ({"Settings": []}, INVALID_JSON, "Settings: expected an object, found an array"),
        ({"Settings": {}}, INVALID_JSON, "Settings.EmulatorId: missing"),
        ({"Settings": slot_entry(None)}, INVALID_JSON, "Settings.HostingModel: "),
        ({"Setting": 1}, INVALID_JSON, "Setting: the schema has no such field"),
    ],
)
def test_a_modification_that_cannot_be_made_says_why(change: dict[str, Any], hresult: int, says: str) -> None:
    request = {name: value for name, value in (ADD | change).items() if value is not ...}
    with running() as system:
        answer = system.modify(request)
        assert answer[0] == hresult
        assert answer[1]["ErrorMessage"].startswith(says)


# ---- handles -----------------------------------------------------------------------------------------------------------------


def open_system(system_id: str) -> tuple[int, Any]:
    out = ffi.new("void **")
    return code(lib.HcsOpenComputeSystem(wide(system_id), 0, out)), out[0]


def test_an_id_is_taken_until_its_system_stops() -> None:
    with System() as system:
        hresult, error = System(system_id=system.id).created
        assert hresult == HResult.HCS_E_SYSTEM_ALREADY_EXISTS
        assert system.id in error["ErrorMessage"]
        assert system.do("terminate") == (S_OK, None)
        assert open_system(system.id) == (HResult.HCS_E_SYSTEM_NOT_FOUND, ffi.NULL)
        with System(system_id=system.id) as again:
            assert again.state() == "Created"
            assert system.state() == "Stopped"


def test_an_id_that_no_system_has_is_not_found() -> None:
    assert open_system("nobody") == (HResult.HCS_E_SYSTEM_NOT_FOUND, ffi.NULL)


def test_handles_of_one_system_are_independent() -> None:
    device = CallbackDevice()
    with System.with_devices(device) as system:
        hresult, second = open_system(system.id)
        assert (hresult, second != system.handle) == (S_OK, True)
        assert call(lambda op: lib.HcsStartComputeSystem(second, op, ffi.NULL)) == (S_OK, None)
        assert system.state() == "Running"
        address = system.place()[0]
        assert system.write(address, 5) == S_OK
        lib.HcsCloseComputeSystem(second)
        assert call(lambda op: lib.HcsPauseComputeSystem(second, op, ffi.NULL))[0] == HResult.E_HANDLE
        assert system.read(address) == (S_OK, 5)


def test_a_host_may_outlive_the_handle_it_was_made_with() -> None:
    with System() as system:
        second = open_system(system.id)[1]
        out = ffi.new("void **")
        assert code(lib.HdvInitializeDeviceHost(second, out)) == S_OK
        lib.HcsCloseComputeSystem(second)
        device = CallbackDevice()
        assert device.create(out[0]) == S_OK
        assert code(lib.HdvTeardownDeviceHost(out[0])) == S_OK
        assert device.names() == ["teardown"]


def test_a_system_lives_on_without_a_handle() -> None:
    device = CallbackDevice()
    system = running(device)
    lib.HcsCloseComputeSystem(system.handle)
    hresult, system.handle = open_system(system.id)
    assert hresult == S_OK
    assert system.state() == "Running"
    assert "stop" not in device.names()
    system.close()


@pytest.mark.parametrize("started", [False, True])
def test_the_last_close_terminates_if_the_document_says_so(started: bool) -> None:
    device = CallbackDevice()
    system = System.with_devices(device, ShouldTerminateOnLastHandleClosed=True)
    if started:
        assert system.do("start") == (S_OK, None)
    second = open_system(system.id)[1]
    lib.HcsCloseComputeSystem(system.handle)
    assert "stop" not in device.names()
    lib.HcsCloseComputeSystem(second)
    lib.HcsCloseComputeSystem(second)
    assert open_system(system.id)[0] == HResult.HCS_E_SYSTEM_NOT_FOUND
    assert device.names() == ([*BEGINNING, "stop", "teardown"] if started else [])
    assert code(lib.HdvTeardownDeviceHost(system.host)) == S_OK


def test_the_last_close_inside_a_callback_does_not_wait_for_it() -> None:
    device = CallbackDevice()
    gone = threading.Event()
    system = running(device, ShouldTerminateOnLastHandleClosed=True)
    device.during["teardown"] = gone.set
    address = system.place()[0]
    device.write = lambda *_: lib.HcsCloseComputeSystem(system.handle)
    assert system.write(address, 1) == S_OK
    happens(gone)
    assert code(lib.HdvTeardownDeviceHost(system.host)) == S_OK


def test_systems_are_enumerated_until_they_stop() -> None:
    def ids(query: Any = None) -> list[str]:
        text = ffi.NULL if query is None else wide(json.dumps(query))
        hresult, systems = call(lambda op: lib.HcsEnumerateComputeSystems(text, op))
        assert hresult == S_OK
        return sorted(system["Id"] for system in systems)

    assert ids() == []
    with System(document(Owner="me"), "a") as first, System(None, "b") as second:
        assert ids() == ["a", "b"]
        assert ids({"Ids": ["b", "c"]}) == ["b"]
        assert ids({"Owners": ["me"]}) == ["a"]
        assert ids({"Ids": []}) == []
        second.do("terminate")
        assert ids() == [first.id]


def test_properties_say_what_it_is() -> None:
    system_id = str(uuid.uuid4())
    with System(document(Owner="me"), system_id) as system:
        _, properties = system.properties()
        assert properties == {
            "Id": system_id,
            "Name": system_id,
            "RuntimeId": system_id,
            "Owner": "me",
            "SystemType": "VirtualMachine",
            "RuntimeOsType": "Unknown",
            "State": "Created",
            "Stopped": False,
            "ExitType": "None",
            "TerminateOnLastHandleClosed": False,
        }
        assert "PropertyTypes[0]: " in system.properties({"PropertyTypes": ["Memry"]})[1]["ErrorMessage"]


# ---- pause -------------------------------------------------------------------------------------------------------------------


def test_a_paused_guest_waits_at_devices_until_it_is_resumed(recording: Recording) -> None:
    device = CallbackDevice()
    answers: list[tuple[int, int]] = []
    with System.with_devices(device) as system:
        assert code(lib.hdvlab_system_record(system.handle, recording.handle)) == S_OK
        assert system.do("start") == (S_OK, None)
        address = system.place()[0]
        device.memory[0, 0] = 7
        assert system.do("pause") == (S_OK, None)
        with Threads() as threads:
            reader = threads.start(lambda: answers.append(system.read(address)))
            reader.join(0.05)
            assert reader.is_alive()
            assert system.read(address, wait_ms=1)[0] == HResult.ERROR_BUSY  # and no row
            assert system.read(address, origin=lib.HDVLAB_USER) == (S_OK, 7)  # a person may look
            assert device.names().count("read") == 1
            assert system.do("resume") == (S_OK, None)
        assert answers == [(S_OK, 7)]
        kinds = (lib.HDVLAB_PAUSE, lib.HDVLAB_RESUME, lib.HDVLAB_MMIO_READ)
        rows = recording.rows(*kinds)
        assert [row["kind"] for row in rows] == [lib.HDVLAB_PAUSE, lib.HDVLAB_MMIO_READ, *kinds[1:]]
        assert "stop" not in device.names()  # nor a second start
        assert device.names().count("start") == 1


def test_a_pause_waits_for_the_access_that_runs_and_for_what_that_access_does() -> None:
    inside, proceed = threading.Event(), threading.Event()
    outer, inner = CallbackDevice(), CallbackDevice()
    order: list[str] = []
    with running(outer, inner) as system, Operation() as operation:
        first, second = system.place(0)[0], system.place(1)[0]

        def read(*_: int) -> int:
            inside.set()
            happens(proceed)
            order.append(str(system.read(second)))
            return 1

        outer.read = read
        inner.memory[0, 0] = 9
        with Threads() as threads:
            threads.start(system.read, first)
            happens(inside)
            assert code(lib.HcsPauseComputeSystem(system.handle, operation.handle, ffi.NULL)) == S_OK
            assert operation.wait(50)[0] == HResult.HCS_E_OPERATION_TIMEOUT
            proceed.set()
            assert operation.wait() == (S_OK, None)
            order.append("paused")
        assert order == [str((S_OK, 9)), "paused"]
        assert system.do("resume") == (S_OK, None)


@pytest.mark.parametrize("what", ["callback", "doorbell", "section", "config"])
def test_termination_lets_a_paused_guest_go_with_nothing_done(what: str) -> None:
    device = CallbackDevice()
    event, memory = os.eventfd(0, os.EFD_NONBLOCK), os.memfd_create("section", os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, 4096)
    answers: list[tuple[int, int]] = []
    with running(device) as system:
        address = system.place()[0]
        if what == "doorbell":
            assert device.ring(event, 0, 0, 0, 1 << 31) == S_OK
        if what == "section":
            assert device.section(memory) == S_OK
        device.calls.clear()

        def access() -> None:
            value = ffi.new("uint32_t *")
            guest = ffi.new("HDVLAB_ACCESS *")
            if what == "doorbell":
                answers.append((system.write(address, 1), 0xFFFFFFFF))
            elif what == "config":
                hresult = code(lib.hdvlab_guest_config_read(system.handle, guest, 0, 0x40, 4, value))
                answers.append((hresult, value[0]))
            else:
                answers.append(system.read(address))

        assert system.do("pause") == (S_OK, None)
        with Threads() as threads:
            waiting = threads.start(access)
            waiting.join(0.05)
            assert waiting.is_alive()
            assert system.do("terminate") == (S_OK, None)
        assert answers == [(HResult.ERROR_INVALID_STATE, 0xFFFFFFFF)]
        assert device.names() == ["stop", "teardown"]
        with pytest.raises(BlockingIOError):
            os.eventfd_read(event)
    os.close(event)
    os.close(memory)


# ---- events -------------------------------------------------------------------------------------------------------------------


class Events:
    """A callback of a handle, and what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Any, Any]] = []
        self.told = threading.Event()
        self.during = lambda: None

        @ffi.callback("void(HCS_EVENT *, void *)")
        def told(event: Any, _: Any) -> None:
            data = json.loads(wide_string(event.EventData)) if event.EventData else None
            self.seen.append((event.Type, data, event.Operation))
            self.during()
            self.told.set()

        self.callback = told

    def register(self, handle: Any, options: int = 0) -> int:
        return code(lib.HcsSetComputeSystemCallback(handle, options, ffi.NULL, self.callback))


@pytest.mark.parametrize(("verb", "exit_type"), [("shut_down", "GracefulExit"), ("terminate", "ForcedExit")])
def test_the_exit_of_a_system_is_told_to_every_handle_once(verb: str, exit_type: str) -> None:
    first, second = Events(), Events()
    with running() as system:
        other = open_system(system.id)[1]
        assert first.register(system.handle) == second.register(other) == S_OK
        assert system.do(verb) == (S_OK, None)
        happens(first.told)
        happens(second.told)
        told = [(lib.HcsEventSystemExited, {"Status": 0, "ExitType": exit_type}, ffi.NULL)]
        assert first.seen == second.seen == told
        assert system.properties()[1]["ExitType"] == exit_type
        lib.HcsCloseComputeSystem(other)


def test_a_start_that_fails_is_an_unexpected_exit() -> None:
    events = Events()
    with System(document({"nobody": slot_entry()})) as system:
        assert events.register(system.handle) == S_OK
        assert system.do("start")[0] == HResult.E_UNEXPECTED
        happens(events.told)
        status = HResult.E_UNEXPECTED.signed
        assert events.seen == [(lib.HcsEventSystemExited, {"Status": status, "ExitType": "UnexpectedExit"}, ffi.NULL)]


def test_a_handle_has_one_callback_until_it_is_taken_away() -> None:
    events = Events()
    with System() as system:
        assert events.register(system.handle) == S_OK
        assert events.register(system.handle) == HResult.HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET
        assert code(lib.HcsSetComputeSystemCallback(system.handle, 0, ffi.NULL, ffi.NULL)) == S_OK
        assert system.do("terminate") == (S_OK, None)
        assert events.register(system.handle, 8) == HResult.E_INVALIDARG
        assert events.register(system.handle) == S_OK
    assert events.seen == []


def test_a_handle_may_be_told_of_its_operations() -> None:
    events = Events()
    with System() as system, Operation() as operation:
        assert events.register(system.handle, 1) == S_OK
        assert code(lib.HcsStartComputeSystem(system.handle, operation.handle, ffi.NULL)) == S_OK
        happens(events.told)
        assert events.seen == [(lib.HcsEventOperationCallback, None, operation.handle)]


def test_closing_a_handle_waits_for_its_callback_unless_that_closes_it() -> None:
    events, proceed, order = Events(), threading.Event(), []
    system = running()

    def during() -> None:
        events.told.set()
        happens(proceed)
        order.append("told")

    events.during = during
    events.register(system.handle)
    other = open_system(system.id)[1]
    inside = Events()
    inside.during = lambda: lib.HcsCloseComputeSystem(other)
    inside.register(other)
    with Threads() as threads:
        assert system.do("terminate") == (S_OK, None)
        happens(events.told)

        def close() -> None:
            lib.HcsCloseComputeSystem(system.handle)
            order.append("closed")

        closing = threads.start(close)
        closing.join(0.05)
        assert closing.is_alive()
        proceed.set()
    assert order == ["told", "closed"]
    assert code(lib.HdvTeardownDeviceHost(system.host)) == S_OK
    assert code(lib.hdvlab_system_slot(other, ffi.new("GUID *"), ffi.new("uint32_t *"))) == HResult.E_HANDLE


# ---- hdvlab's own -----------------------------------------------------------------------------------------------------------


def test_a_system_is_recorded_once_and_before_its_start(recording: Recording) -> None:
    with System() as system:
        assert code(lib.hdvlab_system_record(system.handle, recording.handle)) == S_OK
        again = code(lib.hdvlab_system_record(system.handle, recording.handle))
        assert again == HResult.ERROR_ALREADY_EXISTS
    with running() as system:
        assert code(lib.hdvlab_system_record(system.handle, recording.handle)) == HResult.ERROR_INVALID_STATE


def test_a_recorded_life_has_its_rows(recording: Recording) -> None:
    device = CallbackDevice()
    with System.with_devices(device) as system:
        assert code(lib.hdvlab_system_record(system.handle, recording.handle)) == S_OK
        assert code(lib.hdvlab_device_set_index(device.handle, 3)) == S_OK
        assert system.do("start") == (S_OK, None)
        assert system.do("shut_down") == (S_OK, None)
    steps = ("INITIALIZE", "SET_CONFIGURATION", "GET_DETAILS", "START", "STOP", "TEARDOWN")
    expected = [(getattr(lib, f"HDVLAB_{step}"), 3) for step in steps]
    assert pairs(recording.rows(), "kind", "device") == expected


def test_where_an_instance_sits_and_what_sits_in_a_slot() -> None:
    devices = [CallbackDevice(), CallbackDevice()]
    out = ffi.new("void **")
    with System.with_devices(*devices) as system:
        assert [system.slot(device.instance_id)[1] for device in devices] == [0, 1]
        assert system.slot(uuid.uuid4())[0] == HResult.ERROR_NOT_FOUND
        assert code(lib.hdvlab_system_device(system.handle, 0, out)) == HResult.ERROR_NOT_FOUND  # not powered on
        assert system.do("start") == (S_OK, None)
        assert code(lib.hdvlab_system_device(system.handle, 1, out)) == S_OK
        assert out[0] == devices[1].handle
        assert code(lib.hdvlab_system_device(system.handle, 2, out)) == HResult.ERROR_NOT_FOUND
        assert code(lib.hdvlab_system_device(system.handle, 32, out)) == HResult.E_INVALIDARG


def test_bars_are_placed_apart_and_aligned() -> None:
    wide_bar, small = (0xFFF0000C, 0xFFFFFFFF), 0xFFFFFFF0
    devices = [CallbackDevice((small, 0xFFF00000, *wide_bar, 0, 0xFFFFF000)) for _ in range(3)]
    sizes = [16, 1 << 20, 1 << 20, 0, 0, 4096]
    with running(*devices) as system:
        placed = [system.place(slot) for slot in range(3)]
        assert [bool(address) for address in placed[0]] == [True, True, True, False, False, True]
        assert all(row[2] >= 1 << 32 for row in placed)
        ranges = sorted((at, max(size, 4096)) for row in placed for at, size in zip(row, sizes, strict=True) if size)
        assert all(at % size == 0 for at, size in ranges)
        assert all(at + size <= after for (at, size), (after, _) in zip(ranges, ranges[1:], strict=False))
        for device, row in zip(devices, placed, strict=True):
            for bar in (0, 1, 2, 5):
                assert system.write(row[bar] + 8, bar) == S_OK
                assert device.calls[-1] == ("write", bar, 8, 4, bar)
        assert system.place(1) == placed[1]  # again: the same
        assert devices[0].aperture(0, 4096)[0] == S_OK  # bus mastering is on


def test_bars_that_do_not_fit_are_refused() -> None:
    with running(*[CallbackDevice((0xF0000000,)) for _ in range(2)]) as system:
        assert system.place(0)[0] == 0xE0000000
        answer = lib.hdvlab_guest_place_bars(system.handle, 1, ffi.NULL)
        assert code(answer) == HResult.ERROR_NOT_ENOUGH_QUOTA
        assert code(lib.hdvlab_guest_place_bars(system.handle, 5, ffi.NULL)) == HResult.ERROR_NOT_FOUND
        assert code(lib.hdvlab_guest_place_bars(system.handle, 32, ffi.NULL)) == HResult.E_INVALIDARG


# ---- leaks --------------------------------------------------------------------------------------------------------------------


def _held() -> dict[str, int]:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        ours = sum("hdvlab" in line or "memfd" in line for line in maps)
    return {"handles": lib.hdvlab_live_handles(), "descriptors": len(os.listdir("/proc/self/fd")), "mappings": ours}


@pytest.mark.fault(43)
def test_a_thousand_lives_leave_nothing() -> None:
    device = CallbackDevice()
    hot = CallbackDevice()
    texts = {
        close: wide(
            json.dumps(
                document({"cold": slot_entry(configuration=["a"])}, Owner="o", ShouldTerminateOnLastHandleClosed=close)
            )
        )
        for close in (False, True)
    }
    device.instance_id = uuid.uuid5(FLEXIBLE_IO, "cold")
    hot.instance_id = uuid.uuid5(FLEXIBLE_IO, "hot")
    add = wide(json.dumps(ADD | {"ResourcePath": "VirtualMachine/Devices/FlexibleIov/hot"}))
    system_id, out = wide("one of a thousand"), ffi.new("void **")

    def life(number: int) -> None:
        by_close = bool(number & 1)
        assert call(lambda op: lib.HcsCreateComputeSystem(system_id, texts[by_close], op, ffi.NULL, out)) == (S_OK, None)
        system = out[0]
        assert code(lib.HdvInitializeDeviceHost(system, out)) == S_OK
        host = out[0]
        assert device.create(host) == hot.create(host) == S_OK
        assert call(lambda op: lib.HcsStartComputeSystem(system, op, ffi.NULL)) == (S_OK, None)
        assert call(lambda op: lib.HcsModifyComputeSystem(system, op, add, ffi.NULL)) == (S_OK, None)
        if not by_close:
            assert call(lambda op: lib.HcsTerminateComputeSystem(system, op, ffi.NULL)) == (S_OK, None)
        lib.HcsCloseComputeSystem(system)
        assert code(lib.HdvTeardownDeviceHost(host)) == S_OK

    def settled() -> dict[str, int]:
        for _ in range(2000):  # the last threads give their references back
            if len(os.listdir("/proc/self/task")) <= threads and lib.hdvlab_live_handles() <= handles:
                break
            os.sched_yield()
        return _held()

    threads, handles = len(os.listdir("/proc/self/task")), lib.hdvlab_live_handles()
    for number in range(50):
        life(number)
    held, before = settled(), resident()
    for number in range(1000):
        life(number)
        device.calls.clear()
        hot.calls.clear()
    assert settled() == held
    assert resident() - before < SLACK


@pytest.mark.fault(43)
def test_documents_that_are_refused_leave_nothing() -> None:
    before = lib.hdvlab_live_handles()
    text = json.dumps(document({"a": slot_entry(configuration=["x"] * 100), "b": {"EmulatorId": 1}}, Owner="o" * 1000))
    for _ in range(200):
        assert System(text).created[0] == INVALID_JSON
    held = resident()
    for _ in range(1000):
        assert System(text).created[0] == INVALID_JSON
    assert resident() - held < SLACK
    assert lib.hdvlab_live_handles() == before
