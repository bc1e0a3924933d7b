"""ComputeSystem: HCS as a Python class, with a device of the library in it."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, DeviceError, DocumentError, HandleError, HdvError, HResult, StateError
from hdvlab.hdv import ComputeSystem, DeviceHost
from hdvlab.hdv.compute_system import instance_id
from hdvlab.hdv.structures import guid

CLASS_ID = uuid.UUID("11111111-2222-3333-4444-555555555555")


def document(*keys: str, **fields: Any) -> dict[str, Any]:
    slots = {key: {"EmulatorId": str(CLASS_ID), "HostingModel": "External"} for key in keys}
    return {"VirtualMachine": {"Devices": {"FlexibleIov": slots}}, **fields}


@pytest.fixture
def system() -> Iterator[ComputeSystem]:
    with ComputeSystem.create("a system", document(Owner="me")) as system:
        yield system
        if system.properties()["State"] != "Stopped":
            system.terminate()


@pytest.fixture
def register_file() -> Iterator[Any]:
    """A device with no register and a BAR of 4 KiB that answers nothing."""
    out, zeros = ffi.new("void **"), ffi.new("uint8_t[4096]")
    description = ffi.new("HDVLAB_DEVICE_DESCRIPTION *")
    description.config = description.config_write_mask = description.config_write_one_to_clear = zeros
    description.probed_bars[0], description.bar_size[0] = 0xFFFFF000, 4096
    description.pnp_id.VendorID = 0x1234
    assert lib.hdvlab_register_file_create(description, ffi.new("HDVLAB_DEVICE_CALLBACKS *"), ffi.NULL, out) == 0
    yield out[0]
    assert lib.hdvlab_register_file_close(out[0]) == 0


def test_a_system_lives_by_its_methods(system: ComputeSystem) -> None:
    states = [system.properties()["State"]]
    for step in (system.start, system.pause, system.resume, system.shut_down):
        step()
        states.append(system.properties()["State"])
    assert states == ["Created", "Running", "Paused", "Running", "Stopped"]
    assert system.properties()["ExitType"] == "GracefulExit"


def test_a_document_may_be_text(system: ComputeSystem) -> None:
    with ComputeSystem.create("another", json.dumps(document(Owner="Ürsula"))) as other:
        assert other.properties("Memory")["Owner"] == "Ürsula"
        assert {each["Id"] for each in ComputeSystem.enumerate()} == {"a system", "another"}
        other.terminate()


def test_a_wrong_document_says_where(system: ComputeSystem) -> None:
    with pytest.raises(DocumentError, match=r"VirtualMachine\.Devices\.FlexibleIov\.x\.EmulatorId: missing") as caught:
        ComputeSystem.create("wrong", {"VirtualMachine": {"Devices": {"FlexibleIov": {"x": {}}}}})
    assert (caught.value.symbol, caught.value.operation) == ("HCS_E_INVALID_JSON", "HcsCreateComputeSystem")
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_call_in_the_wrong_state_says_what_it_needs(system: ComputeSystem) -> None:
    with pytest.raises(StateError, match="is Created; this needs Running"):
        system.pause()
    system.terminate()
    with pytest.raises(StateError, match="HCS_E_SYSTEM_ALREADY_STOPPED"):
        system.terminate()


def test_ids_are_taken_and_found(system: ComputeSystem) -> None:
    with pytest.raises(HdvError) as caught:
        ComputeSystem.create("a system", document())
    assert caught.value.hresult == HResult.HCS_E_SYSTEM_ALREADY_EXISTS
    with ComputeSystem.open("a system") as second:
        second.start()
        assert system.properties()["State"] == "Running"
    with pytest.raises(HdvError, match="nobody") as caught:
        ComputeSystem.open("nobody")
    assert caught.value.hresult == HResult.HCS_E_SYSTEM_NOT_FOUND


def test_a_closed_handle_is_refused(system: ComputeSystem) -> None:
    second = ComputeSystem.open("a system")
    second.close()
    second.close()
    with pytest.raises(HandleError):
        second.start()


def test_a_slot_without_a_device_fails_the_start() -> None:
    with ComputeSystem.create("lonely", document("dev")) as system, pytest.raises(DeviceError, match="no device host"):
        system.start()


def test_devices_are_plugged_cold_and_hot(system: ComputeSystem, register_file: Any) -> None:
    system.start()
    host = DeviceHost(system.handle)
    device = host.create_device(register_file, CLASS_ID, instance_id("edu"))
    with pytest.raises(HdvError, match="Remove|removed"):
        system.modify({"ResourcePath": "VirtualMachine/Devices/FlexibleIov/edu", "RequestType": "Remove"})
    system.add_device("edu", CLASS_ID, ["a=1"])
    slot = system.slot("edu")
    assert slot == system.slot(instance_id("edu")) == 0
    assert system.place_bars(slot) == [0xE0000000, 0, 0, 0, 0, 0]
    out = ffi.new("void **")
    assert lib.hdvlab_system_device(system.handle, slot, out) == 0
    assert out[0] == device
    host.teardown()


def test_a_guid_is_its_own_instance_id() -> None:
    key = uuid.uuid4()
    assert instance_id(str(key)) == instance_id(str(key).upper()) == key
    hashed = uuid.uuid5(uuid.UUID("a8679153-843f-467f-ad7e-f429328f7568"), "edu")
    assert instance_id("edu") == hashed
    assert bytes(ffi.buffer(guid(hashed))) == hashed.bytes_le


NAMES = ["", "é", "€", "🦉\U0010ffff", *("x" * length for length in (1, 39, 40, 47, 48, 103, 104, 1000))]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_all_lengths_are_hashed_as_python_does(name: str) -> None:
    assert instance_id(name) == uuid.uuid5(uuid.UUID("a8679153-843f-467f-ad7e-f429328f7568"), name)


@pytest.mark.parametrize("wrong", [None, 5, "a\0b"])
def test_an_id_is_a_text_and_is_not_cut(wrong: Any) -> None:
    with pytest.raises(AccessError, match="a str without NUL"):
        ComputeSystem.create(wrong, document())


def test_it_says_who_it_is_and_how_it_is(system: ComputeSystem) -> None:
    assert repr(system) == "<compute system 'a system', Created>"
    system.terminate()
    assert repr(system) == "<compute system 'a system', Stopped>"
    with pytest.raises(HdvError, match=r"no system 'other' of this process is there; ComputeSystem\.enumerate"):
        ComputeSystem.open("other")
    with pytest.raises(HdvError, match="no such key of FlexibleIov"):
        system.slot("none")
    other = ComputeSystem.create("one more", document())
    other.terminate()
    other.close()
    assert repr(other) == "<compute system 'one more', closed>"
