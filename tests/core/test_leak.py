"""A thousand lives leave nothing: no handle, descriptor, mapping, thread or byte."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from .register_scaffold import RegisterDevice, register
from .scaffold import (
    CLASS_ID,
    PLACE,
    S_OK,
    SLACK,
    CallbackDevice,
    Failure,
    Machine,
    Recording,
    Threads,
    code,
    happens,
    resident,
)


def _held() -> dict[str, int]:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        ours = sum("hdvlab" in line or "memfd" in line or ".col" in line for line in maps)
    return {
        "handles": lib.hdvlab_live_handles(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mappings": ours,
        "threads": len(os.listdir("/proc/self/task")),
    }


class _Mallinfo(ctypes.Structure):
    """Ref: mallinfo(3). Counts the main arena, from which the thread that runs the tests allocates."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "ford", "keep"]
    ]


def _allocated() -> int:
    """Bytes that malloc has given out and not got back; 0 under AddressSanitizer, which has its own."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    gc.collect()
    now = mallinfo()
    return int(now.uordblks + now.hblkhd)


def _mapped() -> int:
    """Every mapping there is, ours or not."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return sum(1 for _ in maps)


def _life(device: CallbackDevice, events: list[int], ends: int) -> None:
    """One machine that does all there is; some of what it opens it closes, and it ends one way or another."""
    machine = Machine()
    device.instance_id = CallbackDevice.new_instance_id()
    machine.running(device)
    hresult, mapped = device.aperture(0, 8192)
    assert hresult == S_OK
    if ends & 4:
        assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, mapped)) == S_OK
    assert device.aperture(4096, 4096, write_protected=True)[0] == S_OK
    assert device.ring(events[0], 0, 0, 0, 1 << 31) == S_OK
    assert device.ring(events[0], 0, 8, 1, 3) == S_OK
    assert machine.write(PLACE, 1) == S_OK
    assert os.read(events[0], 8) == (1).to_bytes(8, "little")
    if ends & 8:
        assert device.unring(0, 0, 0, 1 << 31) == S_OK
    assert device.section(events[1], 0, 1) == S_OK
    assert machine.write(PLACE + 0x1000, ends) == S_OK
    if ends & 16:
        assert device.unsection(0, 1) == S_OK
    assert device.dma_write(0x100, b"sixteen bytes...") == S_OK
    assert device.dma_read(0x100, 16) == (S_OK, b"sixteen bytes...")
    assert device.interrupt() == S_OK
    assert machine.wait_interrupt() == (S_OK, 0)
    if ends & 1:
        assert machine.stop() == S_OK
    if ends & 2:
        assert machine.teardown() == S_OK
    machine.close()
    machine.devices.clear()


@pytest.mark.fault(43)
@pytest.mark.parametrize("seals", [False, True])
def test_a_thousand_machines_leave_nothing(seals: bool) -> None:
    device = CallbackDevice([0xFFFFC000])
    events = [os.eventfd(0, os.EFD_CLOEXEC), os.memfd_create("leak", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)]
    os.ftruncate(events[1], 4096)
    if seals:  # such a section is mapped, another is read and written through its descriptor
        fcntl.fcntl(events[1], fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)

    def lives(count: int) -> None:
        for number in range(count):
            _life(device, events, number)
            device.calls.clear()
            device.memory.clear()

    lives(100)
    held, before, mapped, allocated = _held(), resident(), _mapped(), _allocated()
    lives(1000)
    assert _held() == held
    assert _mapped() - mapped < 50, "a mapping in a life would be 1000"
    # malloc's smallest piece is 32 bytes: one in a life would be 1000 of them. The interpreter's own come and go.
    assert _allocated() - allocated < 1000 * 32
    assert resident() - before < SLACK
    for fd in events:
        os.close(fd)


@pytest.mark.fault(43)
def test_fifty_recordings_leave_nothing(tmp_path: Path) -> None:
    def life(number: int) -> None:
        recording = Recording(tmp_path / f"trace{number}")
        machine = Machine(recording)
        machine.running(CallbackDevice())
        machine.close()
        recording.close()

    life(0)
    held = _held()
    for number in range(1, 51):
        life(number)
    assert _held() == held


@pytest.mark.fault(43)
def test_register_files_leave_nothing() -> None:
    device = RegisterDevice([register(0)])
    machine = Machine()
    held = _held()
    for _ in range(300):
        device.instance_id = CallbackDevice.new_instance_id()
        assert device.create(machine.host) == S_OK
        assert machine.teardown() == S_OK
        out = ffi.new("void **")
        assert code(lib.HdvInitializeDeviceHost(machine.system, out)) == S_OK
        machine.host = out[0]
    assert _held() == held
    machine.close()
    assert device.close() == S_OK


@pytest.mark.fault(42)
@pytest.mark.parametrize("step", ["initialize", "set_configuration", "get_details", "start"])
def test_failing_starts_leave_nothing(step: str) -> None:
    device = CallbackDevice()

    def fail() -> None:
        raise Failure(HResult.E_FAIL)

    device.during[step] = fail
    held = _held()
    for _ in range(100):
        machine = Machine()
        device.instance_id = CallbackDevice.new_instance_id()
        assert device.create(machine.host) == S_OK
        machine.add_slot(device, configuration=["a", "b"])
        assert machine.start() == HResult.E_FAIL
        machine.close()
    assert _held() == held


@pytest.mark.fault(43)
def test_a_thousand_hot_plugs_leave_nothing() -> None:
    machine = Machine()
    assert machine.start() == S_OK
    device = CallbackDevice()
    held = _held()
    for _ in range(1000):
        device.instance_id = CallbackDevice.new_instance_id()
        assert device.create(machine.host) == S_OK
        assert machine.add_slot(device, 3, ["key=value"]) == S_OK
        assert machine.remove_slot(3) == S_OK
    assert _held() == held
    assert device.names().count("teardown") == 1000
    machine.close()


def test_hosts_that_are_torn_down_while_devices_are_made_lose_none(machine: Machine) -> None:
    device, out = CallbackDevice(), ffi.new("void **")
    class_id, table, create = guid(CLASS_ID), device.interface, lib.HdvCreateDeviceInstance

    def make(host: object, begun: threading.Event, made: list[int]) -> None:
        handle = ffi.new("void **")
        names = [guid(CallbackDevice.new_instance_id()) for _ in range(300)]
        begun.set()
        made.append(0)
        for name in names:
            if create(host, 1, class_id, name, table, ffi.NULL, handle):
                break
            made[0] += 1

    for _ in range(200):
        assert code(lib.HdvInitializeDeviceHost(machine.system, out)) == S_OK
        begun = threading.Event()
        made: list[int] = []
        device.calls.clear()
        with Threads() as threads:
            threads.start(make, out[0], begun, made)
            happens(begun)
            assert code(lib.HdvTeardownDeviceHost(out[0])) == S_OK
        assert device.names() == ["teardown"] * made[0]
