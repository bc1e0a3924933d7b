"""Another HDV library behind the tap: what passes, what that library lacks, and what it may do that ours does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from .native import ForwardedMachine, own_functions
from .scaffold import BUS_MASTER, MEMORY, PLACE, S_OK, CallbackDevice, Machine, Recording, code, pairs

INVALID_STATE = HResult.ERROR_INVALID_STATE
DEVICE_CALLS = ("ReadGuestMemory", "WriteGuestMemory", "CreateGuestMemoryAperture", "DestroyGuestMemoryAperture")
DEVICE_CALLS += ("DeliverGuestInterrupt", "RegisterDoorbell", "UnregisterDoorbell")
DEVICE_CALLS += ("CreateSectionBackedMmioRange", "DestroySectionBackedMmioRange")


class Caller:
    """A library that keeps the callbacks it is given, for a test to call as no machine of ours would."""

    def __init__(self, recording: Recording | None) -> None:
        self.answers: dict[str, int] = {}
        self.interface: Any = None
        self.context: Any = None
        self.flags: list[int] = []
        self.torn_down = 0
        self.functions = ffi.new("HDVLAB_HDV_FUNCTIONS *", {"size": ffi.sizeof("HDVLAB_HDV_FUNCTIONS")})
        self._kept: list[Any] = []
        self._set("HdvInitializeDeviceHost", self._initialize)
        self._set("HdvInitializeDeviceHostEx", self._initialize_ex)
        self._set("HdvTeardownDeviceHost", self._teardown)
        self._set("HdvCreateDeviceInstance", self._create)
        out = ffi.new("void **")
        trace = ffi.NULL if recording is None else recording.handle
        assert code(lib.hdvlab_forward_create(self.functions, ffi.cast("void *", 0x5157), trace, out)) == S_OK
        self.system = out[0]

    def _set(self, name: str, function: Any) -> None:
        field = dict(ffi.typeof("HDVLAB_HDV_FUNCTIONS").fields)[name]
        callback = ffi.callback(field.type, function)
        self._kept.append(callback)
        setattr(self.functions, name, callback)

    def _answer(self, name: str) -> int:
        answer = self.answers.get(name, 0)
        return answer - (1 << 32) if answer & 0x80000000 else answer

    def _initialize(self, system: Any, host: Any) -> int:
        assert int(ffi.cast("uintptr_t", system)) == 0x5157
        host[0] = ffi.cast("void *", 0x4057)
        return self._answer("initialize")

    def _initialize_ex(self, system: Any, flags: int, host: Any) -> int:
        self.flags.append(flags)
        return self._initialize(system, host)

    def _teardown(self, host: Any) -> int:
        assert int(ffi.cast("uintptr_t", host)) == 0x4057
        self.torn_down += 1
        return self._answer("teardown")

    def _create(self, *arguments: Any) -> int:
        interface, self.context, device = arguments[4:]
        self.interface = ffi.new("HDV_PCI_DEVICE_INTERFACE *")
        ffi.memmove(self.interface, interface, ffi.sizeof("HDV_PCI_DEVICE_INTERFACE"))
        device[0] = ffi.cast("void *", 0xDE7)
        return self._answer("create")

    def host(self) -> Any:
        out = ffi.new("void **")
        assert code(lib.HdvInitializeDeviceHost(self.system, out)) == S_OK
        return out[0]

    def close(self) -> None:
        lib.hdvlab_system_close(self.system)


@pytest.fixture
def caller(recording: Recording) -> Iterator[Caller]:
    caller = Caller(recording)
    yield caller
    caller.close()


@pytest.fixture
def host(caller: Caller) -> Iterator[Any]:
    host = caller.host()
    yield host
    lib.HdvTeardownDeviceHost(host)


@pytest.fixture
def device(caller: Caller, host: Any) -> CallbackDevice:
    """A device that the other library has created and not yet initialised."""
    device = CallbackDevice()
    assert device.create(host) == S_OK
    return device


def power_on(caller: Caller) -> None:
    call, context = caller.interface, caller.context
    details, bars = ffi.new("HDV_PCI_PNP_ID *"), ffi.new("uint32_t[6]")
    assert call.Initialize(context) == call.SetConfiguration(context, 0, ffi.NULL) == 0
    assert call.GetDetails(context, details, 6, bars) == call.Start(context) == 0


def test_a_library_forwards_to_itself(recording: Recording, machine: Machine) -> None:
    out = ffi.new("void **")
    assert code(lib.hdvlab_forward_create(own_functions(), machine.system, recording.handle, out)) == S_OK
    system, device = out[0], CallbackDevice()
    assert code(lib.HdvInitializeDeviceHost(system, out)) == S_OK
    host = out[0]
    assert device.create(host) == S_OK
    machine.devices.append(device)
    lib.hdvlab_device_set_index(device.handle, 5)
    assert machine.add_slot(device) == machine.start() == S_OK
    machine.place(device)
    assert machine.write(PLACE, 0x1234) == S_OK
    assert machine.read(PLACE) == (S_OK, 0x1234)
    assert device.dma_write(0x1000, b"hello") == S_OK
    assert machine.ram_read(0x1000, 5) == (S_OK, b"hello")
    assert [row["kind"] for row in recording.rows() if row["device"] == 5][:4] == [
        lib.HDVLAB_INITIALIZE, lib.HDVLAB_SET_CONFIGURATION, lib.HDVLAB_GET_DETAILS, lib.HDVLAB_START,
    ]  # fmt: skip
    assert code(lib.HdvTeardownDeviceHost(host)) == S_OK
    assert device.names()[-2:] == ["stop", "teardown"]
    assert code(lib.hdvlab_system_close(system)) == S_OK


@pytest.mark.parametrize(
    "missing", ["HdvInitializeDeviceHost", "HdvTeardownDeviceHost", "HdvCreateDeviceInstance", "size"]
)
def test_a_library_without_device_hosts_is_refused(missing: str) -> None:
    functions, out = own_functions(), ffi.new("void **")
    setattr(functions, missing, 8 if missing == "size" else ffi.NULL)
    assert code(lib.hdvlab_forward_create(functions, ffi.NULL, ffi.NULL, out)) == HResult.E_INVALIDARG


def test_what_an_older_library_lacks_is_not_implemented_and_leaves_a_row(
    device: CallbackDevice, recording: Recording
) -> None:
    since = len(recording)
    assert device.dma_read(0, 4)[0] == device.dma_write(0, b"x") == HResult.E_NOTIMPL
    assert device.aperture(0, 4096)[0] == device.interrupt() == HResult.E_NOTIMPL
    destroy = lib.HdvDestroyGuestMemoryAperture(device.handle, ffi.cast("void *", 0x1000))
    assert code(destroy) == device.ring(1) == device.unring() == HResult.E_NOTIMPL
    assert device.section(1) == device.unsection() == HResult.E_NOTIMPL
    rows = recording.rows(since=since)
    assert len(rows) == len(DEVICE_CALLS)
    assert {row["status"] for row in rows} == {HResult.E_NOTIMPL}


def test_flags_need_the_newer_call_and_none_do_not() -> None:
    out = ffi.new("void **")
    caller = Caller(None)
    for flags in (0, 1):
        assert code(lib.HdvInitializeDeviceHostEx(caller.system, flags, out)) == S_OK
        assert code(lib.HdvTeardownDeviceHost(out[0])) == S_OK
    assert caller.flags == [1]
    caller.close()
    functions = own_functions()
    functions.HdvInitializeDeviceHostEx = ffi.NULL
    assert code(lib.hdvlab_forward_create(functions, ffi.NULL, ffi.NULL, out)) == S_OK
    system = out[0]
    assert code(lib.HdvInitializeDeviceHostEx(system, 1, out)) == HResult.E_NOTIMPL
    assert code(lib.HdvInitializeDeviceHostEx(system, 0, out)) == HResult.E_HANDLE  # the native system is NULL
    assert code(lib.hdvlab_system_close(system)) == S_OK


def test_what_the_library_answers_comes_back_unchanged(caller: Caller, recording: Recording) -> None:
    out = ffi.new("void **")
    caller.answers["initialize"] = 0xC0370030
    assert code(lib.HdvInitializeDeviceHost(caller.system, out)) == 0xC0370030
    del caller.answers["initialize"]
    host = caller.host()
    caller.answers["create"] = 0x80070005
    failed = CallbackDevice()
    assert failed.create(host) == HResult.E_ACCESSDENIED
    caller.answers["teardown"] = 0x80010108
    assert code(lib.HdvTeardownDeviceHost(host)) == S_OK  # ours is at its end whatever becomes of the other
    assert failed.names() == []
    assert pairs(recording.rows(lib.HDVLAB_FAULT), "device", "status") == [(0xFFFF, 0x80010108)]


def test_power_and_slots_are_where_the_machine_is(caller: Caller) -> None:
    ids = (guid(CallbackDevice.new_instance_id()), guid(CallbackDevice.new_instance_id()))
    assert code(lib.hdvlab_system_start(caller.system)) == HResult.E_NOTIMPL
    assert code(lib.hdvlab_system_stop(caller.system)) == HResult.E_NOTIMPL
    assert code(lib.hdvlab_system_add_slot(caller.system, 0, *ids, 0, ffi.NULL)) == HResult.E_NOTIMPL
    assert code(lib.hdvlab_system_remove_slot(caller.system, 0)) == HResult.E_NOTIMPL
    value = ffi.new("uint64_t *")
    access = ffi.new("HDVLAB_ACCESS *")
    assert code(lib.hdvlab_guest_read(caller.system, access, PLACE, 4, value)) == HResult.E_NOTIMPL


def test_details_may_be_asked_for_again_and_any_number_of_bars(
    caller: Caller, device: CallbackDevice, recording: Recording
) -> None:
    power_on(caller)
    since = len(recording)
    for count in (0, 2, 6, 8):
        details, bars = ffi.new("HDV_PCI_PNP_ID *"), ffi.new("uint32_t[8]", [7] * 8)
        assert caller.interface.GetDetails(caller.context, details, count, bars) == 0
        assert (details.VendorID, details.DeviceID) == (0x1234, 0x11E8)
        assert list(bars) == ([0xFFFFF000, 0, 0, 0, 0, 0, 0, 0][:count] + [7] * 8)[:8]
    assert device.names().count("get_details") == 5
    assert [row["kind"] for row in recording.rows(since=since)] == [lib.HDVLAB_GET_DETAILS] * 4
    assert caller.interface.GetDetails(caller.context, ffi.NULL, 6, bars) == HResult.E_POINTER.signed


def test_a_pause_that_stops_and_starts_devices_passes(caller: Caller, device: CallbackDevice) -> None:
    power_on(caller)
    for _ in range(2):
        caller.interface.Stop(caller.context)
        assert caller.interface.Start(caller.context) == 0
    assert device.names()[3:] == ["start", "stop", "start", "stop", "start"]


def test_a_stop_without_a_start_is_a_row_and_no_call(
    caller: Caller, device: CallbackDevice, recording: Recording
) -> None:
    caller.interface.Stop(caller.context)
    assert device.names() == []
    assert pairs(recording.rows(lib.HDVLAB_STOP), "status") == [(INVALID_STATE,)]


def test_config_dwords_come_as_they_are_and_open_no_gate(
    caller: Caller, device: CallbackDevice, recording: Recording
) -> None:
    power_on(caller)
    value = ffi.new("uint32_t *")
    device.config[4:8] = (0x00100000).to_bytes(4, "little")
    assert caller.interface.ReadConfigSpace(caller.context, 4, value) == 0
    assert value[0] == 0x00100000
    assert caller.interface.WriteConfigSpace(caller.context, 4, MEMORY | BUS_MASTER) == 0
    assert caller.interface.WriteConfigSpace(caller.context, 4, 0) == 0
    rows = recording.rows(lib.HDVLAB_CONFIG_READ, lib.HDVLAB_CONFIG_WRITE)
    assert pairs(rows, "origin", "size", "address", "value") == [
        (lib.HDVLAB_GUEST, 4, 4, 0x00100000), (lib.HDVLAB_GUEST, 4, 4, 6), (lib.HDVLAB_GUEST, 4, 4, 0),
    ]  # fmt: skip
    room = ffi.new("uint8_t[4]")
    assert caller.interface.ReadInterceptedMemory(caller.context, 0, 0, 4, room) == 0  # that library decided
    assert device.calls[-1] == ("read", 0, 0, 4)


@pytest.mark.parametrize(("bar", "offset", "length"), [(0, 0, 3), (0, 4096, 4), (6, 0, 4), (-1, 0, 4), (0, 0, 16)])
def test_an_access_that_is_none_reaches_no_device(
    caller: Caller, device: CallbackDevice, recording: Recording, bar: int, offset: int, length: int
) -> None:
    power_on(caller)
    device.calls.clear()
    room = ffi.new("uint8_t[32]")
    assert caller.interface.ReadInterceptedMemory(caller.context, bar, offset, length, room) == -0x7FF8FFA9
    assert bytes(ffi.buffer(room)) == b"\xff" * length + bytes(32 - length)
    assert caller.interface.WriteInterceptedMemory(caller.context, bar, offset, length, room) == -0x7FF8FFA9
    assert device.calls == []
    rows = recording.rows(lib.HDVLAB_MMIO_READ, lib.HDVLAB_MMIO_WRITE)
    assert pairs(rows, "size", "status") == [(length, HResult.E_INVALIDARG)] * 2


def test_teardown_comes_once_whoever_asks_for_it(caller: Caller, host: Any, device: CallbackDevice) -> None:
    power_on(caller)
    caller.interface.Teardown(caller.context)
    caller.interface.Teardown(caller.context)
    assert device.interrupt() == INVALID_STATE
    assert caller.interface.Initialize(caller.context) == INVALID_STATE.signed
    assert code(lib.HdvTeardownDeviceHost(host)) == S_OK
    assert device.names().count("teardown") == device.names().count("stop") == caller.torn_down == 1


def test_a_library_that_forgets_teardown_is_made_up_for_and_its_late_calls_find_nobody(
    caller: Caller, host: Any, device: CallbackDevice
) -> None:
    power_on(caller)
    assert code(lib.HdvTeardownDeviceHost(host)) == S_OK
    assert device.names()[-2:] == ["stop", "teardown"]
    device.calls.clear()
    call, context, value = caller.interface, caller.context, ffi.new("uint32_t *")
    room = ffi.new("uint8_t[8]")
    answers = [call.Initialize(context), call.Start(context), call.ReadConfigSpace(context, 0, value)]
    answers += [call.WriteConfigSpace(context, 0, 1), call.ReadInterceptedMemory(context, 0, 0, 8, room)]
    answers += [call.WriteInterceptedMemory(context, 0, 0, 8, room), call.SetConfiguration(context, 0, ffi.NULL)]
    call.Stop(context)
    call.Teardown(context)
    assert {code(answer) for answer in answers} == {HResult.E_HANDLE}
    assert value[0] == 0xFFFFFFFF
    assert bytes(ffi.buffer(room)) == b"\xff" * 8
    assert device.calls == []


def test_a_callback_from_inside_a_callback_is_refused_with_a_row(
    caller: Caller, device: CallbackDevice, recording: Recording
) -> None:
    power_on(caller)
    seen: list[int] = []

    def write(bar: int, offset: int, size: int, value: int) -> None:
        seen.append(code(caller.interface.ReadInterceptedMemory(caller.context, 0, 8, 4, ffi.new("uint8_t[4]"))))
        seen.append(code(caller.interface.Start(caller.context)))
        caller.interface.Teardown(caller.context)

    device.write = write
    assert caller.interface.WriteInterceptedMemory(caller.context, 0, 0, 4, b"\1\0\0\0") == 0
    assert seen == [INVALID_STATE, INVALID_STATE]
    assert device.names()[-1] == "write"
    kinds = (lib.HDVLAB_MMIO_READ, lib.HDVLAB_START, lib.HDVLAB_TEARDOWN)
    assert pairs(recording.rows()[-3:], "kind", "status") == [(kind, INVALID_STATE) for kind in kinds]


def test_rows_of_the_end_say_what_ended(recording: Recording) -> None:
    machine = ForwardedMachine(recording)
    device = machine.running(CallbackDevice())
    assert device.aperture(0x3000, 0x2000)[0] == S_OK
    assert machine.stop() == S_OK
    rows = recording.rows(lib.HDVLAB_APERTURE_UNMAP)
    assert pairs(rows, "address", "size", "status") == [(0x3000, 0x2000, S_OK)]
    machine.close()


def test_devices_that_are_gone_cost_nothing_in_the_long_run(recording: Recording) -> None:
    machine = ForwardedMachine(recording)
    assert machine.start() == S_OK
    live = []
    for _ in range(6):
        device = CallbackDevice()
        assert device.create(machine.host) == machine.add_slot(device) == machine.remove_slot(0) == S_OK
        live.append(lib.hdvlab_live_handles())
    assert max(live[1:]) == live[1]
    machine.close()
