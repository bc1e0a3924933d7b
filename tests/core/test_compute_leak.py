"""A thousand compute systems leave nothing."""

from __future__ import annotations

import json
import os
import uuid

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import wide

from .compute_scaffold import FLEXIBLE_IO, System, call, document, slot_entry
from .scaffold import S_OK, SLACK, CallbackDevice, code, resident

INVALID_JSON = HResult.HCS_E_INVALID_JSON
ADD = {"ResourcePath": "VirtualMachine/Devices/FlexibleIov/hot", "RequestType": "Add", "Settings": slot_entry()}


def _held() -> dict[str, int]:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        ours = sum("hdvlab" in line or "memfd" in line for line in maps)
    return {"handles": lib.hdvlab_live_handles(), "descriptors": len(os.listdir("/proc/self/fd")), "mappings": ours}


@pytest.mark.fault(43)
def test_a_thousand_lives_leave_nothing() -> None:
    device = CallbackDevice()
    hot = CallbackDevice()
    texts = {
        close: wide(
            json.dumps(
                document({"cold": slot_entry(configuration=["a"])}, Owner="o", ShouldTerminateOnLastHandleClosed=close)
            )
        )
        for close in (False, True)
    }
    device.instance_id = uuid.uuid5(FLEXIBLE_IO, "cold")
    hot.instance_id = uuid.uuid5(FLEXIBLE_IO, "hot")
    add = wide(json.dumps(ADD))
    system_id, out = wide("one of a thousand"), ffi.new("void **")

    def life(number: int) -> None:
        by_close = number & 1
        text = texts[number & 1]
        assert call(lambda op: lib.HcsCreateComputeSystem(system_id, text, op, ffi.NULL, out)) == (S_OK, None)
        system = out[0]
        assert code(lib.HdvInitializeDeviceHost(system, out)) == S_OK
        host = out[0]
        assert device.create(host) == hot.create(host) == S_OK
        assert call(lambda op: lib.HcsStartComputeSystem(system, op, ffi.NULL)) == (S_OK, None)
        assert call(lambda op: lib.HcsModifyComputeSystem(system, op, add, ffi.NULL)) == (S_OK, None)
        if not by_close:
            assert call(lambda op: lib.HcsTerminateComputeSystem(system, op, ffi.NULL)) == (S_OK, None)
        lib.HcsCloseComputeSystem(system)
        assert code(lib.HdvTeardownDeviceHost(host)) == S_OK

    def settled() -> dict[str, int]:
        for _ in range(2000):  # the last threads give their references back
            if len(os.listdir("/proc/self/task")) <= threads and lib.hdvlab_live_handles() <= handles:
                break
            os.sched_yield()
        return _held()

    threads, handles = len(os.listdir("/proc/self/task")), lib.hdvlab_live_handles()
    for number in range(50):
        life(number)
    held, before = settled(), resident()
    for number in range(1000):
        life(number)
        device.calls.clear()
        hot.calls.clear()
    assert settled() == held
    assert resident() - before < SLACK


@pytest.mark.fault(43)
def test_documents_that_are_refused_leave_nothing() -> None:
    before = lib.hdvlab_live_handles()
    text = json.dumps(document({"a": slot_entry(configuration=["x"] * 100), "b": {"EmulatorId": 1}}, Owner="o" * 1000))
    for _ in range(200):
        assert System(text).created[0] == INVALID_JSON
    held = resident()
    for _ in range(1000):
        assert System(text).created[0] == INVALID_JSON
    assert resident() - held < SLACK
    assert lib.hdvlab_live_handles() == before
