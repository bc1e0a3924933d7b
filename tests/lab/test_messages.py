"""What a person is told when something they did had no effect."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from hdvlab import Bar, Device, Lab, MsixCapability, Register
from hdvlab._core import lib
from hdvlab.errors import (
    AccessError,
    AccessWarning,
    DeviceError,
    GuestInterrupted,
    GuestTimeoutError,
    StateError,
    TraceLossWarning,
)
from hdvlab.guest import Guest
from hdvlab.trace.open import open_trace
from hdvlab.trace.recorder import Recorder

from .moments import pressed_at


class Faulty(Device):
    """Whose handlers fail with errors that are also the bus's."""

    vendor_id, device_id = 0x1234, 0x00FA

    class bar0(Bar, size=4096):
        TYPO = Register(0x00)
        DMA = Register(0x04)
        FINE = Register(0x08)

    @bar0.TYPO.on_write
    def typo(self, value: int) -> None:
        self.bar0.FIEN = value

    @bar0.DMA.on_write
    def dma(self, value: int) -> None:
        self.dma_write(1 << 40, b"x")


@pytest.mark.parametrize(
    ("register", "reason"), [("TYPO", "NoSuchRegisterError.*did you mean FINE"), ("DMA", "GuestMemoryError.*wholly")]
)
def test_a_failed_handler_is_the_reason_also_where_its_error_is_one_of_the_bus(
    lab: Lab, register: str, reason: str
) -> None:
    bar0 = lab.plug(Faulty).bar0
    with pytest.warns(AccessWarning, match=f"its handler failed: {reason}"):
        getattr(bar0, register).write(1)
    lab["faulty"].function.enable(memory=False)  # type: ignore[union-attr]
    with pytest.warns(AccessWarning, match="nothing decodes that address"):
        bar0.FINE.write(1)


def test_a_run_says_how_many_of_its_accesses_failed(lab: Lab) -> None:
    def driver(guest: Guest) -> None:
        guest["faulty"].bar0.TYPO.write(1)
        guest["faulty"].bar0.FINE.write(1)

    lab.plug(Faulty)
    assert "1 failed" in repr(lab.run(driver))


def test_a_guest_reads_and_writes_any_address(lab: Lab) -> None:
    def driver(guest: Guest) -> list[int]:
        base = guest["faulty"].bar0.address
        guest.write(base + 8, 0xABCD, 2)
        return [guest.read(base + 8), guest.read(0xF000_0000), guest.read(0xF000_0000, 8)]

    lab.plug(Faulty)
    run = lab.run(driver)
    assert run.value == [0xABCD, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF]
    assert np.count_nonzero(run.frame()["pc"]) == len(run)
    with pytest.raises(AccessError, match="1, 2, 4 or 8 bytes"):
        lab.run(lambda guest: guest.read(0, 3))


def test_assigning_to_a_register_on_the_guests_side_is_refused_with_what_to_write(lab: Lab) -> None:
    with pytest.raises(AccessError, match=r"FINE\.write\(5\)"):
        lab.plug(Faulty).bar0.FINE = 5  # type: ignore[assignment]


def test_a_device_that_does_not_come_up_says_why_and_keeps_its_fault(lab: Lab) -> None:
    class Late(Faulty):
        def start(self) -> None:
            raise ValueError("not today")

    lab.plug(Faulty, name="one")
    with pytest.raises(DeviceError, match="one is not plugged in, because its Start failed: not today; the one that"):
        lab.plug(Late, name="one")
    assert [str(fault.error) for fault in lab.faults] == ["not today"]
    assert "one" not in lab


def test_a_recording_that_had_to_stop_is_told_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Recorder.create
    monkeypatch.setattr(
        Recorder, "create", lambda path=None, **rest: create(path, **{**rest, "max_rows": 128, "chunk_rows": 64})
    )
    with Lab() as small:
        small.plug(Faulty)
        with pytest.warns(TraceLossWarning, match="rows"):
            run = small.run(lambda guest: [guest["faulty"].bar0.FINE.read() for _ in range(500)])
        assert run.value == [0] * 500, "the guest did not notice"
        small.run(lambda guest: guest["faulty"].bar0.FINE.read())
        assert " lost" in repr(run)
        assert run.frame().attrs["lost"] > 300


