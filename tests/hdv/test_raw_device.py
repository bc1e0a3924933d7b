"""A device written to HDV's own names, from the first callback to the last."""

# ruff: noqa: F403, F405 - the names as a reader of Microsoft's pages would have them

from __future__ import annotations

import gc
import os
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab._core import ffi
from hdvlab.errors import (
    AccessError,
    BackendUnavailableError,
    GuestMemoryError,
    HandleError,
    HdvError,
    HResult,
    StateError,
)
from hdvlab.hdv import *
from hdvlab.hdv.raw import arguments
from hdvlab.systems import EmbeddedMachine
from hdvlab.trace.schema import Origin

CLASS_ID = uuid.UUID("11111111-2222-3333-4444-555555555555")
PLACE = 0xE000_0000
RAM = 0x10_0000


class Board:
    """The context of a device: what its callbacks remember."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.config = bytearray(256)
        self.memory = bytearray(8192)


def _interface(**own: Any) -> HDV_PCI_DEVICE_INTERFACE:
    """Ten plain callbacks, some of them replaced."""

    def write(board: Board, bar: Any, offset: int, value: bytes) -> None:
        board.calls.append(("write", bar, offset, value))
        board.memory[offset : offset + len(value)] = value

    def read(board: Board, bar: Any, offset: int, length: int) -> bytes:
        board.calls.append(("read", bar, offset, length))
        return bytes(board.memory[offset : offset + length])

    def write_config(board: Board, offset: int, value: int) -> None:
        board.config[offset : offset + 4] = value.to_bytes(4, "little")

    def note(name: str) -> Any:
        return lambda board, *values: board.calls.append((name, *values))

    slots: dict[str, Any] = {
        "Initialize": note("initialize"),
        "Teardown": note("teardown"),
        "SetConfiguration": note("set_configuration"),
        "GetDetails": lambda board, count: (
            HDV_PCI_PNP_ID(VendorID=0x1234, DeviceID=0x11E8, BaseClass=0xFF),
            [0xFFFFE000],
        ),
        "Start": note("start"),
        "Stop": note("stop"),
        "ReadConfigSpace": lambda board, offset: int.from_bytes(board.config[offset : offset + 4], "little"),
        "WriteConfigSpace": write_config,
        "ReadInterceptedMemory": read,
        "WriteInterceptedMemory": write,
    }
    return HDV_PCI_DEVICE_INTERFACE(HdvPciDeviceInterfaceVersion1, **slots | own)


class Bench:
    """A machine with one raw device."""

    def __init__(self) -> None:
        self.machine: Any = EmbeddedMachine(1 << 22)
        self.host = HdvInitializeDeviceHost(self.machine)
        self.board = Board()
        self.torn_down = False

    def run(self, **own: Any) -> HDV_DEVICE:
        instance = uuid.uuid4()
        self.interface = _interface(**own)
        self.device = HdvCreateDeviceInstance(
            self.host, HdvDeviceTypePCI, CLASS_ID, instance, self.interface, self.board
        )
        self.machine.add_slot(0, CLASS_ID, instance, ["key=value", "\U0001f514"])
        self.machine.start()
        self.machine.config_write(0, 0x10, 4, PLACE, Origin.guest, 0)
        self.machine.config_write(0, 4, 2, 6, Origin.guest, 0)
        return self.device

    def read(self, offset: int, size: int = 4) -> tuple[int, int]:
        value, hresult = self.machine.read(PLACE + offset, size, Origin.guest, 0)
        return value, hresult & 0xFFFFFFFF

    def write(self, offset: int, value: int, size: int = 4) -> int:
        return self.machine.write(PLACE + offset, size, value, Origin.guest, 0) & 0xFFFFFFFF

    def close(self) -> None:
        if self.machine is not None:
            if not self.torn_down:
                HdvTeardownDeviceHost(self.host)
            self.machine.close()
            self.machine = None


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_a_devices_life_in_order_with_the_context_first(bench: Bench) -> None:
    bench.run()
    assert bench.write(0x10, 0x1122) == HResult.S_OK
    assert bench.read(0x10, 2) == (0x1122, HResult.S_OK)
    assert bench.machine.config_read(0, 0, 4, Origin.guest, 0)[0] == 0x11E8_1234
    HdvTeardownDeviceHost(bench.host)
    bench.torn_down = True
    assert bench.board.calls == [
        ("initialize",),
        ("set_configuration", ["key=value", "\U0001f514"]),
        ("start",),
        ("write", HDV_PCI_BAR0, 0x10, b"\x22\x11\0\0"),
        ("read", HDV_PCI_BAR0, 0x10, 2),
        ("stop",),
        ("teardown",),
    ]
    assert bench.interface.errors == []
    with pytest.raises(HandleError):
        HdvTeardownDeviceHost(bench.host)


def test_the_table_is_copied_and_its_context_kept_until_teardown(bench: Bench) -> None:
    bench.run()
    bench.interface.ReadInterceptedMemory = None
    kept = weakref.ref(bench.board)
    del bench.board, bench.interface
    gc.collect()
    assert kept() is not None
    assert bench.read(0)[1] == HResult.S_OK
    bench.close()
    gc.collect()
    assert kept() is None


@pytest.mark.fault(51)
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(), MemoryError(), StopIteration(), RecursionError()])
def test_what_a_callback_raises_is_an_hresult_for_the_guest_and_an_error_in_the_table(
    bench: Bench, error: BaseException
) -> None:
    def fail(*arguments: Any) -> Any:
        raise error

    bench.run(ReadInterceptedMemory=fail, WriteInterceptedMemory=fail)
    assert bench.read(0, 2) == (0xFFFF, HResult.E_UNEXPECTED)
    assert bench.write(0, 1) == HResult.E_UNEXPECTED
    assert bench.interface.errors == [("ReadInterceptedMemory", error), ("WriteInterceptedMemory", error)]


def test_a_callback_names_its_own_hresult_by_raising_or_by_returning_it(bench: Bench) -> None:
    def fail(*arguments: Any) -> Any:
        raise HdvError("busy with something", HResult.ERROR_TIMEOUT)

    bench.run(ReadInterceptedMemory=fail, WriteInterceptedMemory=lambda *arguments: HResult.E_ACCESSDENIED)
    assert bench.read(0)[1] == HResult.ERROR_TIMEOUT
    assert bench.write(0, 1) == HResult.E_ACCESSDENIED


@pytest.mark.fault(55)
@pytest.mark.parametrize("answer", [None, "abc", 1.5, -1, 1 << 32, b"abc", b"12345", True])
def test_an_answer_that_is_none_is_told_and_never_cut(bench: Bench, answer: Any) -> None:
    bench.run(ReadInterceptedMemory=lambda *arguments: answer, ReadConfigSpace=lambda *arguments: answer)
    assert bench.read(0) == (0xFFFF_FFFF, HResult.E_UNEXPECTED)
    bench.machine.config_read(0, 0x40, 4, Origin.guest, 0)
    assert {name for name, _ in bench.interface.errors} == {"ReadInterceptedMemory", "ReadConfigSpace"}
    assert "returned" in str(bench.interface.errors[0][1])


def test_errors_are_counted_beyond_those_that_are_kept(bench: Bench) -> None:
    bench.run(WriteInterceptedMemory=lambda *arguments: "nothing")
    for _ in range(150):
        bench.write(0, 1)
    assert len(bench.interface.errors) == 100
    assert bench.interface.error_count == 150


@pytest.mark.fault(42)
@pytest.mark.parametrize("step", ["Initialize", "SetConfiguration", "GetDetails", "Start"])
def test_a_step_that_fails_fails_the_start_with_its_hresult(bench: Bench, step: str) -> None:
    with pytest.raises(HdvError) as caught:
        bench.run(**{step: lambda *arguments: HResult.ERROR_NOT_FOUND if step != "GetDetails" else 1 / 0})
    assert caught.value.hresult == (HResult.E_UNEXPECTED if step == "GetDetails" else HResult.ERROR_NOT_FOUND)
    assert bench.board.calls[-1] == ("teardown",)


def test_ctrl_c_in_teardown_reaches_who_tears_down(bench: Bench) -> None:
    def pressed(board: Board) -> None:
        raise KeyboardInterrupt

    bench.run(Teardown=pressed)
    with pytest.raises(KeyboardInterrupt):
        HdvTeardownDeviceHost(bench.host)
    bench.torn_down = True


@pytest.mark.parametrize("slot", ["Initialize", "Teardown", "ReadInterceptedMemory", "WriteConfigSpace"])
def test_an_empty_slot_and_a_wrong_version_or_type_are_refused(bench: Bench, slot: str) -> None:
    for kind, interface in (
        (HdvDeviceTypePCI, _interface(**{slot: None})),
        (HdvDeviceTypeUndefined, _interface()),
        (2, _interface()),
        (HdvDeviceTypePCI, HDV_PCI_DEVICE_INTERFACE(HdvPciDeviceInterfaceVersionInvalid)),
    ):
        with pytest.raises(AccessError) as caught:
            HdvCreateDeviceInstance(bench.host, kind, CLASS_ID, uuid.uuid4(), interface, bench.board)
        assert caught.value.hresult == HResult.E_INVALIDARG


def test_an_instance_that_exists_or_has_no_id_is_refused(bench: Bench) -> None:
    instance = str(uuid.uuid4())
    HdvCreateDeviceInstance(bench.host, HdvDeviceTypePCI, str(CLASS_ID), instance, _interface(), bench.board)
    with pytest.raises(HdvError) as caught:
        HdvCreateDeviceInstance(bench.host, HdvDeviceTypePCI, CLASS_ID, instance, _interface(), bench.board)
    assert caught.value.hresult == HResult.ERROR_ALREADY_EXISTS
    with pytest.raises(AccessError) as pointer:
        HdvCreateDeviceInstance(bench.host, HdvDeviceTypePCI, None, instance, _interface())  # type: ignore[arg-type]
    assert pointer.value.hresult == HResult.E_POINTER
    with pytest.raises(AccessError) as table:
        HdvCreateDeviceInstance(bench.host, HdvDeviceTypePCI, CLASS_ID, instance, None)
    assert table.value.hresult == HResult.E_POINTER


def test_guest_memory_is_copied_and_mapped(bench: Bench) -> None:
    device = bench.run()
    HdvWriteGuestMemory(device, RAM, b"from the device")
    assert bench.machine.ram_read(RAM, 15) == b"from the device"
    assert HdvReadGuestMemory(device, RAM + 5, 3) == b"the"
    with pytest.raises(GuestMemoryError):
        HdvReadGuestMemory(device, 1 << 40, 4)
    view = HdvCreateGuestMemoryAperture(device, RAM, 4096, False)
    view[0:4] = b"FROM"
    assert bench.machine.ram_read(RAM, 4) == b"FROM"
    HdvDestroyGuestMemoryAperture(device, view)
    with pytest.raises(HdvError) as caught:
        HdvDestroyGuestMemoryAperture(device, view)
    assert caught.value.hresult == HResult.ERROR_NOT_FOUND
    protected = HdvCreateGuestMemoryAperture(device, RAM, 16, True)
    assert protected.readonly
    assert bytes(protected[:4]) == b"FROM"
    HdvDestroyGuestMemoryAperture(device, protected)


@pytest.mark.fault(27)
def test_a_view_that_outlives_its_aperture_reads_zeros_and_harms_nobody(bench: Bench) -> None:
    device = bench.run()
    HdvWriteGuestMemory(device, RAM, b"\xff" * 8)
    view = HdvCreateGuestMemoryAperture(device, RAM, 8, False)
    bench.close()
    assert bytes(view) == bytes(8)
    view[0] = 1


def test_interrupts_reach_the_guest_or_say_why_not(bench: Bench) -> None:
    device = bench.run()
    HdvDeliverGuestInterrupt(device, 0xFEE0_0000, 0x42)
    assert bench.machine.wait_interrupt(0x42, 0) == 0
    with pytest.raises(GuestMemoryError):
        HdvDeliverGuestInterrupt(device, RAM, 0x42)
    with pytest.raises(AccessError):
        HdvDeliverGuestInterrupt(device, 0xFEE0_0000, 1 << 32)
    bench.machine.stop()
    with pytest.raises((StateError, HandleError)):
        HdvDeliverGuestInterrupt(device, 0xFEE0_0000, 0x42)


@pytest.mark.parametrize("sign_extended", [False, True])
def test_a_doorbell_takes_the_write(bench: Bench, sign_extended: bool) -> None:
    device = bench.run()
    event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    flags = HDV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD | HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE
    number = int(flags) - (1 << 32) if sign_extended else flags
    HdvRegisterDoorbell(device, HDV_PCI_BAR0, 0x20, 0, number, event)
    bench.board.calls.clear()
    assert bench.write(0x20, 5) == HResult.S_OK
    assert os.eventfd_read(event) == 1
    assert bench.board.calls == []
    HdvUnregisterDoorbell(device, HDV_PCI_BAR0, 0x20, 0, number)
    with pytest.raises(HdvError) as caught:
        HdvUnregisterDoorbell(device, HDV_PCI_BAR0, 0x20, 0, number)
    assert caught.value.hresult == HResult.ERROR_NOT_FOUND
    HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, 1, event)
    assert bench.write(0x1FF8, 7, 8) == HResult.S_OK
    assert os.eventfd_read(event) == 1
    HdvUnregisterDoorbellPage(device, HDV_PCI_BAR0, 1)
    assert bench.write(0x1FF8, 7, 8) == HResult.S_OK
    assert [name for name, *_ in bench.board.calls] == ["write"]
    os.close(event)


def test_a_section_backs_pages(bench: Bench) -> None:
    device = bench.run()
    fd = os.memfd_create("section")
    os.ftruncate(fd, 8192)
    HdvCreateSectionBackedMmioRange(device, HDV_PCI_BAR0, 1, 1, HdvMmioMappingFlagWriteable, fd, 1)
    assert bench.write(0x1000, 0x55AA, 2) == HResult.S_OK
    assert os.pread(fd, 2, 4096) == b"\xaa\x55"
    assert bench.board.calls[-1] == ("start",)
    HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, 1)
    with pytest.raises(HdvError) as caught:
        HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, 1)
    assert caught.value.hresult == HResult.ERROR_NOT_FOUND
    os.close(fd)


def test_hosts_take_flags_and_refuse_what_is_no_machine(bench: Bench) -> None:
    HdvTeardownDeviceHost(HdvInitializeDeviceHostEx(bench.machine, HdvDeviceHostFlagInitializeComSecurity))
    with pytest.raises(AccessError):
        HdvInitializeDeviceHostEx(bench.machine, 2)
    for wrong in (None, 0x1234, bench.host):
        with pytest.raises(HandleError):
            HdvInitializeDeviceHost(wrong)
    for wrong in ("handle", 1.5, -1, True):
        with pytest.raises(HandleError, match="is no handle"):
            HdvInitializeDeviceHost(wrong)


@pytest.mark.fault(41)
def test_numbers_that_do_not_fit_are_refused_not_cut(bench: Bench) -> None:
    device = bench.run()
    for call in (
        lambda: HdvRegisterDoorbell(device, HDV_PCI_BAR0, 1 << 64, 0, 0, 0),
        lambda: HdvRegisterDoorbell(device, HDV_PCI_BAR0, 0, -1, 0, 0),
        lambda: HdvRegisterDoorbell(device, 1 << 32, 0, 0, 0, 0),
        lambda: HdvRegisterDoorbellPage(device, HDV_PCI_BAR0, -1, 0),
        lambda: HdvDestroySectionBackedMmioRange(device, HDV_PCI_BAR0, 1 << 64),
        lambda: HdvProxyDeviceHost(bench.machine, None, 1 << 32),
    ):
        with pytest.raises(AccessError, match="it is a UINT|it has 32 bits"):
            call()
    with pytest.raises(HandleError, match="no file descriptor"):
        HdvRegisterDoorbell(device, HDV_PCI_BAR0, 0, 0, 0, -1)


def test_a_function_that_the_library_lacks_is_said_to_be_missing() -> None:
    with pytest.raises(BackendUnavailableError, match="HdvNoSuchThing") as caught:
        arguments.function("HdvNoSuchThing")
    assert caught.value.hresult == HResult.E_NOTIMPL


@pytest.mark.parametrize("name", ["HdvInitializeDeviceHostForProxy", "HdvInitializeDeviceHostForProxyEx"])
def test_a_proxy_that_is_none_is_refused(name: str) -> None:
    more = (0,) if name.endswith("Ex") else ()
    with pytest.raises(HdvError) as caught:
        globals()[name](CLASS_ID, None, *more)
    assert caught.value.hresult in (HResult.E_POINTER, HResult.E_NOTIMPL)


@pytest.mark.parametrize("wrong", [5, "text", ffi.new("uint32_t *"), ffi.cast("void *", 3)])
def test_what_is_no_com_object_is_refused_and_not_called(bench: Bench, wrong: Any) -> None:
    for call in (
        lambda: HdvInitializeDeviceHostForProxy(CLASS_ID, wrong),
        lambda: HdvInitializeDeviceHostForProxyEx(CLASS_ID, wrong, 0),
        lambda: HdvProxyDeviceHost(bench.machine, wrong, 1),
    ):
        with pytest.raises(HandleError, match="a cdata pointer to a COM object"):
            call()


def test_arguments_of_a_wrong_type_are_named(bench: Bench) -> None:
    instance_id = uuid.uuid4()
    for match, call in (
        ("deviceClassId is 'x'; it is a uuid", lambda: _create(bench, "x", instance_id)),
        ("deviceInstanceId is 5; it is a uuid", lambda: _create(bench, CLASS_ID, 5)),
        ("deviceType is 'PCI'; it is an integer", lambda: _create(bench, CLASS_ID, instance_id, kind="PCI")),
        ("Start is 7, which cannot be called", lambda: _create(bench, CLASS_ID, instance_id, _interface(Start=7))),
        ("table has no Stop", lambda: _create(bench, CLASS_ID, instance_id, _interface(Stop=None))),
        ("address is '0'; it is an integer", lambda: HdvReadGuestMemory(bench.host, "0", 4)),  # type: ignore[arg-type]
        ("size is 1.5; it is an integer", lambda: HdvReadGuestMemory(bench.host, 0, 1.5)),  # type: ignore[arg-type]
        ("address is None", lambda: HdvWriteGuestMemory(bench.host, None, b"x")),  # type: ignore[arg-type]
        ("is 'x', which is no file", lambda: HdvRegisterDoorbellPage(bench.host, 0, 0, "x")),
    ):
        with pytest.raises(HdvError, match=match):
            call()
    HdvCreateDeviceInstance(bench.host, HdvDeviceTypePCI, CLASS_ID, instance_id, _interface(), Board())
    with pytest.raises(HdvError, match="take another deviceInstanceId"):
        _create(bench, CLASS_ID, instance_id)


def _create(bench: Bench, class_id: Any, instance_id: Any, interface: Any = None, kind: Any = HdvDeviceTypePCI) -> Any:
    return HdvCreateDeviceInstance(bench.host, kind, class_id, instance_id, interface or _interface(), Board())
