"""Device hosts for proxies, both halves in one process: no socket, one object handed to the other."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid
from hdvlab.trace.schema import Kind

from .proxy_scaffold import IID_HOST, ProxyHost, Support, add_slot, place, slot_device
from .scaffold import CLASS_ID, DEADLINE, PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code, happens, pairs


@pytest.fixture
def support(machine: Machine) -> Iterator[Support]:
    support = Support(machine)
    yield support
    assert support.references == 1


@pytest.fixture
def host(support: Support) -> Iterator[ProxyHost]:
    host = ProxyHost(support.object)
    yield host
    host.teardown()


def running(machine: Machine, host: ProxyHost) -> CallbackDevice:
    device = host.create(CallbackDevice())
    assert machine.start() == S_OK
    assert add_slot(machine, device.instance_id) == S_OK
    place(machine)
    slot_device(machine, index=0)
    device.calls.clear()
    return device


def test_a_device_of_another_host_lives_as_any_other(machine: Machine, host: ProxyHost) -> None:
    device = host.create(CallbackDevice())
    machine.add_slot(device, configuration=["key=value", "", "snow=\u2603"])
    assert machine.start() == S_OK
    assert device.calls == [
        ("initialize",),
        ("set_configuration", ["key=value", "", "snow=\u2603"]),
        ("get_details", 6),
        ("start",),
    ]
    place(machine)
    assert machine.config_read(0, 0) == (S_OK, 0x11E8_1234)
    assert machine.write(PLACE + 8, 0x1122_3344_5566_7788, 8) == S_OK
    assert machine.read(PLACE + 8, 8) == (S_OK, 0x1122_3344_5566_7788)
    for size in (1, 2, 4, 8):
        machine.read(PLACE, size)
    assert [call[3] for call in device.calls if call[0] == "read"] == [8, 1, 2, 4, 8]
    assert machine.stop() == S_OK
    assert device.names()[-2:] == ["stop", "teardown"]


def test_registering_tells_process_and_ipc_handle(machine: Machine, support: Support, host: ProxyHost) -> None:
    ((pid, ipc),) = support.registered
    assert pid == os.getpid()
    assert ipc != 0


def test_its_rows_are_those_of_any_other_device(machine: Machine, recording: Recording, host: ProxyHost) -> None:
    device = running(machine, host)
    device.write = lambda *_: device.interrupt()  # type: ignore[assignment,return-value]
    since = len(recording)
    machine.write(PLACE, 5)
    write, interrupt = recording.rows(since=since)
    assert (write["kind"], write["device"], write["value"], write["status"]) == (Kind.mmio_write, 0, 5, S_OK)
    assert (interrupt["kind"], interrupt["cause"], interrupt["status"]) == (Kind.interrupt, write["row"], S_OK)
    assert machine.wait_interrupt() == (S_OK, 0)


def test_such_a_host_reaches_memory_through_apertures_only(
    machine: Machine, recording: Recording, host: ProxyHost
) -> None:
    device = running(machine, host)
    since = len(recording)
    assert device.dma_read(0x1000, 16)[0] == HResult.E_ACCESSDENIED
    assert device.dma_write(0x1000, b"12345678") == HResult.E_ACCESSDENIED
    machine.ram_write(0x1004, b"guest")
    hresult, address = device.aperture(0x1004, 100)
    assert hresult == S_OK
    assert bytes(ffi.buffer(address, 5)) == b"guest"
    ffi.memmove(address, b"GUEST", 5)
    assert machine.ram_read(0x1004, 5) == (S_OK, b"GUEST")
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, address)) == S_OK
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, address)) == HResult.ERROR_NOT_FOUND
    rows = recording.rows(since=since)
    assert pairs(rows, "kind", "address", "status") == [
        (Kind.dma_read, 0x1000, HResult.E_ACCESSDENIED),
        (Kind.dma_write, 0x1000, HResult.E_ACCESSDENIED),
        (Kind.aperture_map, 0x1004, S_OK),
        (Kind.aperture_unmap, 0x1004, S_OK),
        (Kind.aperture_unmap, 0, HResult.ERROR_NOT_FOUND),
    ]
    assert rows[0]["size"] == 16
    assert rows[1]["value"] == int.from_bytes(b"12345678", "little")


def test_doorbells_and_sections_are_the_owners_to_make(machine: Machine, recording: Recording, host: ProxyHost) -> None:
    device = running(machine, host)
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    since = len(recording)
    assert device.ring(event, 0, 0x10, 3) == HResult.E_ACCESSDENIED
    assert device.unring(0, 0x10, 3) == HResult.E_ACCESSDENIED
    assert device.section(event) == HResult.E_ACCESSDENIED
    assert device.unsection() == HResult.E_ACCESSDENIED
    assert pairs(recording.rows(since=since), "kind", "address", "status") == [
        (Kind.doorbell_register, 0x10, HResult.E_ACCESSDENIED),
        (Kind.doorbell_unregister, 0x10, HResult.E_ACCESSDENIED),
        (Kind.section_map, 0, HResult.E_ACCESSDENIED),
        (Kind.section_unmap, 0, HResult.E_ACCESSDENIED),
    ]
    mine = slot_device(machine)
    assert code(lib.HdvRegisterDoorbell(mine, 0, 0x10, 0, 1 << 31, ffi.cast("void *", event))) == S_OK
    machine.write(PLACE + 0x10, 1)
    assert os.eventfd_read(event) == 1
    assert ("write", 0, 0x10, 4, 1) not in device.calls
    os.close(event)


def test_apertures_keep_the_machines_rules(machine: Machine, host: ProxyHost) -> None:
    device = running(machine, host)
    assert device.aperture(1 << 30, 4096)[0] == HResult.ERROR_NOACCESS
    assert device.aperture((1 << 64) - 1, 2)[0] == HResult.ERROR_ARITHMETIC_OVERFLOW
    machine.config_write(0, 4, 2, 2)
    assert device.aperture(0, 4096)[0] == HResult.E_ACCESSDENIED
    assert device.interrupt() == HResult.E_ACCESSDENIED
    machine.config_write(0, 4, 2, 6)
    for _ in range(1024):
        assert device.aperture(0, 4096)[0] == S_OK
    assert device.aperture(0, 4096)[0] == HResult.ERROR_NOT_ENOUGH_QUOTA


def test_before_it_is_powered_on_a_device_has_no_machine(machine: Machine, host: ProxyHost) -> None:
    device = host.create(CallbackDevice())
    assert device.aperture(0, 4096)[0] == HResult.ERROR_INVALID_STATE
    assert device.interrupt() == HResult.ERROR_INVALID_STATE
    assert device.dma_read(0, 4)[0] == HResult.ERROR_INVALID_STATE


@pytest.mark.parametrize("step", ["initialize", "set_configuration", "get_details", "start"])
def test_a_failing_step_fails_the_plug_with_its_hresult(machine: Machine, host: ProxyHost, step: str) -> None:
    from .scaffold import Failure

    device = host.create(CallbackDevice())

    def fail() -> None:
        raise Failure(HResult.E_OUTOFMEMORY)

    device.during[step] = fail
    assert machine.start() == S_OK
    assert add_slot(machine, device.instance_id) == HResult.E_OUTOFMEMORY
    assert device.names()[-1] == "teardown"
    again = host.create(CallbackDevice())
    assert add_slot(machine, again.instance_id) == S_OK


def test_what_a_device_answers_goes_to_the_guest_and_failures_are_all_ones(machine: Machine, host: ProxyHost) -> None:
    from .scaffold import Failure

    device = running(machine, host)

    def fail(*_: int) -> int:
        raise Failure(HResult.E_FAIL)

    device.read = fail
    assert machine.read(PLACE) == (HResult.E_FAIL, 0xFFFF_FFFF)
    device.config_read = fail
    assert machine.config_read(0, 0x40) == (HResult.E_FAIL, 0xFFFF_FFFF)


def test_the_second_host_for_a_vm_in_one_process_is_refused(machine: Machine, host: ProxyHost) -> None:
    other = Support(machine)
    ProxyHost(other.object, host.vm_id, expect=0xC0370030)
    assert other.references == 1
    assert other.registered == []
    assert host.teardown() == S_OK
    again = ProxyHost(other.object, host.vm_id)
    assert again.teardown() == S_OK
    assert other.references == 1


@pytest.mark.fault(43)
def test_hosts_that_come_and_go_leave_the_machine_as_it_was(machine: Machine) -> None:
    support, vm_id, out = Support(machine), uuid.uuid4(), ffi.new("void **")
    for flags in (0, 1) * 50:
        assert code(lib.HdvInitializeDeviceHostForProxyEx(guid(vm_id), support.object, flags, out)) == S_OK
        host = out[0]
        for call in (
            lib.HdvInitializeDeviceHostForProxy(guid(vm_id), support.object, out),
            lib.HdvInitializeDeviceHostForProxyEx(guid(vm_id), support.object, flags, out),
        ):
            assert code(call) == 0xC0370030
        assert code(lib.HdvTeardownDeviceHost(host)) == S_OK
        assert code(lib.HdvTeardownDeviceHost(host)) == HResult.E_HANDLE
        assert support.references == 1


def test_what_registering_fails_with_is_what_the_call_fails_with(machine: Machine) -> None:
    refusing = Support(machine, refuse=HResult.E_ACCESSDENIED)
    ProxyHost(refusing.object, expect=HResult.E_ACCESSDENIED)
    assert refusing.references == 1


def test_an_object_of_another_make_is_no_device_host(machine: Machine) -> None:
    stranger, ipc = Support(None), ffi.new("uint64_t *")
    assert code(lib.HdvProxyDeviceHost(machine.system, stranger.object, 1, ipc)) == HResult.E_NOINTERFACE
    assert stranger.references == 1
    host = ProxyHost(stranger.object)  # no machine, but a host
    out = ffi.new("void **")
    assert code(lib.HdvInitializeDeviceHostForProxyEx(guid(uuid.uuid4()), stranger.object, 2, out)) == (
        HResult.E_INVALIDARG
    )
    assert host.wait_machine() == HResult.ERROR_TIMEOUT
    assert host.teardown() == S_OK
    assert stranger.references == 1


def test_the_object_answers_to_its_two_names(machine: Machine) -> None:
    kept: list[Any] = []

    class Keeping(Support):
        def _register(self, this: Any, host: Any, pid: int, ipc: Any) -> int:
            out, unknown = ffi.new("void **"), ffi.new("IUnknown **")
            assert host.lpVtbl.QueryInterface(host, guid(IID_HOST), out) == 0
            same = ffi.cast("IVmDeviceHost *", out[0])
            wrong = code(host.lpVtbl.QueryInterface(host, guid(uuid.uuid4()), out))
            assert (wrong, out[0]) == (HResult.E_NOINTERFACE, ffi.NULL)
            assert code(host.lpVtbl.QueryInterface(host, guid(IID_HOST), ffi.NULL)) == HResult.E_POINTER
            nobody = code(host.lpVtbl.GetDeviceInstance(host, guid(CLASS_ID), guid(uuid.uuid4()), unknown))
            assert nobody == HResult.ERROR_NOT_FOUND
            kept.append(same)
            return 0

    keeping = Keeping(machine)
    host = ProxyHost(keeping.object)
    assert host.teardown() == S_OK
    (same,) = kept  # it outlives its host, and says that there is none
    unknown = ffi.new("IUnknown **")
    gone = code(same.lpVtbl.GetDeviceInstance(same, guid(CLASS_ID), guid(uuid.uuid4()), unknown))
    assert gone == HResult.E_HANDLE
    assert same.lpVtbl.Release(same) == 0


@pytest.mark.fault(39)
def test_tearing_down_the_device_host_takes_its_devices_out_of_the_machine(
    machine: Machine, recording: Recording, host: ProxyHost
) -> None:
    device = running(machine, host)
    idle = host.create(CallbackDevice())
    assert device.aperture(0, 4096)[0] == S_OK
    since = len(recording)
    assert host.teardown() == S_OK
    assert device.names() == ["stop", "teardown"]
    assert idle.names() == ["teardown"]
    assert [row["kind"] for row in recording.rows(since=since)] == [Kind.stop, Kind.teardown, Kind.aperture_unmap]
    assert machine.read(PLACE)[1] == 0xFFFF_FFFF
    assert host.teardown() == HResult.E_HANDLE


def test_the_slot_of_a_host_that_is_gone_takes_a_new_host(machine: Machine, support: Support, host: ProxyHost) -> None:
    device = running(machine, host)
    assert add_slot(machine, device.instance_id) == HResult.ERROR_ALREADY_EXISTS
    host.teardown()
    again = ProxyHost(support.object)
    device.calls.clear()
    again.create(device)
    assert add_slot(machine, device.instance_id) == S_OK
    assert machine.read(PLACE)[1] == 0xFFFF_FFFF, "the guest places the new one's BARs itself"
    place(machine)
    assert machine.read(PLACE) == (S_OK, 0)
    assert again.teardown() == S_OK


@pytest.mark.fault(39)
def test_tearing_down_waits_for_a_callback_that_runs(machine: Machine, host: ProxyHost) -> None:
    import threading

    device = running(machine, host)
    inside, go = threading.Event(), threading.Event()
    torn: list[int] = []

    def slow(*_: int) -> int:
        torn.append(code(lib.HdvTeardownDeviceHost(host.handle)))  # from a callback: refused
        inside.set()
        happens(go)
        return 9

    device.read = slow
    with Threads() as threads:
        threads.start(lambda: torn.append(machine.read(PLACE)[1]))
        happens(inside)
        threads.start(lambda: torn.append(host.teardown()))
        go.set()
    assert torn[0] == HResult.ERROR_INVALID_STATE
    assert sorted(torn[1:]) == [S_OK, 9]
    assert device.names()[-2:] == ["stop", "teardown"]


def test_closing_the_machine_ends_the_wait_for_it(recording: Recording) -> None:
    machine = Machine(recording)
    support = Support(machine)
    host = ProxyHost(support.object)
    device = running(machine, host)
    assert host.wait_machine() == HResult.ERROR_TIMEOUT
    machine.close()
    assert host.wait_machine() == S_OK
    assert device.names() == ["stop", "teardown"]
    assert device.interrupt() == HResult.ERROR_INVALID_STATE
    assert host.teardown() == S_OK
    assert code(lib.hdvlab_proxy_wait_machine(machine.host, 0)) == HResult.E_HANDLE


def test_hosts_here_and_hosts_elsewhere_serve_one_machine(machine: Machine, host: ProxyHost) -> None:
    here, there = CallbackDevice(), host.create(CallbackDevice(vendor_id=0x4321))
    machine.create(here)
    machine.add_slot(here, 0)
    machine.add_slot(there, 1)
    assert machine.start() == S_OK
    assert [machine.config_read(slot, 0, 2)[1] for slot in (0, 1)] == [0x1234, 0x4321]
    assert code(lib.hdvlab_proxy_wait_machine(machine.host, 0)) == HResult.E_NOTIMPL
    machine.stop()
    assert there.names()[-1] == "teardown"


def test_an_empty_slot_has_no_device_handle(machine: Machine) -> None:
    out = ffi.new("void **")
    assert code(lib.hdvlab_system_device(machine.system, 32, out)) == HResult.E_INVALIDARG
    assert code(lib.hdvlab_system_device(machine.system, 3, out)) == HResult.ERROR_NOT_FOUND


def test_an_aperture_of_no_bytes_is_a_row_of_the_machines_too(
    machine: Machine, recording: Recording, host: ProxyHost
) -> None:
    device = running(machine, host)
    assert device.aperture(0x1000, 0)[0] == HResult.E_INVALIDARG
    assert pairs(recording.rows(lib.HDVLAB_APERTURE_MAP), "address", "size", "status") == [
        (0x1000, 0, HResult.E_INVALIDARG)
    ]


def test_instances_that_came_and_went_leave_nothing_in_a_host_that_stays(machine: Machine, host: ProxyHost) -> None:
    assert machine.start() == S_OK
    live = []
    for _ in range(10):
        device = host.create(CallbackDevice())
        assert add_slot(machine, device.instance_id) == S_OK
        assert code(lib.hdvlab_system_remove_slot(machine.system, 0)) == S_OK
        assert device.names()[-1] == "teardown"
        live.append(int(lib.hdvlab_live_handles()))
    assert live == [live[0]] * 10


def test_two_threads_that_ask_for_one_instance_at_once_both_find_it(machine: Machine, host: ProxyHost) -> None:
    answers: list[int] = []
    devices = []  # their callbacks are good until their host ends

    def find(device: CallbackDevice, together: threading.Barrier) -> None:
        out = ffi.new("void **")
        class_id, instance_id = guid(CLASS_ID), guid(device.instance_id)
        together.wait(DEADLINE)
        answers.append(code(lib.hdvlab_system_find(machine.system, class_id, instance_id, out)))

    for _ in range(100):
        device, together = host.create(CallbackDevice()), threading.Barrier(2)
        devices.append(device)
        with Threads() as threads:
            for _ in range(2):
                threads.start(find, device, together)
    assert answers == [S_OK] * 200


def test_an_instance_is_found_whole_or_not_at_all_while_it_is_being_made(machine: Machine, host: ProxyHost) -> None:
    devices = [CallbackDevice() for _ in range(50)]
    class_id, found = guid(CLASS_ID), []

    def find() -> None:
        out = ffi.new("void **")
        for device in devices:
            instance_id = guid(device.instance_id)
            while code(lib.hdvlab_system_find(machine.system, class_id, instance_id, out)) != S_OK:
                pass
            found.append(int(ffi.cast("uintptr_t", out[0])))

    with Threads() as threads:
        threads.start(find)
        for device in devices:
            host.create(device)
    assert len(set(found)) == len(devices)


def test_a_wait_for_the_machine_that_begins_as_the_host_ends_finds_it_or_not(machine: Machine) -> None:
    support = Support(machine)
    answers: list[int] = []

    def wait(host: ProxyHost, together: threading.Barrier) -> None:
        together.wait(DEADLINE)
        answers.append(host.wait_machine(1000 * int(DEADLINE)))

    for _ in range(100):
        host, together = ProxyHost(support.object), threading.Barrier(2)
        with Threads() as threads:
            threads.start(wait, host, together)
            together.wait(DEADLINE)
            assert host.teardown() == S_OK
    assert set(answers) <= {S_OK, HResult.E_HANDLE}
