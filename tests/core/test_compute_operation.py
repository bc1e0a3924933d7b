"""Operations: one call each, its result, its completion, its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .compute_scaffold import LONG, Operation, System
from .scaffold import S_OK, CallbackDevice, Threads, code, happens

NONE_OF_THEM = [0, -1, 0x7FFF_0000_1000, 1 << 32 | 0xFFFF]


@pytest.fixture
def system() -> Iterator[System]:
    with System() as system:
        yield system


def start(system: System, operation: Operation) -> int:
    return code(lib.HcsStartComputeSystem(system.handle, operation.handle, ffi.NULL))


class Held:
    """A system whose start waits in a device's Start."""

    def __init__(self) -> None:
        self.inside, self.proceed = threading.Event(), threading.Event()
        self.device = CallbackDevice()
        self.device.during["start"] = self._start
        self.system = System.with_devices(self.device)

    def _start(self) -> None:
        self.inside.set()
        happens(self.proceed)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.proceed.set()
        self.system.close()


def test_a_new_operation_tracks_nothing() -> None:
    with Operation() as operation:
        assert lib.HcsGetOperationType(operation.handle) == lib.HcsOperationTypeNone
        assert lib.HcsGetComputeSystemFromOperation(operation.handle) == ffi.NULL
        assert operation.result() == operation.wait() == (HResult.HCS_E_OPERATION_NOT_STARTED, None)
        assert code(lib.HcsCancelOperation(operation.handle)) == HResult.HCS_E_OPERATION_NOT_STARTED


def test_ids_are_unique() -> None:
    with Operation() as first, Operation() as second:
        assert lib.HcsGetOperationId(first.handle) != lib.HcsGetOperationId(second.handle)


def test_a_context_is_kept_until_it_is_replaced() -> None:
    cell = ffi.new("char[2]")
    handle = lib.HcsCreateOperation(cell, ffi.NULL)
    assert lib.HcsGetOperationContext(handle) == cell
    assert code(lib.HcsSetOperationContext(handle, cell + 1)) == S_OK
    assert lib.HcsGetOperationContext(handle) == cell + 1
    lib.HcsCloseOperation(handle)
    assert lib.HcsGetOperationContext(handle) == ffi.NULL


@pytest.mark.fault(41)
@pytest.mark.parametrize("number", NONE_OF_THEM)
def test_a_handle_that_is_none_gives_nothing(number: int) -> None:
    forged = ffi.cast("void *", number & ((1 << 64) - 1))
    lib.HcsCloseOperation(forged)
    assert lib.HcsGetOperationContext(forged) == ffi.NULL
    assert lib.HcsGetComputeSystemFromOperation(forged) == ffi.NULL
    assert lib.HcsGetOperationType(forged) == lib.HcsOperationTypeNone
    assert lib.HcsGetOperationId(forged) == (1 << 64) - 1


@pytest.mark.fault(40)
def test_a_closed_operation_is_none_any_more(system: System) -> None:
    with Operation() as operation:
        pass
    assert operation.result() == operation.wait() == (HResult.E_HANDLE, None)
    assert start(system, operation) == HResult.E_HANDLE
    lib.HcsCloseOperation(operation.handle)
    assert system.state() == "Created"


def test_an_operation_knows_its_call(system: System) -> None:
    with Operation() as operation:
        assert start(system, operation) == S_OK
        assert operation.wait() == operation.result() == operation.wait() == (S_OK, None)
        assert lib.HcsGetOperationType(operation.handle) == lib.HcsOperationTypeStart
        assert lib.HcsGetComputeSystemFromOperation(operation.handle) == system.handle


def test_an_operation_tracks_one_call_only(system: System) -> None:
    with Operation() as operation:
        assert start(system, operation) == S_OK
        assert start(system, operation) == HResult.HCS_E_OPERATION_ALREADY_STARTED
        assert operation.wait() == (S_OK, None)
        assert start(system, operation) == HResult.HCS_E_OPERATION_ALREADY_STARTED
    assert system.state() == "Running"


def test_a_call_that_fails_at_once_leaves_the_operation_for_another(system: System) -> None:
    with Operation() as operation:
        text = ffi.new("uint16_t[]", [ord("{"), 0])
        refused = code(lib.HcsStartComputeSystem(system.handle, operation.handle, text))
        assert refused == HResult.HCS_E_INVALID_JSON
        hresult, error = operation.result()
        assert (hresult, error["Error"]) == (refused, refused - (1 << 32))
        assert start(system, operation) == S_OK
        assert operation.wait() == (S_OK, None)


def test_the_result_of_what_goes_on_is_pending() -> None:
    with Held() as held, Operation() as operation:
        assert start(held.system, operation) == S_OK
        happens(held.inside)
        assert operation.result() == (HResult.HCS_E_OPERATION_PENDING, None)
        assert operation.wait(0) == operation.wait(1) == (HResult.HCS_E_OPERATION_TIMEOUT, None)
        assert code(lib.HcsCancelOperation(operation.handle)) == HResult.HCS_E_OPERATION_PENDING
        held.proceed.set()
        assert operation.wait(0xFFFFFFFF) == (S_OK, None)
        assert code(lib.HcsCancelOperation(operation.handle)) == S_OK


