"""hdvlab's own calls on a compute system: recording, slots, placed BARs."""

from __future__ import annotations

import itertools
import threading
import uuid
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from .compute_scaffold import System, document, running
from .scaffold import CLASS_ID, S_OK, CallbackDevice, Recording, Threads, code, happens, pairs


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
        assert all(at + size <= after for (at, size), (after, _) in itertools.pairwise(ranges))
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


@pytest.mark.parametrize("verb", ["terminate", "close"])
def test_what_ends_a_system_waits_for_a_slot_that_is_being_changed_past_it(verb: str) -> None:
    device = CallbackDevice()
    inside, released = threading.Event(), threading.Event()

    def start() -> None:
        inside.set()
        happens(released)

    device.during["start"] = start
    system = System(document(ShouldTerminateOnLastHandleClosed=True))
    assert system.do("start") == (S_OK, None)
    system.plug(device)
    answers: list[Any] = []

    def plug() -> None:
        class_id, instance_id = guid(CLASS_ID), guid(device.instance_id)
        answers.append(code(lib.hdvlab_system_add_slot(system.handle, 0, class_id, instance_id, 0, ffi.NULL)))

    def end() -> None:
        if verb == "close":
            lib.HcsCloseComputeSystem(system.handle)
        else:
            assert system.do("terminate") == (S_OK, None)

    with Threads() as threads:
        threads.start(plug)
        happens(inside)
        ending = threads.start(end)
        ending.join(0.1)  # time enough for one that does not wait
        assert ending.is_alive()
        released.set()
    assert answers == [S_OK]
    assert device.names()[-2:] == ["stop", "teardown"]
    system.close()
