"""From power on to Teardown: the order of a device's life, and what ends it early."""

from __future__ import annotations

import threading

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from .scaffold import CLASS_ID, PLACE, S_OK, CallbackDevice, Failure, Machine, Recording, Threads, code, happens, pairs

BEGINNING = ["initialize", "set_configuration", "get_details", "start"]
STEPS = [lib.HDVLAB_INITIALIZE, lib.HDVLAB_SET_CONFIGURATION, lib.HDVLAB_GET_DETAILS, lib.HDVLAB_START]


def test_the_callbacks_come_in_the_documented_order_and_each_leaves_a_row(
    machine: Machine, recording: Recording
) -> None:
    device = machine.create(CallbackDevice(), index=3)
    assert machine.add_slot(device) == S_OK
    assert device.calls == []
    assert machine.start() == S_OK
    assert device.names() == BEGINNING
    assert machine.stop() == S_OK
    assert device.names() == [*BEGINNING, "stop", "teardown"]
    rows = recording.rows()
    assert [row["kind"] for row in rows] == [*STEPS, lib.HDVLAB_STOP, lib.HDVLAB_TEARDOWN]
    assert {row["device"] for row in rows} == {3}
    assert {row["status"] for row in rows} == {S_OK}


def test_all_devices_are_powered_on_before_the_first_starts_and_stopped_before_the_first_is_torn_down(
    machine: Machine,
) -> None:
    order: list[tuple[int, str]] = []
    devices = [CallbackDevice(), CallbackDevice()]
    for number, device in enumerate(devices):
        for step in ("get_details", "start", "stop", "teardown"):
            device.during[step] = lambda number=number, step=step: order.append((number, step))
    machine.running(*devices)
    machine.stop()
    assert order == [(n, step) for step in ("get_details", "start", "stop", "teardown") for n in (0, 1)]


