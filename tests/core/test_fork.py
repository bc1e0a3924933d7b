"""A forked child: its parent's handles are nothing to it, its own are whole, the recording is its parent's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult

from .compute_scaffold import System, call, open_system
from .proxy_scaffold import ProxyHost, Support
from .scaffold import DEADLINE, PLACE, S_OK, CallbackDevice, Machine, Recording, code
from .test_handle import HANDLES, _arguments
from .test_handle import live as live


def in_child(work: Callable[[], Any]) -> Any:
    """What ``work`` gives in a forked child, through JSON."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads: that is the case to be tested
        child = os.fork()
    if not child:
        signal.alarm(int(DEADLINE))  # a child that hangs ends
        try:
            answer = work()
        except BaseException as error:
            answer = repr(error)
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(answer)


def test_every_call_with_a_handle_of_the_parent_is_refused_in_a_child(live: dict[str, Any]) -> None:
    calls = sorted({(function, kind) for function, _, kind in HANDLES if function != "hdvlab_embedded_create"})
    answers = in_child(lambda: [code(getattr(lib, function)(*_arguments(function, live))) for function, _ in calls])
    assert {call: answer for call, answer in zip(calls, answers, strict=True) if answer != HResult.E_UNEXPECTED} == {}


def test_a_forged_handle_is_one_in_a_child_too(live: dict[str, Any]) -> None:
    number = int(ffi.cast("uintptr_t", live["HDV_DEVICE"]))
    forged = [0, number + (1 << 32), number - (1 << 32), number | 0x10000, (1 << 64) - 1]
    probe = lib.hdvlab_device_leave
    answers = in_child(lambda: [code(probe(ffi.cast("void *", handle))) for handle in forged])
    assert answers == [HResult.E_HANDLE] * len(forged)


def test_the_parent_goes_on_as_if_nothing_had_been(machine: Machine, recording: Recording) -> None:
    device = machine.running(CallbackDevice())
    before = lib.hdvlab_live_handles()
    assert in_child(lambda: machine.write(PLACE, 1)) == HResult.E_UNEXPECTED
    assert device.names() == []
    assert machine.write(PLACE, 1) == S_OK
    assert device.names() == ["write"]
    assert lib.hdvlab_live_handles() == before


def test_a_child_makes_machines_and_recordings_of_its_own(machine: Machine, tmp_path: Path) -> None:
    machine.running(CallbackDevice())

    def work() -> list[Any]:
        recording = Recording(tmp_path / "child")
        own = Machine(recording)
        device = own.running(CallbackDevice())
        answers = [own.write(PLACE, 5), device.names(), len(recording.rows(lib.HDVLAB_MMIO_WRITE))]
        own.close()
        recording.close()
        return answers

    assert in_child(work) == [S_OK, ["write"], 1]


def test_a_child_knows_no_compute_system_of_its_parent_by_id() -> None:
    with System() as system:

        def work() -> list[Any]:
            opened, _ = open_system(system.id)
            _, known = call(lambda operation: lib.HcsEnumerateComputeSystems(ffi.NULL, operation))
            with System(system_id=system.id) as own:  # the id is free here
                return [opened, known, own.created[0], own.do("start")[0]]

        assert in_child(work) == [HResult.HCS_E_SYSTEM_NOT_FOUND, [], S_OK, S_OK]
        assert system.do("start") == (S_OK, None)


def test_a_child_may_be_the_device_host_of_the_same_virtual_machine(machine: Machine) -> None:
    support = Support(machine)
    host = ProxyHost(support.object)

    def work() -> int:
        other = Machine()
        own = ProxyHost(Support(other).object, host.vm_id)
        own.teardown()
        other.close()
        return own.result

    assert in_child(work) == S_OK
    assert host.teardown() == S_OK


def test_a_child_inside_a_callback_is_refused_like_any(machine: Machine) -> None:
    device = machine.running(CallbackDevice())
    seen: list[Any] = []
    device.read = lambda *_: (seen.append(in_child(lambda: device.dma_write(0, b"x"))), device.dma_write(1, b"y"))[1]
    assert machine.read(PLACE) == (S_OK, 0)
    assert seen == [HResult.E_UNEXPECTED]
    assert machine.ram_read(0, 2) == (S_OK, b"\0y")


def _lives(path: Path) -> int:
    """Whether somebody who attaches to the recording is told that its writer lives."""
    out, state = ffi.new("void **"), ffi.new("HDVLAB_TRACE_STATE *")
    assert code(lib.hdvlab_trace_attach(bytes(path), out)) == S_OK
    assert code(lib.hdvlab_trace_state(out[0], state)) == S_OK
    assert code(lib.hdvlab_trace_close(out[0])) == S_OK
    return int(state.live)


def test_a_recording_does_not_seem_to_live_on_in_a_child(tmp_path: Path) -> None:
    """The writer is killed; a child of it, which goes on, has no part in the recording."""
    path = tmp_path / "trace"
    code_of_writer = f"""
import os, signal, sys
from pathlib import Path
from tests.core.scaffold import Recording
signal.alarm({int(DEADLINE)})
recording = Recording(Path({str(path)!r}))
child = os.fork()
if not child:
    signal.alarm({int(DEADLINE)})
    print("forked", flush=True)
sys.stdin.read()
"""
    writer = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code_of_writer], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2], text=True,
    )  # fmt: skip
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "forked\n"
        assert _lives(path) == 1  # what the child gave up was only its own
        writer.kill()
        writer.wait(DEADLINE)
        assert _lives(path) == 0


def test_a_child_that_comes_back_from_a_callback_leaves_the_row_to_its_parent(
    machine: Machine, recording: Recording
) -> None:
    device = machine.running(CallbackDevice())
    parent, statuses = os.getpid(), []

    def read(*_: int) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            signal.alarm(int(DEADLINE))
            return 1
        assert os.waitpid(child, 0)[1] == 0
        statuses.extend(row["status"] for row in recording.rows(lib.HDVLAB_MMIO_READ))
        return 2

    device.read = read
    answer = machine.read(PLACE)
    if os.getpid() != parent:
        os._exit(0)
    assert answer == (S_OK, 2)
    assert statuses == [HResult.E_PENDING]
