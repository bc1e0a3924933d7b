"""Handles: index + generation. A handle that is NULL, forged, stale or of another kind gives E_HANDLE, everywhere.

The calls are made from the headers, so that a function that is added there is tested here, or fails here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid, wide

from .native import own_functions
from .scaffold import CLASS_ID, PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code

INCLUDE = Path(__file__).parents[2] / "hdvlab/_core/include"
HEADERS = ("ComputeCore.h", "HyperVDeviceVirtualization.h", "hdvlab.h")
KINDS = (
    "HCS_SYSTEM",
    "HCS_OPERATION",
    "HDV_HOST",
    "HDV_DEVICE",
    "HDVLAB_TRACE",
    "HDVLAB_REGISTER_FILE",
    "HDVLAB_APERTURE",
)
#: Functions that return no HRESULT, and so can say nothing about a handle.
NO_HRESULT = {
    "hdvlab_trace_unpin",
    "hdvlab_trace_column",
    "hdvlab_cause",
    "hdvlab_set_cause",
    "hdvlab_live_handles",
    # Tested in test_compute_operation.py and test_compute_system.py.
    "HcsCreateOperation",
    "HcsCloseOperation",
    "HcsGetOperationContext",
    "HcsGetComputeSystemFromOperation",
    "HcsGetOperationType",
    "HcsGetOperationId",
    "HcsCloseComputeSystem",
}
#: HCS calls that work is done for, tracked by an operation or not.
TRACKED = {
    "HcsCreateComputeSystem",
    "HcsStartComputeSystem",
    "HcsShutDownComputeSystem",
    "HcsTerminateComputeSystem",
    "HcsPauseComputeSystem",
    "HcsResumeComputeSystem",
    "HcsModifyComputeSystem",
    "HcsGetComputeSystemProperties",
    "HcsEnumerateComputeSystems",
}
#: Pointers and handles that may be NULL.
OPTIONAL = {
    ("HdvCreateDeviceInstance", "deviceContext"),
    ("hdvlab_embedded_create", "trace"),
    ("hdvlab_forward_create", "trace"),
    ("hdvlab_vfio_user_create", "trace"),
    ("hdvlab_vfio_user_listen", "options"),
    ("hdvlab_vfio_user_attach", "options"),
    ("hdvlab_system_add_slot", "configuration"),
    ("hdvlab_guest_bind_interrupts", "events"),
    ("hdvlab_trace_append", "payload"),
    ("hdvlab_gate_stops", "stops"),
    ("hdvlab_gate_on_ask", "context"),
    ("hdvlab_gate_on_idle", "context"),
    ("hdvlab_register_file_create", "context"),
    ("hdvlab_guest_place_bars", "addresses"),
    ("HcsSetOperationContext", "context"),
    ("HcsSetOperationCallback", "context"),
    ("HcsSetComputeSystemCallback", "context"),
    ("HcsGetOperationResult", "resultDocument"),
    ("HcsWaitForOperationResult", "resultDocument"),
    ("HcsCreateComputeSystem", "securityDescriptor"),
    ("HcsGetComputeSystemProperties", "propertyQuery"),
    ("HcsEnumerateComputeSystems", "query"),
    *((function, name) for function in TRACKED for name in ("operation", "options")),
}
#: Handles of another library, which this one cannot judge.
FOREIGN = {("hdvlab_forward_create", "native_system")}


def _prototypes() -> dict[str, list[tuple[str, str]]]:
    text = "\n".join((INCLUDE / name).read_text("utf-8") for name in HEADERS)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = {}
    for name, arguments in re.findall(r"^HRESULT (?:WINAPI )?(\w+)\(([^()]*)\);", text, flags=re.M):
        one = [re.fullmatch(r"\s*(.*?)(\w+)\s*", argument, flags=re.S) for argument in arguments.split(",")]
        found[name] = [(re.sub(r"\s+", " ", match[1]).strip(), match[2]) for match in one if match]
    others = set(re.findall(r"^(?!HRESULT)\w+ \*?(?:WINAPI )?(\w+)\([^()]*\);", text, flags=re.M))
    assert others == NO_HRESULT
    return found


PROTOTYPES = _prototypes()
HANDLES = [
    (f, n, kind)
    for f, arguments in PROTOTYPES.items()
    for n, (kind, name) in enumerate(arguments)
    if kind in KINDS and (f, name) not in FOREIGN
]
POINTERS = [
    (f, n, name)
    for f, arguments in PROTOTYPES.items()
    for n, (kind, name) in enumerate(arguments)
    if (kind.endswith("*") or kind in ("PVOID", "PCWSTR")) and (f, name) not in OPTIONAL
]

#: An argument of a type that is good enough to get as far as the handle. By name where the type does not say.
GOOD: dict[str, Callable[[], Any]] = {
    "BOOL": lambda: 0,
    "uint8_t": lambda: 0,
    "uint16_t": lambda: 0,
    "uint32_t": lambda: 0,
    "int32_t": lambda: 0,
    "int64_t": lambda: 0,
    "uint64_t": lambda: 0,
    "const uint64_t *": lambda: ffi.new("uint64_t[8]"),
    "UINT32": lambda: 1,
    "UINT64": lambda: 0,
    "DWORD": lambda: 0,
    "PCWSTR": lambda: wide("{}"),
    "PWSTR *": lambda: ffi.new("uint16_t **"),
    "const SECURITY_DESCRIPTOR *": lambda: ffi.NULL,
    "HCS_EVENT_OPTIONS": lambda: 0,
    "HCS_OPERATION_COMPLETION": lambda: ffi.NULL,
    "HCS_EVENT_CALLBACK": lambda: ffi.NULL,
    "HANDLE": lambda: ffi.NULL,
    "const HANDLE *": lambda: ffi.NULL,
    "HDVLAB_APERTURE *": lambda: ffi.new("void **"),
    "int": lambda: -1,
    "HDV_DEVICE_HOST_FLAGS": lambda: 0,
    "HDV_DEVICE_TYPE": lambda: 1,
    "HDV_PCI_BAR_SELECTOR": lambda: 0,
    "HDV_MMIO_MAPPING_FLAGS": lambda: 0,
    "PVOID": lambda: ffi.cast("void *", 0x1000),
    "VOID *": lambda: ffi.NULL,
    "void *": lambda: ffi.new("char[8192]"),
    "const void *": lambda: ffi.new("char[64]"),
    "const VOID *": lambda: _interface(),
    "const GUID *": lambda: guid(CLASS_ID),
    "GUID *": lambda: guid(CLASS_ID),
    "DWORD *": lambda: ffi.new("uint32_t *"),
    "UINT64 *": lambda: ffi.new("uint64_t *"),
    "HRESULT *": lambda: ffi.new("HRESULT *"),
    "IVmDeviceHost *": lambda: ffi.new("IVmDeviceHost *"),
    "IVmDeviceHost **": lambda: ffi.new("IVmDeviceHost **"),
    "IVmDeviceHostSupport **": lambda: ffi.new("IVmDeviceHostSupport **"),
    "const char *": lambda: ffi.new("char[]", b"/nonexistent/hdvlab"),
    "BYTE *": lambda: ffi.new("uint8_t[64]"),
    "const BYTE *": lambda: ffi.new("uint8_t[64]"),
    "uint8_t *": lambda: ffi.new("uint8_t[4096]"),
    "const HDVLAB_HDV_FUNCTIONS *": lambda: own_functions(),
    "const HDVLAB_BREAKPOINT *": lambda: ffi.new("HDVLAB_BREAKPOINT *"),
    "HDVLAB_STOP_STATE *": lambda: ffi.NULL,
    "HDVLAB_GATE_ASK": lambda: ffi.NULL,
    "HDVLAB_GATE_IDLE": lambda: ffi.NULL,
    "const HDVLAB_ACCESS *": lambda: ffi.new("HDVLAB_ACCESS *"),
    "HDVLAB_MESSAGE *": lambda: ffi.new("HDVLAB_MESSAGE *"),
    "HDVLAB_DEVICE_DETAILS *": lambda: ffi.new("HDVLAB_DEVICE_DETAILS *"),
    "HDVLAB_DEVICE_PEEK": lambda: ffi.cast("HDVLAB_DEVICE_PEEK", 0x1000),  # never called: what is before it fails
    "HDVLAB_VFIO_USER_STATE *": lambda: ffi.new("HDVLAB_VFIO_USER_STATE *"),
    "const HDVLAB_VFIO_USER_OPTIONS *": lambda: ffi.NULL,
    "HDVLAB_DEVICE_RESET": lambda: ffi.NULL,
    "HDVLAB_TRACE_STATE *": lambda: ffi.new("HDVLAB_TRACE_STATE *"),
    "const HDVLAB_DEVICE_DESCRIPTION *": lambda: ffi.new("HDVLAB_DEVICE_DESCRIPTION *"),
    "const HDVLAB_DEVICE_CALLBACKS *": lambda: ffi.new("HDVLAB_DEVICE_CALLBACKS *"),
    "const void *const *": lambda: _columns(),
    "const LPCWSTR *": lambda: ffi.NULL,
    "PVOID *": lambda: ffi.new("void **"),
    "void **": lambda: ffi.new("void **"),
    "HCS_SYSTEM *": lambda: ffi.new("void **"),
    "HDV_HOST *": lambda: ffi.new("void **"),
    "HDV_DEVICE *": lambda: ffi.new("void **"),
    "HDVLAB_TRACE *": lambda: ffi.new("void **"),
    "HDVLAB_REGISTER_FILE *": lambda: ffi.new("void **"),
    "uint32_t *": lambda: ffi.new("uint32_t *"),
    "uint64_t *": lambda: ffi.new("uint64_t *"),
    "int64_t *": lambda: ffi.new("int64_t *"),
    "uint64_t **": lambda: ffi.new("uint64_t **"),
    "uint8_t **": lambda: ffi.new("uint8_t **"),
}


def _interface() -> Any:
    """Of a device that stays as long as whoever creates an instance of it."""
    _kept.append(CallbackDevice())
    return _kept[-1].interface


def _unknown() -> Any:
    """A COM object that has no interface but the one that all have."""
    functions = {
        "QueryInterface": ffi.callback("int32_t(IUnknown *, const GUID *, void **)", lambda *_: -0x7FFFBFFE),
        "AddRef": ffi.callback("uint32_t(IUnknown *)", lambda _: 2),
        "Release": ffi.callback("uint32_t(IUnknown *)", lambda _: 1),
    }
    table = ffi.new("IUnknownVtbl *", functions)
    _kept.extend([functions, table])
    return ffi.new("IUnknown *", {"lpVtbl": table})


_kept: list[Any] = []
BY_NAME: dict[tuple[str, str], Any] = {
    ("HdvProxyDeviceHost", "DeviceHost_IUnknown"): _unknown(),
    ("HdvInitializeDeviceHostForProxy", "ProxyInterface_IUnknown"): _unknown(),
    ("HdvInitializeDeviceHostForProxyEx", "ProxyInterface_IUnknown"): _unknown(),
    ("hdvlab_embedded_create", "ram_bytes"): 1 << 20,
    ("hdvlab_gate_limit", "ms"): 1000,
    ("hdvlab_trace_mark", "kind"): lib.HDVLAB_MARK,
    ("hdvlab_trace_create", "max_rows"): 64,
    ("hdvlab_trace_create", "chunk_rows"): 64,
    ("hdvlab_trace_salvage", "max_rows"): 64,
    ("hdvlab_trace_salvage", "chunk_rows"): 64,
    ("HcsSetOperationCallback", "callback"): ffi.cast("void (*)(void *, void *)", 0x1000),
}


def _columns() -> Any:
    column = ffi.new("char[64]")
    _kept.append(column)
    return ffi.new("void *[]", [column] * lib.HDVLAB_COLUMN_COUNT)


@pytest.fixture
def live(machine: Machine, recording: Recording) -> Iterator[dict[str, Any]]:
    """One live handle of each kind."""
    device = machine.running(CallbackDevice())
    out, description = ffi.new("void **"), ffi.new("HDVLAB_DEVICE_DESCRIPTION *")
    zeros = ffi.new("uint8_t[4096]")
    description.config = description.config_write_mask = description.config_write_one_to_clear = zeros
    operation = lib.HcsCreateOperation(ffi.NULL, ffi.NULL)
    created = lib.hdvlab_register_file_create(description, ffi.new("HDVLAB_DEVICE_CALLBACKS *"), ffi.NULL, out)
    assert code(created) == S_OK
    hold, mapped = ffi.new("void **"), device.aperture(0, 1)[1]
    assert code(lib.hdvlab_aperture_hold(device.handle, mapped, hold)) == S_OK
    yield {
        "HDVLAB_APERTURE": hold[0],
        "HCS_SYSTEM": machine.system,
        "HCS_OPERATION": operation,
        "HDV_HOST": machine.host,
        "HDV_DEVICE": device.handle,
        "HDVLAB_TRACE": recording.handle,
        "HDVLAB_REGISTER_FILE": out[0],
    }
    assert code(lib.hdvlab_register_file_close(out[0])) == code(lib.hdvlab_aperture_release(hold[0])) == S_OK
    lib.HcsCloseOperation(operation)


def _arguments(function: str, live: dict[str, Any]) -> list[Any]:
    arguments = []
    for kind, name in PROTOTYPES[function]:
        if kind in KINDS:
            arguments.append(live[kind])
        elif (function, name) in BY_NAME:
            arguments.append(BY_NAME[function, name])
        else:
            arguments.append(GOOD[kind]())
    return arguments


def _number(handle: Any) -> int:
    return int(ffi.cast("uintptr_t", handle))


def _handle(number: int) -> Any:
    return ffi.cast("void *", number & ((1 << 64) - 1))


@pytest.mark.fault(40)
@pytest.mark.fault(41)
@pytest.mark.parametrize(("function", "position", "kind"), HANDLES, ids=[f"{f}-{kind}" for f, _, kind in HANDLES])
def test_a_handle_that_is_none_of_its_kind_is_refused(
    live: dict[str, Any], function: str, position: int, kind: str
) -> None:
    number = _number(live[kind])
    bad = {
        "NULL": 0,
        "the next generation": number + (1 << 32),
        "the generation before": number - (1 << 32),
        "a free entry": number & ~0xFFFF | 0xFFFF,
        "an index behind the table": number | 0x10000,
        "all ones": -1,
        "a pointer": 0x7FFF_0000_1000,
    } | {f"a live {other}": _number(handle) for other, handle in live.items() if other != kind}
    if (function, PROTOTYPES[function][position][1]) in OPTIONAL:
        del bad["NULL"]
    for what, forged in bad.items():
        arguments = _arguments(function, live)
        arguments[position] = _handle(forged)
        assert code(getattr(lib, function)(*arguments)) == HResult.E_HANDLE, what


@pytest.mark.parametrize(("function", "position", "name"), POINTERS, ids=[f"{f}-{name}" for f, _, name in POINTERS])
def test_a_null_pointer_is_refused(live: dict[str, Any], function: str, position: int, name: str) -> None:
    arguments = _arguments(function, live)
    arguments[position] = ffi.NULL
    assert code(getattr(lib, function)(*arguments)) == HResult.E_POINTER


#: What waits for callbacks, or for the device that is in one, is refused in a callback: it would wait for itself.
WAITS_FOR_CALLBACKS = {
    "HdvTeardownDeviceHost",
    "hdvlab_system_start",
    "hdvlab_system_stop",
    "hdvlab_system_close",
    "hdvlab_system_add_slot",
    "hdvlab_system_remove_slot",
    "hdvlab_device_enter",
    "hdvlab_device_leave",
    "hdvlab_device_wait_idle",
    "hdvlab_device_set_concurrent",
    "hdvlab_guest_config_peek",
    "hdvlab_guest_config_read",
    "hdvlab_guest_config_write",
    "hdvlab_device_access",
    "hdvlab_device_end",
    "hdvlab_device_peek",
    "hdvlab_guest_place_bars",
}
#: Not for callbacks' sake: this machine's device has no interrupt and this recording no manual clock.
INVALID_ANYWHERE = {
    "hdvlab_register_file_interrupt",
    "hdvlab_register_file_rehearse_interrupt",
    "hdvlab_trace_set_time",
}
#: Makes or ends what the test would then have to look after.
NOT_IN_A_CALLBACK = {"hdvlab_trace_close", "hdvlab_register_file_close", "hdvlab_aperture_release"}


@pytest.mark.fault(39)
@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("function", sorted({f for f, _, _ in HANDLES if f not in NOT_IN_A_CALLBACK}))
def test_any_call_may_be_made_in_a_callback_and_ends(
    machine: Machine, live: dict[str, Any], function: str, concurrent: bool
) -> None:
    device = machine.devices[0]
    if concurrent:
        device = CallbackDevice()
        machine.create(device)
        assert code(lib.hdvlab_device_set_concurrent(device.handle, 1)) == machine.add_slot(device, 1) == S_OK
        machine.place(device, 1, PLACE + 0x100_0000)
        live["HDV_DEVICE"] = device.handle
    seen: list[int] = []
    arguments = _arguments(function, live)
    for n, (kind, name) in enumerate(PROTOTYPES[function]):
        if name == "slot" and kind == "uint32_t":
            arguments[n] = int(concurrent)
        if name == "size":
            arguments[n] = 4

    def read(*_: int) -> int:
        seen.append(code(getattr(lib, function)(*arguments)))
        return 0

    device.read = read
    answers: list[tuple[int, int]] = []
    with Threads() as threads:
        threads.start(lambda: answers.append(machine.read(PLACE + 0x100_0000 * concurrent, 4)))
    assert answers == [(S_OK, 0)]
    invalid = HResult.ERROR_INVALID_STATE
    assert (seen[0] == invalid) == (function in WAITS_FOR_CALLBACKS | INVALID_ANYWHERE), hex(seen[0])
    if function == "hdvlab_trace_pin":
        lib.hdvlab_trace_unpin(live["HDVLAB_TRACE"])
    for kind in ("HCS_SYSTEM", "HDV_HOST", "HDVLAB_APERTURE", "HDVLAB_REGISTER_FILE"):  # what it made, it may end
        made = [n for n, (t, _) in enumerate(PROTOTYPES[function]) if t == kind + " *"]
        ends = {
            "HCS_SYSTEM": lib.hdvlab_system_close,
            "HDV_HOST": lib.HdvTeardownDeviceHost,
            "HDVLAB_APERTURE": lib.hdvlab_aperture_release,
            "HDVLAB_REGISTER_FILE": lib.hdvlab_register_file_close,
        }
        if made and seen[0] == S_OK:
            assert code(ends[kind](arguments[made[0]][0])) == S_OK


@pytest.mark.fault(41)
def test_a_million_forged_handles_find_nothing(live: dict[str, Any]) -> None:
    seeded, cast, probe, refused = random.Random(20260802), ffi.cast, lib.hdvlab_device_leave, HResult.E_HANDLE.signed
    voids = ffi.typeof("void *")
    numbers = (seeded.getrandbits(64) for _ in range(1_000_000))
    assert all(probe(cast(voids, number)) == refused for number in numbers)


@pytest.mark.fault(41)
def test_of_all_handles_near_a_live_one_only_that_one_is_live(live: dict[str, Any]) -> None:
    number = _number(live["HDV_DEVICE"])
    near = [(number >> 32) + delta << 32 | index for delta in (-2, -1, 0, 1) for index in range(0x10000)]
    probe, refused = lib.hdvlab_device_leave, HResult.E_HANDLE.signed
    assert [at for at in near if probe(_handle(at)) != refused] == [number]


@pytest.mark.fault(40)
def test_a_stale_handle_stays_stale_when_its_entry_is_used_again(machine: Machine) -> None:
    stale: list[Any] = []
    for _ in range(64):
        out = ffi.new("void **")
        assert code(lib.HdvInitializeDeviceHost(machine.system, out)) == S_OK
        assert _number(out[0]) not in map(_number, stale)
        stale.append(out[0])
        assert code(lib.HdvTeardownDeviceHost(out[0])) == S_OK
        assert {code(lib.HdvTeardownDeviceHost(handle)) for handle in stale} == {HResult.E_HANDLE}


@pytest.mark.fault(40)
def test_every_call_with_the_device_of_a_host_that_is_torn_down_is_refused(live: dict[str, Any]) -> None:
    assert code(lib.HdvTeardownDeviceHost(live["HDV_HOST"])) == S_OK
    for function, position, kind in HANDLES:
        if kind in ("HDV_DEVICE", "HDV_HOST"):
            arguments = _arguments(function, live)
            assert arguments[position] is live[kind]
            assert code(getattr(lib, function)(*arguments)) == HResult.E_HANDLE, function


@pytest.mark.fault(40)
def test_a_host_outlives_the_close_of_its_machine_and_serves_nobody(live: dict[str, Any]) -> None:
    assert code(lib.hdvlab_system_close(live["HCS_SYSTEM"])) == S_OK
    for function, _, kind in HANDLES:
        if kind == "HCS_SYSTEM":
            assert code(getattr(lib, function)(*_arguments(function, live))) == HResult.E_HANDLE, function
    assert code(lib.HdvReadGuestMemory(live["HDV_DEVICE"], 0, 1, ffi.new("uint8_t *"))) == HResult.ERROR_INVALID_STATE


@pytest.mark.parametrize("handle", [0, -1, 0x10000, 1 << 32 | 0xFFFF, 0x7FFF_0000_1000])
def test_giving_back_a_pin_that_is_none_does_nothing(live: dict[str, Any], handle: int) -> None:
    before = lib.hdvlab_live_handles()
    lib.hdvlab_trace_unpin(_handle(handle))
    lib.hdvlab_trace_unpin(_handle(_number(live["HDVLAB_TRACE"]) + (1 << 32)))
    for kind in KINDS:
        if kind != "HDVLAB_TRACE":  # a pin of the trace is not to be had with another handle
            for _ in range(4):
                lib.hdvlab_trace_unpin(live[kind])
    assert lib.hdvlab_live_handles() == before
    assert code(lib.hdvlab_trace_state(live["HDVLAB_TRACE"], ffi.new("HDVLAB_TRACE_STATE *"))) == S_OK


@pytest.mark.fault(43)
def test_256_devices_live_on_one_host_and_a_name_is_given_once(machine: Machine) -> None:
    device = CallbackDevice()
    for _ in range(256):
        device.instance_id = CallbackDevice.new_instance_id()
        assert device.create(machine.host) == S_OK
        assert device.create(machine.host) == HResult.ERROR_ALREADY_EXISTS
    assert machine.teardown() == S_OK
    assert device.names() == ["teardown"] * 256


def test_the_table_of_handles_ends_with_an_error_and_recovers(machine: Machine) -> None:
    out, hosts = ffi.new("void **"), []
    while (hresult := code(lib.HdvInitializeDeviceHost(machine.system, out))) == S_OK:
        hosts.append(out[0])
    assert hresult == HResult.E_OUTOFMEMORY
    assert len(hosts) > 60_000
    assert CallbackDevice().create(machine.host) == HResult.E_OUTOFMEMORY
    assert code(lib.hdvlab_embedded_create(1 << 20, 0, ffi.NULL, out)) == HResult.E_OUTOFMEMORY
    for host in reversed(hosts):
        assert code(lib.HdvTeardownDeviceHost(host)) == S_OK
    machine.create(CallbackDevice())