@pytest.mark.fault(39)
def test_teardown_comes_exactly_once_however_often_the_end_is_asked_for(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    assert machine.stop() == S_OK
    assert machine.stop() == HResult.ERROR_INVALID_STATE
    assert machine.teardown() == S_OK
    assert machine.teardown() == HResult.E_HANDLE
    assert device.names() == ["stop", "teardown"]


def test_a_device_that_no_slot_names_hears_only_its_teardown(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    assert machine.start() == S_OK
    assert machine.teardown() == S_OK
    assert device.names() == ["teardown"]


def test_tearing_the_host_down_under_a_running_machine_stops_its_devices(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    assert machine.teardown() == S_OK
    assert device.names() == ["stop", "teardown"]
    assert machine.read(PLACE) == (HResult.ERROR_NOACCESS, 0xFFFFFFFF)
    assert machine.config_read(0, 0) == (HResult.ERROR_NOT_FOUND, 0xFFFFFFFF)
    assert len(device.calls) == 2


@pytest.mark.fault(42)
@pytest.mark.parametrize("hresult", [HResult.E_FAIL, HResult.ERROR_INVALID_STATE, HResult.E_OUTOFMEMORY])
@pytest.mark.parametrize("step", BEGINNING)
def test_a_failing_step_fails_the_start_with_its_hresult_and_leaves_no_half_device(
    machine: Machine, recording: Recording, step: str, hresult: HResult
) -> None:
    first, failing = machine.create(CallbackDevice()), machine.create(CallbackDevice())

    def fail() -> None:
        raise Failure(hresult)

    failing.during[step] = fail
    machine.add_slot(first, 0)
    machine.add_slot(failing, 1)
    assert machine.start() == hresult
    assert failing.names() == [*BEGINNING[: BEGINNING.index(step) + 1], "teardown"]
    assert first.names()[-1] == "teardown"
    assert [row["status"] for row in recording.rows(STEPS[BEGINNING.index(step)])][-1] == hresult
    for slot in (0, 1):
        assert machine.config_read(slot, 0) == (HResult.ERROR_NOT_FOUND, 0xFFFFFFFF)
    assert machine.start() == HResult.ERROR_INVALID_STATE
    assert machine.teardown() == S_OK
    assert failing.names().count("teardown") == first.names().count("teardown") == 1


def test_a_step_that_answers_pending_has_failed_and_leaves_no_pending_row(
    machine: Machine, recording: Recording
) -> None:
    device = machine.create(CallbackDevice())

    def fail() -> None:
        raise Failure(HResult.E_PENDING)

    device.during["start"] = fail
    machine.add_slot(device)
    assert machine.start() == HResult.E_UNEXPECTED
    assert HResult.E_PENDING not in {row["status"] for row in recording.rows()}


def test_all_devices_are_asked_before_the_first_starts_and_stopped_before_the_first_is_torn_down(
    machine: Machine,
) -> None:
    order: list[str] = []
    for slot in (0, 1):
        device = machine.create(CallbackDevice())
        for step in (*BEGINNING, "stop", "teardown"):
            device.during[step] = lambda name=f"{step} {slot}": order.append(name)  # type: ignore[misc]
        machine.add_slot(device, slot)
    assert machine.start() == S_OK
    assert order == [f"{step} {slot}" for slot in (0, 1) for step in BEGINNING[:3]] + ["start 0", "start 1"]
    order.clear()
    assert machine.stop() == S_OK
    assert order == ["stop 0", "stop 1", "teardown 0", "teardown 1"]


@pytest.mark.parametrize("step", BEGINNING)
@pytest.mark.parametrize("is_hot", [False, True])
def test_a_success_code_of_a_step_is_in_its_row_and_the_operation_says_ok(
    machine: Machine, recording: Recording, step: str, is_hot: bool
) -> None:
    device = machine.create(CallbackDevice())

    def succeed() -> None:
        raise Failure(1)  # S_FALSE

    device.during[step] = succeed
    results = [machine.start(), machine.add_slot(device)] if is_hot else [machine.add_slot(device), machine.start()]
    assert results == [S_OK, S_OK]
    assert [row["status"] for row in recording.rows(*STEPS[:4])] == [int(step == name) for name in BEGINNING]


def test_a_slot_without_a_device_fails_the_start(machine: Machine) -> None:
    assert machine.add_slot(CallbackDevice()) == S_OK
    assert machine.start() == HResult.E_UNEXPECTED


def test_two_slots_cannot_have_the_same_device(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    machine.add_slot(device, 0)
    machine.add_slot(device, 1)
    assert machine.start() == HResult.ERROR_INVALID_STATE
    assert device.names().count("initialize") == device.names().count("teardown") == 1


@pytest.mark.fault(42)
def test_the_lifecycle_refuses_the_wrong_order(machine: Machine) -> None:
    assert machine.stop() == HResult.ERROR_INVALID_STATE
    device = machine.running(CallbackDevice())
    assert machine.start() == HResult.ERROR_INVALID_STATE
    machine.stop()
    assert machine.start() == HResult.ERROR_INVALID_STATE
    assert machine.add_slot(device, 1) == HResult.ERROR_INVALID_STATE
    assert device.names() == ["stop", "teardown"]


@pytest.mark.parametrize(
    ("slot", "expected"),
    [(0, HResult.ERROR_ALREADY_EXISTS), (32, HResult.E_INVALIDARG), (1 << 31, HResult.E_INVALIDARG), (31, S_OK)],
)
def test_a_slot_is_one_of_32_and_taken_once(machine: Machine, slot: int, expected: int) -> None:
    device = machine.create(CallbackDevice())
    assert machine.add_slot(device, 0) == S_OK
    assert machine.add_slot(device, slot) == expected


def test_a_hot_plugged_device_is_started_before_the_call_returns(machine: Machine) -> None:
    machine.start()
    device = machine.create(CallbackDevice())
    assert machine.add_slot(device, 5, ["key=value"]) == S_OK
    assert device.names() == BEGINNING
    assert machine.config_read(5, 0, 2) == (S_OK, 0x1234)


@pytest.mark.parametrize("step", BEGINNING)
def test_a_failing_hot_plug_leaves_the_slot_free_for_the_next(machine: Machine, step: str) -> None:
    machine.start()
    device = machine.create(CallbackDevice())

    def fail() -> None:
        raise Failure(HResult.E_ACCESSDENIED)

    device.during[step] = fail
    assert machine.add_slot(device) == HResult.E_ACCESSDENIED
    assert device.names()[-1] == "teardown"
    assert device.interrupt() == machine.gone
    assert machine.config_read(0, 0) == (HResult.ERROR_NOT_FOUND, 0xFFFFFFFF)
    again = CallbackDevice()
    again.instance_id = device.instance_id  # a device that is gone leaves its name
    machine.create(again)
    assert machine.add_slot(again) == S_OK


def test_an_unplugged_device_is_torn_down_and_answers_no_more(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    assert machine.read(PLACE)[0] == S_OK
    assert machine.remove_slot(0) == S_OK
    assert device.names() == ["read", "stop", "teardown"]
    assert machine.read(PLACE) == (HResult.ERROR_NOACCESS, 0xFFFFFFFF)
    assert machine.remove_slot(0) == HResult.ERROR_NOT_FOUND
    assert device.dma_write(0, b"x") == device.interrupt() == machine.gone
    assert machine.remove_slot(32) == HResult.E_INVALIDARG
    again = CallbackDevice()
    again.instance_id = device.instance_id
    machine.create(again)
    assert machine.add_slot(again) == S_OK
    assert machine.config_read(0, 0x10) == (S_OK, 0)
    assert machine.config_read(0, 4, 2) == (S_OK, 0)


@pytest.mark.parametrize("texts", [[], ["a"], ["key=value", "", "Schlüssel=ключ", "🦉=\ud800"]])
def test_configuration_strings_arrive_as_utf_16(machine: Machine, texts: list[str]) -> None:
    device = machine.create(CallbackDevice())
    assert machine.add_slot(device, 0, [t.encode("utf-16-le", "replace").decode("utf-16-le") for t in texts]) == S_OK
    machine.start()
    seen = device.calls[1]
    assert seen[0] == "set_configuration"
    assert seen[1] is not None  # a pointer that is not NULL, also with no strings
    assert seen[1] == [t.encode("utf-16-le", "replace").decode("utf-16-le") for t in texts]


@pytest.mark.parametrize(
    ("probed", "expected"),
    [
        ((0xFFFFF000,), S_OK),
        ((0xFFFFFFF0,), S_OK),
        ((0xFFFFF00C, 0xFFFFFFFF), S_OK),
        ((0, 0, 0, 0, 0xFFFFF004, 0xFFFFFFFF), S_OK),
        ((0xFFFFF001,), HResult.E_INVALIDARG),  # an I/O BAR
        ((0xFFFF0FF0,), HResult.E_INVALIDARG),  # no run of ones
        ((0xFFFFF004, 0xFFFF0000), HResult.E_INVALIDARG),
        ((0, 0, 0, 0, 0, 0xFFFFF004), HResult.E_INVALIDARG),  # 64 bits with no BAR left for the upper half
    ],
)
def test_bar_masks_that_no_bar_can_have_fail_the_start(
    machine: Machine, probed: tuple[int, ...], expected: int
) -> None:
    device = machine.create(CallbackDevice(probed))
    machine.add_slot(device)
    assert machine.start() == expected


def test_the_state_of_the_machine_changes_from_no_callback(machine: Machine) -> None:
    seen: list[int] = []
    device = CallbackDevice()

    def everything() -> None:
        seen.append(code(lib.HdvTeardownDeviceHost(machine.host)))
        seen.append(machine.start())
        seen.append(machine.stop())
        seen.append(machine.add_slot(device, 7))
        seen.append(machine.remove_slot(0))
        seen.append(machine.close_system())

    for step in (*BEGINNING, "stop", "teardown"):
        device.during[step] = everything
    machine.running(device, place=False)
    device.write = lambda *_: everything()
    device.read = lambda *_: everything() or 0
    device.config_read = lambda _: everything() or 0
    machine.place(device)
    machine.read(PLACE)
    machine.write(PLACE, 1)
    machine.config_peek(0)
    machine.stop()
    assert set(seen) == {HResult.ERROR_INVALID_STATE}
    assert device.names().count("teardown") == 1


@pytest.mark.fault(39)
@pytest.mark.parametrize("end", ["teardown", "stop", "remove", "close"])
def test_the_end_waits_for_the_callback_that_runs(machine: Machine, end: str) -> None:
    inside, proceed = threading.Event(), threading.Event()
    device = machine.running(CallbackDevice())

    def read(bar: int, offset: int, size: int) -> int:
        inside.set()
        happens(proceed)
        device.calls.append(("read done",))
        return 0x1234

    device.read = read
    ends = {
        "teardown": machine.teardown,
        "stop": machine.stop,
        "remove": lambda: machine.remove_slot(0),
        "close": lambda: machine.close_system(),
    }
    answers: list[object] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE)))
        happens(inside)
        ending = threads.start(lambda: answers.append(ends[end]()))
        ending.join(0.05)
        assert ending.is_alive()
        proceed.set()
    assert (S_OK, 0x1234) in answers
    assert S_OK in answers
    assert device.names() == ["read", "read done", "stop", "teardown"]


def test_two_threads_cannot_change_the_machine_at_once(machine: Machine) -> None:
    inside, proceed = threading.Event(), threading.Event()
    device = machine.create(CallbackDevice())

    def start() -> None:
        inside.set()
        happens(proceed)

    device.during["start"] = start
    machine.add_slot(device)
    with Threads() as threads:
        threads.start(lambda: machine.start())
        happens(inside)
        assert machine.start() == HResult.ERROR_INVALID_STATE
        assert machine.stop() == HResult.ERROR_INVALID_STATE
        assert machine.remove_slot(0) == HResult.ERROR_INVALID_STATE
        assert machine.close_system() == HResult.ERROR_INVALID_STATE
        proceed.set()
    assert machine.config_read(0, 0, 2) == (S_OK, 0x1234)


@pytest.mark.fault(42)
def test_between_stop_and_teardown_nothing_reaches_the_device(machine: Machine, recording: Recording) -> None:
    device = CallbackDevice()
    seen: list[int] = []

    def stop() -> None:
        seen.append(device.dma_write(0, b"late"))
        seen.append(device.interrupt())

    device.during["stop"] = stop
    machine.running(device)
    other = threading.Event()

    def teardown() -> None:
        with Threads() as threads:
            threads.start(lambda: (seen.append(machine.read(PLACE, wait_ms=1)[0]), other.set()))
        happens(other)

    device.during["teardown"] = teardown
    machine.stop()
    invalid = HResult.ERROR_INVALID_STATE
    assert seen == [invalid, invalid, HResult.ERROR_NOACCESS]
    assert pairs(recording.rows(lib.HDVLAB_DMA_WRITE, lib.HDVLAB_INTERRUPT), "status") == [(invalid,), (invalid,)]


def test_a_device_of_one_class_and_instance_exists_once_on_all_hosts_of_a_machine(machine: Machine) -> None:
    device = machine.create(CallbackDevice())
    out = ffi.new("void **")
    assert code(lib.HdvInitializeDeviceHost(machine.device_system, out)) == S_OK
    second = out[0]
    again = CallbackDevice()
    again.instance_id = device.instance_id
    assert again.create(machine.host) == HResult.ERROR_ALREADY_EXISTS
    assert again.create(second) == HResult.ERROR_ALREADY_EXISTS
    again.instance_id = CallbackDevice().instance_id
    assert again.create(second) == S_OK
    assert code(lib.HdvTeardownDeviceHost(second)) == S_OK
    assert again.names() == ["teardown"]
    assert device.names() == []


@pytest.mark.parametrize("slot", [name for name in dir(ffi.new("HDV_PCI_DEVICE_INTERFACE *")) if name != "Version"])
def test_a_table_with_an_empty_slot_is_refused(machine: Machine, slot: str) -> None:
    device = CallbackDevice()
    setattr(device.interface, slot, ffi.NULL)
    assert device.create(machine.host) == HResult.E_INVALIDARG


@pytest.mark.parametrize("version", [0, 2, -1])
def test_a_table_of_another_version_is_refused(machine: Machine, version: int) -> None:
    device = CallbackDevice()
    device.interface.Version = version
    assert device.create(machine.host) == HResult.E_INVALIDARG


@pytest.mark.parametrize("kind", [0, 2, -1])
def test_a_device_of_another_type_is_refused(machine: Machine, kind: int) -> None:
    device, out = CallbackDevice(), ffi.new("void **")
    arguments = (machine.host, kind, guid(CLASS_ID), guid(CLASS_ID), device.interface, ffi.NULL, out)
    assert code(lib.HdvCreateDeviceInstance(*arguments)) == HResult.E_INVALIDARG


@pytest.mark.parametrize(
    ("flags", "expected"), [(0, S_OK), (1, S_OK), (2, HResult.E_INVALIDARG), (-1, HResult.E_INVALIDARG)]
)
def test_the_flags_of_a_host_are_the_documented_ones(machine: Machine, flags: int, expected: int) -> None:
    out = ffi.new("void **")
    assert code(lib.HdvInitializeDeviceHostEx(machine.device_system, flags, out)) == expected
    if expected == S_OK:
        assert code(lib.HdvTeardownDeviceHost(out[0])) == S_OK