def test_a_call_that_has_not_begun_can_be_taken_back() -> None:
    told = threading.Event()
    with Held() as held, Operation() as first, Operation(lambda _: told.set()) as second:
        assert start(held.system, first) == S_OK
        happens(held.inside)
        assert code(lib.HcsTerminateComputeSystem(held.system.handle, second.handle, ffi.NULL)) == S_OK
        assert code(lib.HcsCancelOperation(second.handle)) == S_OK
        assert second.wait() == (HResult.ERROR_CANCELLED, None)
        held.proceed.set()
        assert first.wait() == (S_OK, None)
        happens(told)
        assert held.system.state() == "Running"


def test_calls_are_done_in_their_order() -> None:
    with Held() as held:
        names = ["Start", "Pause", "Resume", "ShutDown"]
        operations = [Operation() for _ in names]
        for name, operation in zip(names, operations, strict=True):
            function = getattr(lib, f"Hcs{name}ComputeSystem")
            assert code(function(held.system.handle, operation.handle, ffi.NULL)) == S_OK
        happens(held.inside)
        assert [operation.result()[0] for operation in operations] == [HResult.HCS_E_OPERATION_PENDING] * 4
        held.proceed.set()
        assert [operation.wait() for operation in operations] == [(S_OK, None)] * 4
        for operation in operations:
            with operation:
                pass


def test_a_completion_comes_once_on_another_thread_with_its_context(system: System) -> None:
    seen: list[tuple[Any, ...]] = []
    done = threading.Event()
    cell = ffi.new("char *")

    @ffi.callback("void(void *, void *)")
    def completed(handle: Any, context: Any) -> None:
        out = ffi.new("uint16_t **")
        seen.append((handle, context, code(lib.HcsGetOperationResult(handle, out)), threading.get_ident()))
        done.set()

    with Operation() as operation:
        assert code(lib.HcsSetOperationCallback(operation.handle, cell, completed)) == S_OK
        assert start(system, operation) == S_OK
        happens(done)
        late = lib.HcsSetOperationCallback(operation.handle, cell, completed)
        assert code(late) == HResult.HCS_E_OPERATION_ALREADY_STARTED
    assert [entry[:3] for entry in seen] == [(operation.handle, cell, S_OK)]
    assert seen[0][3] != threading.get_ident()


def test_a_completion_may_call_wait_and_close(system: System) -> None:
    done = threading.Event()
    seen: list[Any] = []

    def completed(handle: Any) -> None:
        seen.append(system.do("pause"))
        lib.HcsCloseOperation(handle)
        seen.append(system.do("resume"))
        done.set()

    operation = Operation(completed)
    assert start(system, operation) == S_OK
    happens(done)
    assert seen == [(S_OK, None)] * 2
    assert not operation.errors


def test_closing_waits_for_the_completion_that_runs_and_none_comes_after(system: System) -> None:
    inside, proceed, order = threading.Event(), threading.Event(), []

    def completed(_: Any) -> None:
        inside.set()
        happens(proceed)
        order.append("completed")

    def close() -> None:
        lib.HcsCloseOperation(operation.handle)
        order.append("closed")

    operation = Operation(completed)
    with Threads() as threads:
        assert start(system, operation) == S_OK
        happens(inside)
        closing = threads.start(close)
        closing.join(0.05)
        assert closing.is_alive()
        proceed.set()
    assert order == ["completed", "closed"]


def test_the_call_of_a_closed_operation_goes_on() -> None:
    told: list[Any] = []
    with Held() as held:
        operation = Operation(told.append)
        assert start(held.system, operation) == S_OK
        happens(held.inside)
        lib.HcsCloseOperation(operation.handle)
        held.proceed.set()
        assert held.system.state() == "Running"
        assert told == []


def test_a_call_without_an_operation_is_done_untracked(system: System) -> None:
    assert code(lib.HcsStartComputeSystem(system.handle, ffi.NULL, ffi.NULL)) == S_OK
    assert system.state() == "Running"


def in_start(wait: Callable[[Operation], Any]) -> list[Any]:
    """What ``wait`` gives inside a device's Start, for an operation that waits for that Start."""
    seen: list[Any] = []
    device = CallbackDevice()
    with System.with_devices(device) as system, Operation() as operation:

        def start_device() -> None:
            assert code(lib.HcsPauseComputeSystem(system.handle, operation.handle, ffi.NULL)) == S_OK
            seen.append(wait(operation))

        device.during["start"] = start_device
        assert system.do("start") == (S_OK, None)
        assert operation.wait() == (S_OK, None)
    return seen


@pytest.mark.fault(54)
@pytest.mark.parametrize("timeout_ms", [0, LONG, 0xFFFFFFFF])
def test_in_a_callback_there_is_no_waiting(timeout_ms: int) -> None:
    assert in_start(lambda operation: operation.wait(timeout_ms)) == [(HResult.ERROR_INVALID_STATE, None)]


def test_a_thousand_operations_leave_nothing(system: System) -> None:
    before = lib.hdvlab_live_handles()
    for _ in range(1000):
        with Operation() as operation:
            assert code(lib.HcsGetComputeSystemProperties(system.handle, operation.handle, ffi.NULL)) == S_OK
            assert operation.wait()[0] == S_OK
    assert system.state() == "Created"
    assert lib.hdvlab_live_handles() <= before + 1  # the last thread may be about to give its reference back
