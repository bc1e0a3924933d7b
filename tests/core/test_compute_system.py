"""Compute systems: their states, their handles, their devices."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import wide

from .compute_scaffold import BEGINNING, FLEXIBLE_IO, System, call, document, open_system, running, slot_entry
from .scaffold import S_OK, CallbackDevice, Failure, code, happens

INVALID_JSON = HResult.HCS_E_INVALID_JSON

# ---- start and stop ----


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


@pytest.mark.parametrize(
    "key",
    [
        "blink",
        "Gerät 🦉",
        "49e53371-d998-4afb-b788-7d3b8a952d6a",
        "B41A22D2-0E93-4C22-80C5-4057FCC376BF",
        'a"\\/b',
    ],
)
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


# ---- hot plug ----


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
        (
            {"ResourcePath": "VirtualMachine/Devices/FlexibleIov/"},
            INVALID_JSON,
            "ResourcePath: expected the",
        ),
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


# ---- handles ----


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