def test_a_device_that_hangs_is_named_and_ctrl_c_ends_the_wait(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Faulty):
        held = threading.Event()
        go_on = threading.Event()

        @Faulty.bar0.FINE.on_write
        def fine(self, value: int) -> None:
            self.spawn(self.hold)

        def hold(self) -> None:
            with self.lock:
                self.held.set()
                self.go_on.wait(20)

    one = lab.plug(Hanging)
    one.bar0.FINE.write(1)
    assert Hanging.held.wait(10)
    with pytest.raises(StateError, match="hanging is busy"):
        one.wait_idle(0.1)
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            timer.start()  # in here: on a busy machine the signal may come at once
            lab.unplug("hanging")
        timer.join()
    finally:
        Hanging.go_on.set()
    assert "hanging" in lab
    lab.unplug("hanging")


def test_ctrl_c_in_a_loop_of_handlers_is_never_lost(lab: Lab) -> None:
    class Counting(Faulty):
        @Faulty.bar0.FINE.on_read
        def fine(self) -> int:
            return 1

    read = lab.plug(Counting).bar0.FINE.read
    for _ in range(40):
        timer = threading.Timer(0.01, signal.raise_signal, (signal.SIGINT,))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            timer.start()  # in here: on a busy machine the signal may come at once
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                read()
        timer.join()
    assert lab.faults == []


def test_a_handler_that_times_out_is_called_once_for_one_access(lab: Lab) -> None:
    class Slow(Faulty):
        calls = 0

        @Faulty.bar0.FINE.on_read
        def fine(self) -> int:
            Slow.calls += 1
            raise GuestTimeoutError("the other side does not answer")

    with pytest.warns(AccessWarning, match="its handler failed: GuestTimeoutError"):
        assert lab.plug(Slow).bar0.FINE.read() == 0xFFFF_FFFF
    assert Slow.calls == 1


def test_a_doorbells_row_stands_before_what_it_leads_to(lab: Lab) -> None:
    class Bell(Faulty):
        def start(self) -> None:
            self.bell = self.doorbell(Bell.bar0.FINE)
            self.spawn(self.serve)

        def serve(self) -> None:
            while not self.stopping.is_set():
                for _ in range(self.bell.wait(0.1)):
                    self.interrupt()

    def driver(guest: Guest) -> None:
        guest.request_interrupts(guest["bell"])
        for number in range(300):
            guest["bell"].bar0.FINE.write(number)
            guest.wait_interrupt(guest["bell"])

    lab.plug(Bell)
    rows = lab.run(driver).frame()
    kinds = rows.loc[rows.kind.isin(["doorbell", "interrupt"]), "kind"].tolist()
    assert kinds == ["doorbell", "interrupt"] * 300


def test_who_waits_for_an_interrupt_when_power_goes_off_is_told_at_once(lab: Lab) -> None:
    waiting = threading.Event()

    def driver(guest: Guest) -> None:
        guest.request_interrupts(guest["faulty"])
        waiting.set()
        guest.wait_interrupt(guest["faulty"], timeout=60)

    lab.plug(Faulty)
    run = lab.run(driver, wait=False)
    assert waiting.wait(10)
    lab.stop()
    assert run.program is not None
    assert run.program.join(5)
    assert isinstance(run.program.error, GuestInterrupted)


def test_a_pending_vector_waits_for_bus_mastering_too(lab: Lab) -> None:
    class Masked(Faulty):
        capabilities = (MsixCapability(1, table_bar=2),)

        class bar2(Bar, size=4096):
            pass

        @Faulty.bar0.FINE.on_write
        def fine(self, value: int) -> None:
            self.interrupt(0)

    def driver(guest: Guest) -> None:
        function = guest["masked"]
        guest.request_interrupts(function)
        function.bar2.write(12, 1)  # masked
        function.bar0.FINE.write(1)
        function.enable(bus_master=False)
        function.bar2.write(12, 0)
        assert function.bar2.read(16) == 1, "still pending"
        function.enable()
        guest.wait_interrupt(function)
        assert function.bar2.read(16) == 0

    lab.plug(Masked)
    lab.run(driver)


def test_a_forked_child_that_closes_the_lab_leaves_the_recording_alone(lab: Lab) -> None:
    before = lab.trace.mark("before")
    child = os.fork()
    if child == 0:
        lab.trace.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert lab.trace.mark("after") == before + 1
    assert open_trace(lab.trace.path).is_live  # type: ignore[attr-defined]


def test_ctrl_c_while_waiting_for_a_device_leaves_it_to_others(lab: Lab) -> None:
    one = lab.plug(Faulty)
    moment, came = 1, True
    while came:
        came = pressed_at(moment, one.wait_idle, ("hdvlab.lab.plugged",))
        assert lib.hdvlab_device_inside(one.handle) == 1, f"this thread left it, moment {moment}"
        moment += 1
    assert moment > 3, "there were moments"
    lab.unplug("faulty")
