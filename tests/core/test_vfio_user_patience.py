"""A device that does not answer in its time is answered for: hdvlab_vfio_user_*, budgets."""

from __future__ import annotations

import threading
import time

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .register_scaffold import ON_READ, RegisterDevice, register
from .scaffold import DEADLINE, S_OK, CallbackDevice, Recording, code
from .vfio_user_scaffold import CONFIG, RESET, VM


class Stuck:
    """A device whose register 0 is read for as long as the test wants."""

    def __init__(self) -> None:
        self.go, self.inside = threading.Event(), threading.Event()
        self.device = RegisterDevice([register(0, flags=ON_READ), register(8)])
        self.device.on_read = self.read

    def read(self, index: int, stored: int) -> int:
        self.inside.set()
        self.go.wait(DEADLINE)
        return 0x600D


def test_an_answer_that_is_late_is_given_for_the_device(recording: Recording) -> None:
    stuck = Stuck()
    with VM(stuck.device, recording, budget_ms=50) as vm:
        vm.write(0, 8, 0x1234)
        assert vm.read(0, 0) == 0xFFFF_FFFF
        state = vm.wait_for(lambda s: s.hung)
        assert state.timeouts == 1
        thread = ffi.new("uint64_t *")
        assert code(lib.hdvlab_vfio_user_hung_thread(vm.system, 0, thread)) == S_OK
        assert thread[0]
        began = time.monotonic()
        for _ in range(20):
            assert vm.read(0, 8) == 0xFFFF_FFFF  # at once
            assert vm.read(CONFIG, 0) == 0xFFFF_FFFF
        vm.call(RESET)
        assert time.monotonic() - began < DEADLINE
        stuck.go.set()
        vm.wait_for(lambda s: not s.hung)
        assert code(lib.hdvlab_vfio_user_hung_thread(vm.system, 0, thread)) == S_OK
        assert not thread[0]
        assert vm.read(0, 8) == 0x1234
        assert vm.read(0, 0) == 0x600D
    statuses = [code(int(row)) for row in recording.column("status")]
    assert statuses.count(HResult.ERROR_TIMEOUT) == 42  # the late one, 40 at once, and the reset
    assert HResult.E_PENDING not in statuses


def test_a_machine_with_a_device_that_never_returns_can_be_closed(recording: Recording) -> None:
    stuck = Stuck()
    vm = VM(stuck.device, recording, budget_ms=50)
    vm.send(9, bytes(12) + b"\4\0\0\0")
    assert stuck.inside.wait(DEADLINE)
    closed = threading.Thread(target=vm.close)
    closed.start()
    closed.join(DEADLINE)
    assert not closed.is_alive()
    stuck.go.set()


def test_a_device_that_is_given_up_during_its_reset_is_not_started_again(recording: Recording) -> None:
    go, inside, gone = threading.Event(), threading.Event(), threading.Event()
    device = CallbackDevice()
    device.during["stop"] = lambda: (inside.set(), go.wait(DEADLINE))[0]
    device.during["teardown"] = gone.set
    vm = VM(device, recording, budget_ms=50)
    vm.write(0, 8, 1)
    vm.send(RESET)
    assert inside.wait(DEADLINE)
    vm.wait_for(lambda s: s.hung)
    assert code(lib.hdvlab_system_stop(vm.system)) == S_OK
    go.set()
    assert gone.wait(DEADLINE)
    vm.close()
    assert device.names()[-2:] == ["stop", "teardown"]
    assert device.names().count("start") == device.names().count("teardown") == 1


def test_a_running_device_that_is_given_up_has_its_stop_before_its_teardown(recording: Recording) -> None:
    go, inside, gone = threading.Event(), threading.Event(), threading.Event()
    device = CallbackDevice()
    device.read = lambda bar, offset, size: (inside.set(), go.wait(DEADLINE), 0)[2]
    device.during["teardown"] = gone.set
    vm = VM(device, recording, budget_ms=50)
    vm.send(9, bytes(12) + b"\4\0\0\0")
    assert inside.wait(DEADLINE)
    vm.wait_for(lambda s: s.hung)
    assert code(lib.hdvlab_system_stop(vm.system)) == S_OK
    go.set()
    assert gone.wait(DEADLINE)
    vm.close()
    assert device.names()[-3:] == ["read", "stop", "teardown"]
    assert device.names().count("stop") == 1
