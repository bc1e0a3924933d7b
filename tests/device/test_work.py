"""Work outside of accesses: timers, threads, the lock, and what their rows name as their cause."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register

from ..labs import PATIENCE, wait_for

BASE = 0x20_0000


class Worker(Device):
    vendor_id, device_id = 0x1234, 15

    class bar0(Bar):
        LATER = Register(0x00)
        ELSEWHERE = Register(0x04)
        COUNT = Register(0x08, access="ro")

    def initialize(self) -> None:
        self.done = threading.Event()
        self.go_on = threading.Event()

    @bar0.LATER.on_write
    def later(self, value: int) -> None:
        self.after(value / 1000, self.work, value)

    @bar0.ELSEWHERE.on_write
    def elsewhere(self, value: int) -> None:
        self.spawn(self.locked_work, value)

    def work(self, value: int) -> None:
        self.bar0.COUNT += 1
        self.dma_write(BASE, bytes([value]))
        self.done.set()

    def locked_work(self, value: int) -> None:
        wait_for(self.go_on)
        self.dma_write(BASE + 1, b"unlocked")
        with self.lock:
            self.work(value)


@pytest.fixture
def device(lab: Lab) -> Worker:
    device = lab.plug(Worker).device
    assert isinstance(device, Worker)
    return device


def causes(lab: Lab, kind: str) -> list[tuple[str, int]]:
    """Kind and address of the rows that rows of ``kind`` name as their cause."""
    frame = lab.trace.frame()
    rows = frame[frame["kind"] == kind]
    named = frame.loc[rows["cause"]]
    return list(zip(named["kind"], named["address"], strict=True))


def test_a_timer_runs_later_and_its_rows_name_the_write_that_set_it(lab: Lab, device: Worker) -> None:
    lab["worker"].bar0.LATER.write(1)
    wait_for(device.done)
    assert causes(lab, "dma_write") == [("mmio_write", 0)]
    assert lab.machine.ram_read(BASE, 1) == b"\1"


def test_a_thread_runs_meanwhile_and_its_rows_name_the_write_that_began_it(lab: Lab, device: Worker) -> None:
    bar0 = lab["worker"].bar0
    bar0.ELSEWHERE.write(9)
    assert bar0.COUNT.read() == 0, "the guest goes on while it works"
    device.go_on.set()
    wait_for(device.done)
    assert causes(lab, "dma_write") == [("mmio_write", 4), ("mmio_write", 4)]
    assert bar0.COUNT.read() == 1


def test_two_works_keep_their_causes_apart(lab: Lab, device: Worker) -> None:
    bar0 = lab["worker"].bar0
    bar0.ELSEWHERE.write(1)
    device.go_on.set()
    wait_for(device.done)
    device.done.clear()
    bar0.LATER.write(1)
    wait_for(device.done)
    assert causes(lab, "dma_write")[-1] == ("mmio_write", 0)


def test_work_that_nothing_caused_has_no_cause(lab: Lab, device: Worker) -> None:
    device.after(0, device.work, 3)
    wait_for(device.done)
    frame = lab.trace.frame()
    assert list(frame[frame["kind"] == "dma_write"]["cause"]) == [-1]


def test_a_cancelled_timer_does_not_run(lab: Lab, device: Worker) -> None:
    timer = device.after(0.05, device.work, 3)
    timer.cancel()
    timer.join(PATIENCE)
    assert not timer.is_alive()
    assert not device.done.is_set()


def test_timers_that_were_cancelled_are_not_kept(lab: Lab, device: Worker) -> None:
    for _ in range(100):
        timer = device.after(60, device.work, 3)
        timer.cancel()
        timer.join(PATIENCE)
    device.after(60, device.work, 3)
    assert device._work is not None
    assert len(device._work._threads) == 1


def test_inside_the_lock_no_access_runs(lab: Lab, device: Worker) -> None:
    bar0, inside = lab["worker"].bar0, threading.Event()
    answers: list[int] = []

    def hold() -> None:
        with device.lock:
            inside.set()
            wait_for(device.go_on)
            device.bar0.COUNT = 41
            device.bar0.COUNT += 1

    holder = device.spawn(hold)
    wait_for(inside)
    reader = threading.Thread(target=lambda: answers.append(bar0.COUNT.read()))
    reader.start()
    reader.join(0.15)
    assert answers == [], "longer than the 50 ms that one try waits"
    device.go_on.set()
    reader.join(PATIENCE)
    holder.join(PATIENCE)
    assert answers == [42]


@pytest.mark.fault(44)
def test_handlers_of_one_device_never_run_at_once(lab: Lab) -> None:
    class Careful(Worker):
        def initialize(self) -> None:
            super().initialize()
            self.busy = False

        def later(self, value: int) -> None:
            assert not self.busy
            self.busy = True
            for _ in range(20):
                self.bar0.COUNT += 1
            self.busy = False

    lab.plug(Careful)

    def driver(guest: Any) -> None:
        for _ in range(50):
            guest["careful"].bar0.LATER.write(1)

    runs = [lab.run(driver, wait=False) for _ in range(4)]
    for run in runs:
        run.program.result()
    assert lab.faults == []
    assert lab["careful"].bar0.COUNT.read() == 4 * 50 * 20


def test_who_is_inside_already_may_take_the_lock_again(lab: Lab, device: Worker) -> None:
    with device.lock:
        with device.lock:
            device.bar0.COUNT = 4
        device.bar0.COUNT = 5
        held: list[BaseException] = []

        def outside() -> None:
            try:
                with device.lock:
                    device.bar0.COUNT += 1
            except BaseException as error:
                held.append(error)

        other = threading.Thread(target=outside)
        other.start()
        other.join(0.3)
        assert other.is_alive(), "the inner one did not leave the outer"
    other.join(5)
    assert held == []
    assert lab["worker"].bar0.COUNT.read() == 6


def test_the_lock_is_given_back_when_its_block_raises(lab: Lab, device: Worker) -> None:
    with pytest.raises(ZeroDivisionError), device.lock:
        1 / 0  # noqa: B018
    assert lab["worker"].bar0.COUNT.read() == 0


def test_what_a_timer_or_thread_raises_is_a_fault_with_its_cause(
    lab: Lab, device: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(text: str) -> None:
        raise RuntimeError(text)

    device.spawn(fail, "in a thread").join(PATIENCE)
    device.after(0, fail, "in a timer").join(PATIENCE)
    device.spawn(fail, "SystemExit is no way out").join(PATIENCE)
    assert [(f.operation, str(f.error)) for f in lab.faults] == [
        ("spawn", "in a thread"), ("after(0 s)", "in a timer"), ("spawn", "SystemExit is no way out"),
    ]  # fmt: skip
    told = capsys.readouterr().err
    assert told.count("Traceback") == 3
    assert "answered all ones" not in told, "no guest was waiting"


def test_a_device_that_stops_cancels_timers_and_tells_threads(lab: Lab, device: Worker) -> None:
    ended, running = threading.Event(), threading.Event()
    stopping = device.stopping

    def run() -> None:
        running.set()
        assert stopping.wait(PATIENCE)
        ended.set()

    thread = device.spawn(run)
    timer = device.after(60, device.work, 3)
    wait_for(running)
    lab.stop()
    wait_for(ended)
    thread.join(PATIENCE)
    timer.join(PATIENCE)
    assert not timer.is_alive()
    assert not device.done.is_set()
    assert lab.faults == []


def test_a_thread_that_reaches_for_a_machine_that_went_off_is_no_fault(lab: Lab, device: Worker) -> None:
    ended = threading.Event()
    off = threading.Event()

    def run() -> None:
        wait_for(off)
        try:
            device.dma_write(BASE, b"1")
        finally:
            ended.set()

    def run_locked() -> None:
        lock = device.lock
        wait_for(off)
        with lock:
            raise AssertionError("a lock of a device that is gone")

    threads = [device.spawn(run), device.spawn(run_locked)]
    machine_off = threading.Thread(target=lab.stop)
    machine_off.start()
    while lab.running:
        machine_off.join(0.01)
    off.set()
    machine_off.join(PATIENCE)
    wait_for(ended)
    for thread in threads:
        thread.join(PATIENCE)
    assert lab.faults == []


def test_work_asked_for_while_the_device_stops_does_not_begin(lab: Lab) -> None:
    begun: list[str] = []

    class Late(Worker):
        def stop(self) -> None:
            assert self.stopping.is_set()
            self.after(0, begun.append, "timer")
            self.spawn(begun.append, "thread")

    lab.plug(Late)
    lab.stop()
    assert lab["late"].device.join_work() == []
    assert begun == []
    assert lab.faults == []


def test_one_lock_object_may_be_entered_twice(lab: Lab, device: Worker) -> None:
    lock = device.lock
    seen: list[int] = []

    def outside() -> None:
        with device.lock:
            seen.append(device.bar0.COUNT)

    with lock:
        with lock:
            pass
        other = threading.Thread(target=outside)
        other.start()
        other.join(0.2)
        device.bar0.COUNT = 7
    other.join(5)
    assert seen == [7], "the inner exit let another thread in"
