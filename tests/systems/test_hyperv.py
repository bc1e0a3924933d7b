"""Hyper-V's machines. What binds Windows' libraries binds ours here, by name: a copy, an instance of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab import Bar, Device, Register
from hdvlab._core import ffi, lib
from hdvlab.device import Fault
from hdvlab.errors import BackendUnavailableError, HdvError, HResult, StateError
from hdvlab.hdv import DeviceHost
from hdvlab.systems.hyperv import FlexibleIov, HyperVMachine, NativeLibraries, compute_system
from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import Origin

from ..core.native import Native, native_library

PLACE = 0xE000_0000


class Multiplier(Device):
    vendor_id, device_id = 0x1234, 0x0D0B

    class bar0(Bar, size=4096):
        VALUE = Register(0x00)
        PRODUCT = Register(0x04)

    def configure(self, configuration: dict[str, str]) -> None:
        self.factor = int(configuration["factor"])

    @bar0.VALUE.on_write
    def _value(self, value: int, old: int) -> None:
        self.bar0.PRODUCT = value * self.factor


class Machine:
    """A compute system with one multiplier, and its guest, which is in the other library."""

    def __init__(self, recorder: Recorder, slots: int = 1, factor: str = "3") -> None:
        self.device = Multiplier()
        self.faults: list[Fault] = []
        self.slot = FlexibleIov(self.device.class_id, uuid.uuid4(), [f"factor={factor}"])
        self.machine = HyperVMachine(
            f"test-{uuid.uuid4()}",
            [self.slot] * slots,
            memory_mb=4,
            trace=recorder.handle,
            libraries=(native_library(),),
        )
        self.host = DeviceHost(self.machine.handle)

    def attach(self) -> Any:
        handle = self.device.attach(self.host, self.slot.instance_id, "multiplier", self.faults.append)
        lib.hdvlab_device_set_index(handle, 0)
        return handle

    @property
    def guest(self) -> Any:
        """The handle for hdvlab_guest_* of the other library."""
        return ffi.cast("void *", int(self.machine._native.ffi.cast("uintptr_t", self.machine._system)))

    def place(self) -> None:
        native, access = Native(), ffi.new("HDVLAB_ACCESS *")
        assert native.hdvlab_guest_config_write(self.guest, access, 0, 0x10, 4, PLACE) == 0
        assert native.hdvlab_guest_config_write(self.guest, access, 0, 4, 2, 6) == 0

    def write(self, offset: int, value: int) -> int:
        return int(Native().hdvlab_guest_write(self.guest, ffi.new("HDVLAB_ACCESS *"), PLACE + offset, 4, value))

    def read(self, offset: int) -> int:
        value = ffi.new("uint64_t *")
        assert Native().hdvlab_guest_read(self.guest, ffi.new("HDVLAB_ACCESS *"), PLACE + offset, 4, value) == 0
        return int(value[0])

    def close(self) -> None:
        self.host.teardown()
        self.machine.close()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder.create() as recorder:
        yield recorder


@pytest.fixture
def cold(recorder: Recorder) -> Iterator[Machine]:
    machine = Machine(recorder)
    yield machine
    machine.close()


def test_a_machine_by_document_runs_its_device_through_the_tap(cold: Machine, recorder: Recorder) -> None:
    cold.attach()
    cold.machine.start()
    cold.place()
    assert cold.write(0, 14) == 0
    assert cold.read(4) == 42
    cold.machine.stop()
    frame = recorder.frame()
    kinds = [str(kind) for kind in frame["kind"]]
    assert kinds[:4] == ["initialize", "set_configuration", "get_details", "start"]
    assert kinds[-4:] == ["mmio_write", "mmio_read", "stop", "teardown"]
    assert not frame["status"].any()
    assert cold.faults == []


def test_a_slot_that_no_device_was_made_for_fails_the_start_with_hcs_words(cold: Machine) -> None:
    with pytest.raises(HdvError, match=r"HcsStartComputeSystem .*: .*E_UNEXPECTED") as failure:
        cold.machine.start()
    assert failure.value.hresult == HResult.E_UNEXPECTED
    assert str(cold.slot.instance_id) in str(failure.value)


def test_a_devices_own_failure_is_what_the_start_fails_with(recorder: Recorder) -> None:
    machine = Machine(recorder, factor="many")
    machine.attach()
    with pytest.raises(HdvError, match="HcsStartComputeSystem test-"):
        machine.machine.start()
    assert [fault.operation for fault in machine.faults] == ["SetConfiguration"]
    machine.close()


def test_hot_plug_starts_the_device_before_it_returns(recorder: Recorder) -> None:
    machine = Machine(recorder, slots=0)
    machine.machine.start()
    machine.attach()
    machine.machine.add_slot(0, machine.slot.class_id, machine.slot.instance_id, machine.slot.configuration)
    assert machine.device.factor == 3
    with pytest.raises(StateError, match="slot 0 is taken"):
        machine.machine.add_slot(0, machine.slot.class_id, machine.slot.instance_id, ())
    with pytest.raises(HdvError, match="HcsModifyComputeSystem"):  # as Windows: there is no taking out
        machine.machine.remove_slot(0)
    with pytest.raises(StateError, match="nothing was plugged into slot 1"):
        machine.machine.remove_slot(1)
    machine.close()


def test_a_running_machine_is_opened_by_its_id(cold: Machine, recorder: Recorder) -> None:
    cold.attach()
    cold.machine.start()
    device = Multiplier()
    slot = FlexibleIov(device.class_id, uuid.uuid4(), ["factor=5"])
    with HyperVMachine.open(cold.machine.name, trace=recorder.handle, libraries=(native_library(),)) as again:
        assert again.properties()["State"] == "Running"
        host = DeviceHost(again.handle)
        device.attach(host, slot.instance_id, "second", cold.faults.append)
        again.plug(slot)
        assert device.factor == 5
        host.teardown()
    with pytest.raises(HdvError, match="HcsOpenComputeSystem nobody"):
        HyperVMachine.open("nobody", libraries=(native_library(),))


def test_pause_and_resume_and_a_person_past_the_guest(cold: Machine) -> None:
    handle = cold.attach()
    cold.machine.start()
    cold.machine.pause()
    cold.machine.resume()
    assert cold.machine.device_access(handle, True, 0, 0, 4, 5, Origin.user) == (5, 0)
    assert cold.machine.device_access(handle, False, 0, 4, 4, 0, Origin.user) == (15, 0)
    cold.machine.shut_down()
    assert cold.device.faults == []


def test_the_guest_is_a_real_one_and_says_so(cold: Machine) -> None:
    calls = (
        lambda m: m.read(0, 4, Origin.user, 0),
        lambda m: m.write(0, 4, 0, Origin.user, 0),
        lambda m: m.config_read(0, 0, 4, Origin.user, 0),
        lambda m: m.config_write(0, 0, 4, 0, Origin.user, 0),
        lambda m: m.ram_read(0, 4),
        lambda m: m.ram_write(0, b""),
        lambda m: m.wait_interrupt(0x40, 0.0),
    )
    for call in calls:
        with pytest.raises(BackendUnavailableError, match="the guest of a Hyper-V machine is a real one"):
            call(cold.machine)
    cold.machine.cancel()
    assert cold.machine.ram_size == 4 << 20


def test_a_closed_machine_says_so(recorder: Recorder) -> None:
    machine = Machine(recorder)
    machine.close()
    machine.machine.close()
    for call in (machine.machine.start, machine.machine.properties, lambda: machine.machine.handle):
        with pytest.raises(StateError, match="is closed"):
            call()


@pytest.mark.parametrize("make", [lambda: HyperVMachine("x"), lambda: HyperVMachine.open("x"), NativeLibraries])
def test_without_windows_it_says_what_it_takes(make: Any) -> None:
    with pytest.raises(BackendUnavailableError, match="Windows 10 1809 or later") as failure:
        make()
    for what in ("Windows 11", "Hyper-V enabled", "vmdevicehost.dll", "computecore.dll", "administrator", "linux"):
        assert what in str(failure.value)


def test_libraries_that_are_not_there_or_no_hdv_say_so() -> None:
    with pytest.raises(BackendUnavailableError, match=r"no-such-library\.so"):
        HyperVMachine("x", libraries=("no-such-library.so",))
    with pytest.raises(BackendUnavailableError, match="HdvInitializeDeviceHost is in none of the libraries"):
        HyperVMachine("x", libraries=("libc.so.6",))


def test_a_document_that_hcs_refuses_names_the_field() -> None:
    with pytest.raises(HdvError, match=r"VirtualMachine\.Nonsense"):
        HyperVMachine("x", document={"VirtualMachine": {"Nonsense": 1}}, libraries=(native_library(),))


def test_the_binding_reads_the_headers_that_c_programs_include() -> None:
    native = NativeLibraries((native_library(),))
    assert native.ffi.sizeof("HDV_PCI_DEVICE_INTERFACE") == 88
    assert native.ffi.sizeof("HDV_PCI_PNP_ID") == 12
    functions = native.hdv_functions()
    names = [name for name, _ in ffi.typeof("HDVLAB_HDV_FUNCTIONS").fields if name != "size"]
    assert [name for name in names if hasattr(lib, name) and not getattr(functions, name)] == []
    # As separate as Windows' library would be: none of its functions is this process's own.
    assert functions.HdvReadGuestMemory != ffi.addressof(lib, "HdvReadGuestMemory")


def test_the_document_has_the_slots_and_what_else_is_given() -> None:
    slot = FlexibleIov(uuid.UUID(int=1), uuid.UUID(int=2), ["a=b"])
    more = {"VirtualMachine": {"Chipset": {"Uefi": {}}, "ComputeTopology": {"Processor": {"Count": 4}}}}
    document = compute_system([slot], 256, more)
    machine = document["VirtualMachine"]
    assert machine["ComputeTopology"] == {"Memory": {"SizeInMB": 256}, "Processor": {"Count": 4}}
    assert machine["Chipset"] == {"Uefi": {}}
    settings = {"EmulatorId": str(slot.class_id), "HostingModel": "External", "Configuration": ["a=b"]}
    assert machine["Devices"]["FlexibleIov"] == {str(slot.instance_id): settings}
    assert document["SchemaVersion"] == {"Major": 2, "Minor": 1}
    assert slot.request("Add") == {
        "ResourcePath": f"VirtualMachine/Devices/FlexibleIov/{slot.instance_id}",
        "RequestType": "Add",
        "Settings": settings,
    }
    assert "Settings" not in slot.request("Remove")
    assert "Chipset" in more["VirtualMachine"]
    assert set(more["VirtualMachine"]["ComputeTopology"]) == {"Processor"}
