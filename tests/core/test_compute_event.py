"""What a program is told of a compute system."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import wide_string

from .compute_scaffold import Operation, System, document, open_system, running, slot_entry
from .scaffold import S_OK, Threads, code, happens


class Events:
    """A callback of a handle, and what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Any, Any]] = []
        self.told = threading.Event()
        self.during = lambda: None

        @ffi.callback("void(HCS_EVENT *, void *)")
        def told(event: Any, _: Any) -> None:
            data = json.loads(wide_string(event.EventData)) if event.EventData else None
            self.seen.append((event.Type, data, event.Operation))
            self.during()
            self.told.set()

        self.callback = told

    def register(self, handle: Any, options: int = 0) -> int:
        return code(lib.HcsSetComputeSystemCallback(handle, options, ffi.NULL, self.callback))


@pytest.mark.parametrize(("verb", "exit_type"), [("shut_down", "GracefulExit"), ("terminate", "ForcedExit")])
def test_the_exit_of_a_system_is_told_to_every_handle_once(verb: str, exit_type: str) -> None:
    first, second = Events(), Events()
    with running() as system:
        other = open_system(system.id)[1]
        assert first.register(system.handle) == second.register(other) == S_OK
        assert system.do(verb) == (S_OK, None)
        happens(first.told)
        happens(second.told)
        told = [(lib.HcsEventSystemExited, {"Status": 0, "ExitType": exit_type}, ffi.NULL)]
        assert first.seen == second.seen == told
        assert system.properties()[1]["ExitType"] == exit_type
        lib.HcsCloseComputeSystem(other)


def test_a_start_that_fails_is_an_unexpected_exit() -> None:
    events = Events()
    with System(document({"nobody": slot_entry()})) as system:
        assert events.register(system.handle) == S_OK
        assert system.do("start")[0] == HResult.E_UNEXPECTED
        happens(events.told)
        status = HResult.E_UNEXPECTED.signed
        assert events.seen == [(lib.HcsEventSystemExited, {"Status": status, "ExitType": "UnexpectedExit"}, ffi.NULL)]


def test_a_handle_has_one_callback_until_it_is_taken_away() -> None:
    events = Events()
    with System() as system:
        assert events.register(system.handle) == S_OK
        assert events.register(system.handle) == HResult.HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET
        for _ in range(2):
            assert code(lib.HcsSetComputeSystemCallback(system.handle, 0, ffi.NULL, ffi.NULL)) == S_OK
            assert events.register(system.handle, 8) == HResult.E_INVALIDARG
            assert events.register(system.handle) == S_OK
        assert code(lib.HcsSetComputeSystemCallback(system.handle, 0, ffi.NULL, ffi.NULL)) == S_OK
        assert system.do("terminate") == (S_OK, None)
    assert events.seen == []


def test_a_handle_may_be_told_of_its_operations() -> None:
    events, mine = Events(), threading.Event()
    with System() as system, Operation() as operation:
        events.during = lambda: mine.set() if events.seen[-1][2] == operation.handle else None
        assert events.register(system.handle, 1) == S_OK
        assert code(lib.HcsStartComputeSystem(system.handle, operation.handle, ffi.NULL)) == S_OK
        happens(mine)
        of_mine = [one for one in events.seen if one[2] == operation.handle]  # the creation's may still have come
        assert of_mine == [(lib.HcsEventOperationCallback, None, operation.handle)]


def test_closing_a_handle_waits_for_its_callback_unless_that_closes_it() -> None:
    events, proceed, order = Events(), threading.Event(), []
    system = running()

    def during() -> None:
        events.told.set()
        happens(proceed)
        order.append("told")

    events.during = during
    events.register(system.handle)
    other = open_system(system.id)[1]
    inside = Events()
    inside.during = lambda: lib.HcsCloseComputeSystem(other)
    inside.register(other)
    with Threads() as threads:
        assert system.do("terminate") == (S_OK, None)
        happens(events.told)

        def close() -> None:
            lib.HcsCloseComputeSystem(system.handle)
            order.append("closed")

        closing = threads.start(close)
        closing.join(0.05)
        assert closing.is_alive()
        proceed.set()
    assert order == ["told", "closed"]
    assert code(lib.HdvTeardownDeviceHost(system.host)) == S_OK
    assert code(lib.hdvlab_system_slot(other, ffi.new("GUID *"), ffi.new("uint32_t *"))) == HResult.E_HANDLE


def test_a_callback_is_taken_back_and_its_handle_closed_by_others_while_it_runs() -> None:
    events, released, inside = Events(), threading.Event(), threading.Event()
    with running() as system:
        other = open_system(system.id)[1]

        def wait() -> None:
            inside.set()
            happens(released)

        events.during = wait
        assert events.register(other) == S_OK
        with Threads() as threads:
            threads.start(lambda: system.do("terminate"))
            happens(inside)
            taking = threads.start(lib.HcsSetComputeSystemCallback, other, 0, ffi.NULL, ffi.NULL)
            closing = threads.start(lib.HcsCloseComputeSystem, other)
            for thread in (taking, closing):
                thread.join(0.1)  # time enough for one that does not wait
            assert closing.is_alive()
            released.set()
        assert len(events.seen) == 1
