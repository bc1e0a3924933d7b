"""Device hosts over a socket: real second processes that die, hang, and come again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

from hdvlab._core import _native, ffi, lib
from hdvlab.errors import HResult
from hdvlab.trace.schema import Kind

from ..c.building import needed, plain_environment
from .gate_scaffold import Gate
from .proxy_process import (
    ABORT,
    CLOSE_ALL,
    DMA,
    EXIT,
    FORK,
    INTERRUPT,
    LATE_MS,
    RINGS,
    SLEEP,
    SPIN,
    SYSTEM_EXIT,
)
from .proxy_scaffold import ProxyHost, RemoteHost, add_slot, memfd, pair, place, slot_device
from .scaffold import PLACE, S_OK, CallbackDevice, Machine, Recording, Threads, code, happens, pairs

ROOT = Path(__file__).parents[2]
GONE = HResult.HCS_E_SERVICE_DISCONNECT
ONES = 0xFFFF_FFFF
ANY_VALUE = 1 << 31


def spawn(arguments: list[str], descriptors: Sequence[int] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.core.proxy_process", *arguments],
        pass_fds=descriptors, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


class Process:
    """A device host in a process of its own, registered with the machine."""

    def __init__(
        self,
        machine: Machine,
        instance_id: uuid.UUID,
        budget_ms: int = 4000,
        event: int | None = None,
        forker: subprocess.Popen[str] | None = None,
    ) -> None:
        self.machine, self.instance_id = machine, instance_id
        events = [] if event is None else [event]
        with tempfile.TemporaryDirectory() as directory:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(f"{directory}/s")
            listener.listen()
            arguments = [f"{directory}/s", str(instance_id), *map(str, events)]
            if forker is None:
                forker = self.process = spawn(arguments, events)
            else:
                assert forker.stdin is not None
                print(*arguments, file=forker.stdin, flush=True)
            listener.settimeout(20)
            self.remote = RemoteHost(listener.accept()[0])
            listener.close()
        self.remote.budget(budget_ms)
        self.remote.register(machine)
        assert forker.stdout is not None
        assert forker.stdout.readline() == "ready\n"

    def kill(self) -> None:
        os.kill(self.remote.pid, signal.SIGKILL)

    def plug(self, slot: int = 0, index: int = 0) -> Process:
        assert add_slot(self.machine, self.instance_id, slot) == S_OK
        place(self.machine, slot)
        slot_device(self.machine, slot, index)
        return self

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if hasattr(self, "process"):
            self.process.kill()
            self.process.communicate()
        self.remote.ended()
        self.remote.release()


@pytest.fixture
def on(machine: Machine) -> Machine:
    """The machine, running."""
    assert machine.start() == S_OK
    return machine


def local(machine: Machine) -> tuple[ProxyHost, RemoteHost]:
    """Both ends of a socket in this process."""
    theirs, mine = pair()
    remotes: list[RemoteHost] = []
    with Threads() as threads:
        threads.start(lambda: remotes.append(RemoteHost(mine).register(machine)))
        host = ProxyHost.over(theirs)
    assert remotes[0].vm_id == host.vm_id
    assert remotes[0].pid == os.getpid()
    return host, remotes[0]


def test_a_device_in_another_process_serves_the_guest(on: Machine, recording: Recording) -> None:
    with Process(on, uuid.uuid4()) as process:
        process.plug()
        assert on.config_read(0, 0) == (S_OK, 0x11E8_1234)
        since = len(recording)
        assert on.write(PLACE + 8, 0x1122_3344_5566_7788, 8) == S_OK
        assert on.read(PLACE + 8, 8) == (S_OK, 0x1122_3344_5566_7788)
        assert pairs(recording.rows(since=since), "kind", "device", "address", "status") == [
            (Kind.mmio_write, 0, 8, S_OK),
            (Kind.mmio_read, 0, 8, S_OK),
        ]


@pytest.mark.fault(54)
def test_a_callback_may_ask_the_machine_while_the_guest_waits_for_it(on: Machine, recording: Recording) -> None:
    with Process(on, uuid.uuid4()) as process:
        process.plug()
        on.ram_write(0x1234, bytes(range(64)))
        since = len(recording)
        assert on.write(PLACE + DMA, 0x1234) == S_OK
        assert on.ram_read(0x1234, 64) == (S_OK, bytes(reversed(range(64))))
        assert on.write(PLACE + INTERRUPT, 0x41) == S_OK
        assert on.wait_interrupt(0x41) == (S_OK, 0)
        rows = recording.rows(since=since)
        assert pairs(rows, "kind", "device") == [
            (Kind.mmio_write, 0),
            (Kind.aperture_map, 0),
            (Kind.mmio_write, 0),
            (Kind.interrupt, 0),
        ]
        assert [row["cause"] for row in rows] == [-1, rows[0]["row"], -1, rows[2]["row"]]


def test_an_interrupt_that_is_held_costs_the_devices_process_no_patience(on: Machine, recording: Recording) -> None:
    budget_ms, gate = 300, Gate(on.system)
    answers: list[int] = []
    with Process(on, uuid.uuid4(), budget_ms=budget_ms) as process:
        process.plug()
        gate.add(lib.HDVLAB_INTERRUPT)
        with Threads() as threads:
            threads.start(lambda: answers.append(on.write(PLACE + INTERRUPT, 0x41)))
            stop = gate.one()
            assert stop.is_inside == 1
            changes = gate.wait(1 << 60, 0)[1]
            assert gate.wait(changes, 2 * budget_ms)[0] == HResult.ERROR_BUSY
            poked = lib.hdvlab_device_access(
                slot_device(on), on.access(origin=lib.HDVLAB_USER), False, 0, 0, 4, ffi.new("uint64_t *")
            )
            assert code(poked) == HResult.ERROR_POSSIBLE_DEADLOCK
            assert gate.release(stop.ticket) == S_OK
        assert answers == [S_OK]
        assert on.wait_interrupt(0x41) == (S_OK, 0)
        assert on.read(PLACE + 8)[0] == S_OK
        assert {row["status"] for row in recording.rows(Kind.mmio_write, Kind.interrupt)} == {S_OK}


def test_a_doorbell_of_the_owner_signals_the_devices_process(on: Machine) -> None:
    event = os.eventfd(0)
    with Process(on, uuid.uuid4(), event=event) as process:
        process.plug()
        device = slot_device(on)
        assert code(lib.HdvRegisterDoorbell(device, 0, 0x20, 0, ANY_VALUE, ffi.cast("void *", event))) == S_OK
        for _ in range(5):
            assert on.write(PLACE + 0x20, 1) == S_OK
        deadline = time.monotonic() + 20
        while on.read(PLACE + RINGS)[1] != 5:
            assert time.monotonic() < deadline
        assert on.read(PLACE + 0x20)[1] == 0, "the writes went no further"
    os.close(event)


def test_a_section_of_the_owner_is_memory_to_the_guest(on: Machine) -> None:
    host, remote = local(on)
    device = host.create(CallbackDevice())
    assert add_slot(on, device.instance_id) == S_OK
    place(on)
    fd = memfd()
    section = ffi.cast("void *", fd)
    assert code(lib.HdvCreateSectionBackedMmioRange(slot_device(on), 0, 0, 1, 1, section, 0)) == S_OK
    assert on.write(PLACE + 4, 0xABCD) == S_OK
    assert os.pread(fd, 4, 4) == b"\xcd\xab\0\0"
    assert "write" not in device.names()
    os.close(fd)
    assert host.teardown() == S_OK
    assert remote.ended() == S_OK
    remote.release()


@pytest.mark.fault(46)
@pytest.mark.fault(38)
def test_kill_of_the_devices_process_is_all_ones_for_the_guest_and_a_fault_row(
    on: Machine, recording: Recording
) -> None:
    event = os.eventfd(0, os.EFD_CLOEXEC)
    instance = uuid.uuid4()
    with Process(on, instance) as process:
        process.plug()
        bell = ffi.cast("void *", event)
        assert code(lib.HdvRegisterDoorbell(slot_device(on), 0, 0x20, 0, ANY_VALUE, bell)) == S_OK
        assert on.write(PLACE + DMA, 0) == S_OK
        since = len(recording)
        process.process.kill()
        assert process.remote.ended() == GONE
        assert on.read(PLACE, 8) == (GONE, (1 << 64) - 1)
        assert on.write(PLACE + 0x20, 1) == GONE, "the doorbell is gone too"
        assert on.config_read(0, 0)[1] == ONES
        rows = recording.rows(since=since)
        assert pairs(rows, "kind", "device", "status") == [
            (Kind.fault, 0, GONE),
            (Kind.aperture_unmap, 0, S_OK),
            (Kind.mmio_read, 0, GONE),
            (Kind.mmio_write, 0, GONE),
            (Kind.config_read, 0, GONE),
        ]
        assert b"is gone" in recording.payload(rows[0]["payload"], rows[0]["size"])
        with Process(on, instance) as again:
            again.plug(index=1)
            assert on.write(PLACE, 7) == S_OK
            assert on.read(PLACE) == (S_OK, 7)
    os.close(event)


@pytest.mark.fault(56)
@pytest.mark.parametrize("end", [EXIT, ABORT, SYSTEM_EXIT], ids=["_exit", "abort", "exit"])
def test_a_device_that_ends_its_process_is_as_one_that_was_killed(on: Machine, recording: Recording, end: int) -> None:
    with Process(on, uuid.uuid4()) as process:
        process.plug()
        since = len(recording)
        assert on.read(PLACE + end) == (GONE, ONES)
        assert process.remote.ended() == GONE
        assert on.read(PLACE) == (GONE, ONES)
        rows = recording.rows(Kind.mmio_read, Kind.fault, since=since)
        assert pairs(rows, "kind", "status") == [(Kind.mmio_read, GONE), (Kind.fault, GONE), (Kind.mmio_read, GONE)]


@pytest.mark.fault(56)
def test_a_device_that_closes_all_descriptors_is_as_one_that_hangs(on: Machine) -> None:
    with Process(on, uuid.uuid4(), budget_ms=200) as process:
        process.plug()
        assert on.read(PLACE + CLOSE_ALL)[1] == ONES
        assert on.read(PLACE)[1] == ONES


@pytest.mark.fault(56)
def test_a_device_that_forks_serves_on(on: Machine) -> None:
    with Process(on, uuid.uuid4()) as process:
        process.plug()
        assert on.read(PLACE + FORK) == (S_OK, 0)
        assert on.write(PLACE, 3) == S_OK
        assert on.read(PLACE) == (S_OK, 3)
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
        for task in children.parent.parent.glob("*/children"):
            for child in task.read_text("ascii").split():
                os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize(
    "place_of_hang",
    [pytest.param(SPIN, marks=pytest.mark.fault(52)), pytest.param(SLEEP, marks=pytest.mark.fault(53))],
    ids=["in Python", "in C"],
)
def test_a_device_that_does_not_answer_costs_the_guest_its_budget_once(
    on: Machine, recording: Recording, place_of_hang: int
) -> None:
    instance = uuid.uuid4()
    with Process(on, instance, budget_ms=200) as process:
        process.plug()
        since = len(recording)
        begin = time.monotonic()
        assert on.read(PLACE + place_of_hang) == (HResult.ERROR_TIMEOUT, ONES)
        assert 0.2 <= time.monotonic() - begin < 5
        assert process.remote.wait(lib.HDVLAB_PROXY_UP)[:2] == (S_OK, lib.HDVLAB_PROXY_HUNG)
        process.remote.budget(4000)
        begin = time.monotonic()
        assert on.read(PLACE) == (HResult.ERROR_TIMEOUT, ONES)
        assert on.write(PLACE, 1) == HResult.ERROR_TIMEOUT
        assert time.monotonic() - begin < 2, "no one waits for a device that is known to hang"
        assert pairs(recording.rows(Kind.fault, since=since), "device", "status") == [(0, HResult.ERROR_TIMEOUT)]
        assert on.remove_slot(0) == S_OK, "nor does taking it out"
        process.process.kill()  # what its owner does
        with Process(on, instance) as again:
            again.plug()
            assert on.read(PLACE) == (S_OK, 0)


@pytest.mark.fault(53)
def test_a_late_answer_is_thrown_away_and_the_device_serves_again(on: Machine, recording: Recording) -> None:
    with Process(on, uuid.uuid4(), budget_ms=100) as process:
        process.plug()
        on.write(PLACE + LATE_MS, 500)
        since = len(recording)
        assert on.read(PLACE + LATE_MS) == (HResult.ERROR_TIMEOUT, ONES)
        assert process.remote.wait(lib.HDVLAB_PROXY_UP)[1] == lib.HDVLAB_PROXY_HUNG
        assert process.remote.wait(lib.HDVLAB_PROXY_HUNG)[1] == lib.HDVLAB_PROXY_UP
        assert on.write(PLACE, 0x1234) == S_OK
        assert on.read(PLACE) == (S_OK, 0x1234)
        assert pairs(recording.rows(Kind.fault, since=since), "status") == [(HResult.ERROR_TIMEOUT,), (S_OK,)]


def _life(on: Machine, instance: uuid.UUID, forker: subprocess.Popen[str], delay: float, while_plugging: bool) -> int:
    """A process that is killed while accesses run; how many were answered."""
    kill, done = threading.Event(), 0

    def shoot() -> None:
        happens(kill)
        time.sleep(delay)
        process.kill()

    with Process(on, instance, forker=forker) as process:
        with Threads() as threads:
            threads.start(shoot)
            if while_plugging:
                kill.set()
            added = add_slot(on, instance)
            kill.set()
            assert added in (S_OK, GONE, HResult.E_UNEXPECTED)
            if added == S_OK:
                place(on)
                while (hresult := on.write(PLACE + DMA, 0x1000)) == S_OK:
                    assert on.read(PLACE + DMA)[1] in (0x1000, ONES)
                    done += 1
                assert hresult in (GONE, HResult.ERROR_NOACCESS)
        assert process.remote.ended() == GONE
    return done


@pytest.mark.fault(46)
def test_a_process_killed_at_any_moment_never_harms_the_machine(on: Machine, recording: Recording) -> None:
    seeded = random.Random(20261123)
    instance, forker = uuid.uuid4(), spawn([])
    answered = sum(_life(on, instance, forker, seeded.random() * 0.004, n % 4 == 3) for n in range(100))
    forker.communicate()
    assert answered > 100
    assert HResult.E_PENDING not in {row["status"] for row in recording.rows()}


def test_two_devices_of_one_process_do_not_wait_for_each_other(on: Machine) -> None:
    host, remote = local(on)
    remote.budget(4000)
    first, second = host.create(CallbackDevice()), host.create(CallbackDevice())
    inside, go = threading.Event(), threading.Event()

    def slow(*_: int) -> int:
        inside.set()
        happens(go)
        return 1

    first.read = slow
    for slot, device in enumerate((first, second)):
        assert add_slot(on, device.instance_id, slot) == S_OK
        place(on, slot, PLACE + 0x100_0000 * slot)
    with Threads() as threads:
        threads.start(lambda: on.read(PLACE))
        happens(inside)
        assert on.read(PLACE + 0x100_0000) == (S_OK, 0)
        go.set()
    host.teardown()
    remote.release()


@pytest.mark.fault(39)
def test_tearing_the_host_down_in_the_devices_process_is_told_and_in_order(on: Machine, recording: Recording) -> None:
    host, remote = local(on)
    device, idle = host.create(CallbackDevice()), host.create(CallbackDevice())
    assert add_slot(on, device.instance_id) == S_OK
    place(on)
    since = len(recording)
    assert host.teardown() == S_OK
    assert remote.ended() == S_OK
    assert device.names()[-2:] == ["stop", "teardown"]
    assert idle.names() == ["teardown"]
    assert [row["kind"] for row in recording.rows(since=since)] == [Kind.stop, Kind.teardown]
    assert on.read(PLACE)[1] == ONES
    remote.release()


def test_the_machines_owner_can_end_a_host(on: Machine) -> None:
    host, remote = local(on)
    device = host.create(CallbackDevice())
    assert add_slot(on, device.instance_id) == S_OK
    assert code(lib.HdvTeardownDeviceHost(ffi.cast("void *", remote.ipc))) == S_OK
    assert host.wait_machine(20_000) == S_OK
    assert device.names()[-2:] == ["stop", "teardown"]
    assert remote.ended() == S_OK
    assert host.teardown() == S_OK
    remote.release()


def test_a_machine_that_goes_without_a_word_is_stop_and_teardown_for_the_device(recording: Recording) -> None:
    machine = Machine(recording)
    assert machine.start() == S_OK
    process = Process(machine, uuid.uuid4()).plug()
    machine.close()
    process.remote.release()
    out, _ = process.process.communicate(timeout=20)
    assert out == "stop teardown\n"
    assert process.process.returncode == 0


def test_nobody_listening_and_a_socket_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    out = ffi.new("IVmDeviceHostSupport **")
    assert code(lib.hdvlab_proxy_connect(bytes(tmp_path / "none"), out)) == HResult.HCS_E_CONNECT_FAILED
    assert code(lib.hdvlab_proxy_connect(b"/" + b"x" * 200, out)) == HResult.E_INVALIDARG
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    assert code(lib.hdvlab_proxy_support_from_socket(one.detach(), out)) == HResult.E_INVALIDARG
    RemoteHost(other, HResult.E_INVALIDARG)
    file = memfd()
    assert code(lib.hdvlab_proxy_support_from_socket(file, out)) == HResult.E_HANDLE
    assert code(lib.hdvlab_proxy_support_from_socket(-1, out)) == HResult.E_HANDLE


def test_a_host_that_the_broker_does_not_take_is_told_so(on: Machine) -> None:
    theirs, mine = pair()
    with Threads() as threads:
        threads.start(lambda: RemoteHost(mine).release())
        ProxyHost.over(theirs, expect=GONE)


def test_budgets_are_kept_below_what_a_vm_waits(on: Machine) -> None:
    host, remote = local(on)
    for budget in (0, 4001, 1 << 31):
        assert code(lib.hdvlab_proxy_set_budget(remote.object, budget)) == HResult.E_INVALIDARG
    hresult, state, _ = remote.wait(lib.HDVLAB_PROXY_UP, 1)
    assert (hresult, state) == (HResult.ERROR_TIMEOUT, lib.HDVLAB_PROXY_UP)
    host.teardown()
    remote.release()


def test_a_hundred_hosts_come_and_go_and_leave_nothing(on: Machine) -> None:
    before = lib.hdvlab_live_handles()
    for _ in range(100):
        host, remote = local(on)
        device = host.create(CallbackDevice())
        assert add_slot(on, device.instance_id) == S_OK
        assert host.teardown() == S_OK
        remote.release()
        assert on.remove_slot(0) == S_OK
    deadline = time.monotonic() + 5
    while lib.hdvlab_live_handles() != before and time.monotonic() < deadline:
        os.sched_yield()
    assert lib.hdvlab_live_handles() == before


def test_a_device_host_written_in_c_serves_the_guest(recording: Recording, tmp_path: Path) -> None:
    compiler = needed("cc", "gcc libc6-dev")
    core, library = ROOT / "hdvlab/_core", Path(_native.__file__).parent
    program, source = tmp_path / "device", Path(__file__).parent / "proxy_device.c"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{core / 'include'}", f"-Wl,-rpath,{library}"]
    plain = plain_environment()
    subprocess.run([compiler, *flags, source, library / "libvmdevicehost.so", "-o", program], check=True, env=plain)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    machine = Machine(recording)
    assert machine.start() == S_OK
    with listener, subprocess.Popen([program, tmp_path / "s"], stdout=subprocess.PIPE, text=True) as process:
        try:
            remote = RemoteHost(listener.accept()[0]).register(machine)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            instance = uuid.UUID("00000009-0009-0009-0900-000000000000")
            assert add_slot(machine, instance) == S_OK
            place(machine)
            assert machine.config_read(0, 0) == (S_OK, 0xC0DE_1234)
            assert machine.read(PLACE + 0x44) == (S_OK, 0x4444_4444)
            assert machine.write(PLACE, 0x5000) == S_OK
            assert machine.ram_read(0x5000, 13) == (S_OK, b"hello from C\0")
            assert machine.wait_interrupt(0x42) == (S_OK, 0)
            machine.close()
            remote.release()
            assert process.wait(20) == 0
        finally:
            process.kill()
