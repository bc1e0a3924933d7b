"""Programs that are stopped from outside: by ``stop``, by Ctrl-C, by the machine going off."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.errors import GuestInterrupted, GuestTimeoutError, HResult, StateError
from hdvlab.guest import Guest, Program

from ..labs import PATIENCE, wait_for
from .blink import Blink


@pytest.fixture
def blink(lab: Lab) -> Blink:
    device = lab.plug(Blink).device
    assert isinstance(device, Blink)
    return device


class Endless:
    """Ways not to end; ``begun`` is set once a program is in it."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def loop(self, guest: Guest) -> None:
        self.begun.set()
        while True:
            pass

    def wait(self, guest: Guest) -> None:
        guest.request_interrupts(guest["blink"])
        self.begun.set()
        guest.wait_interrupt(guest["blink"], timeout=1000)

    def sleep(self, guest: Guest) -> None:
        self.begun.set()
        guest.sleep(1000)

    def poll(self, guest: Guest) -> None:
        self.begun.set()
        while guest["blink"].bar0.COUNT.read() == 0:
            pass

    def handler(self, guest: Guest) -> None:
        threading.Thread(target=lambda: guest["blink"] and self.begun.set(), name="hdvlab-test").start()
        guest["blink"].bar0.HANG.write(1)

    def stubborn(self, guest: Guest) -> None:
        self.begun.set()
        while True:
            try:
                guest["blink"].bar0.COUNT.read()
            except Exception:
                continue


WAYS = ["loop", "wait", "sleep", "poll", "handler", "stubborn"]


def begin(lab: Lab, blink: Blink, way: str) -> Program:
    """A program that is in its endless way."""
    endless = Endless()
    program = lab.run(getattr(endless, way), wait=False).program
    wait_for(blink.hanging if way == "handler" else endless.begun)
    assert program is not None
    return program


def works(lab: Lab) -> bool:
    """The lab is as good as before: accesses, programs, interrupts."""

    def driver(guest: Guest) -> int:
        guest.request_interrupts(guest["blink"])
        guest["blink"].bar0.RING.write(0)
        guest.wait_interrupt(guest["blink"], timeout=PATIENCE)
        guest["blink"].bar0.COUNT.write(8)
        return guest["blink"].bar0.COUNT.read()

    return lab.run(driver).value == 8 and lab["blink"].bar0.COUNT.read() == 8


@pytest.mark.fault(52)
@pytest.mark.parametrize("way", WAYS)
def test_a_program_is_stopped_whatever_it_is_doing_and_the_lab_goes_on(lab: Lab, blink: Blink, way: str) -> None:
    program = begin(lab, blink, way)
    program.stop()
    assert not program.running
    with pytest.raises(GuestInterrupted):
        program.result()
    assert program.error is not None
    program.error.__traceback__ = None
    assert lab.faults == [], "what stopped a handler from outside is no fault of the device"
    assert works(lab)


@pytest.mark.parametrize("way", ["loop", "wait", "handler"])
def test_power_off_stops_programs_first(lab: Lab, blink: Blink, way: str) -> None:
    program = begin(lab, blink, way)
    lab.stop()
    assert not program.running
    assert isinstance(program.error, GuestInterrupted)
    lab.start()
    assert works(lab)


def test_the_row_of_a_stopped_handler_says_aborted(lab: Lab, blink: Blink) -> None:
    begin(lab, blink, "handler").stop()
    frame = lab.trace.frame()
    assert frame[frame["address"] == 0x0C]["status"].iloc[-1] == HResult.E_ABORT.signed
    assert frame.attrs["pending"] == 0


def test_stopping_what_has_ended_is_nothing(lab: Lab, blink: Blink) -> None:
    program = lab.run(lambda guest: 5).program
    assert program is not None
    program.stop()
    assert program.result() == 5


def test_stopping_one_program_leaves_another_that_waits_alone(lab: Lab, blink: Blink) -> None:
    waiting = threading.Event()

    def wait(guest: Guest) -> int:
        guest.request_interrupts(guest["blink"])
        waiting.set()
        return guest.wait_interrupt(guest["blink"], timeout=PATIENCE)

    patient = lab.run(wait, wait=False).program
    wait_for(waiting)
    begin(lab, blink, "loop").stop()
    assert patient is not None
    assert patient.running
    lab["blink"].bar0.RING.write(0)
    assert patient.result() == 0


# A weak reference's callback may be what the program's thread runs at that moment; it swallows the stop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_at_the_moment_of_the_end_leaves_nothing_behind(lab: Lab, blink: Blink) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(60):
            program = lab.run(lambda guest: guest.dma_alloc(40 << 20).address, wait=False).program
            assert program is not None
            program.stop()
            assert not program.running
            assert program.value is not None or isinstance(program.error, GuestInterrupted)
    finally:
        sys.setswitchinterval(before)
    assert lab.run(lambda guest: guest.dma_alloc(40 << 20).address).value == 1 << 20


@contextlib.contextmanager
def ctrl_c_when(event: threading.Event, press: Callable[[], None], inside: str = "") -> Iterator[None]:
    """Press Ctrl-C once the event is set and this thread executes a function of the name ``inside``."""
    main = threading.main_thread().ident or 0

    def is_inside() -> bool:
        frame = sys._current_frames()[main]
        return not inside or frame.f_code.co_name == inside

    def wait() -> None:
        wait_for(event)
        deadline = time.monotonic() + PATIENCE
        while not is_inside():
            assert time.monotonic() < deadline
        press()

    thread = threading.Thread(target=wait)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    thread.join(PATIENCE)


def press_signal() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.fault(52)
@pytest.mark.parametrize("press", [press_signal, _thread.interrupt_main], ids=["SIGINT", "interrupt_main"])
@pytest.mark.parametrize("way", ["loop", "wait", "handler"])
def test_ctrl_c_ends_the_program_that_a_cell_waits_for(
    lab: Lab, blink: Blink, way: str, press: Callable[[], None]
) -> None:
    endless = Endless()
    with ctrl_c_when(blink.hanging if way == "handler" else endless.begun, press):
        lab.run(getattr(endless, way))
    assert [program for program in lab._programs if program.running] == []
    assert lab.faults == []
    assert works(lab)


@pytest.mark.fault(52)
@pytest.mark.parametrize("access", ["write", "poke"])
def test_ctrl_c_ends_a_handler_that_a_cell_called_itself(lab: Lab, blink: Blink, access: str) -> None:
    plugged = lab["blink"]
    call: dict[str, Callable[[], Any]] = {
        "write": lambda: plugged.bar0.HANG.write(1),
        "poke": lambda: plugged.poke(0, 0x0C, 4, 1),
    }
    with ctrl_c_when(blink.hanging, press_signal):
        call[access]()
    assert lab.faults == []
    plugged.poke(0, 0x04, 4, 3)
    assert works(lab)
    lab.stop()


@pytest.mark.fault(52)
def test_ctrl_c_ends_a_cell_that_waits_for_a_busy_device(lab: Lab, blink: Blink) -> None:
    program = begin(lab, blink, "handler")
    with ctrl_c_when(blink.hanging, press_signal, inside="read"):
        lab["blink"].bar0.COUNT.read()
    program.stop()
    assert works(lab)


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_an_interrupt_that_does_not_come_is_a_timeout_that_says_for_what(lab: Lab, blink: Blink) -> None:
    def driver(guest: Guest) -> None:
        guest.request_interrupts(guest["blink"])
        guest.wait_interrupt(guest["blink"], timeout=0.25)

    began = time.monotonic()
    with pytest.raises(GuestTimeoutError, match=r"no interrupt on vector 0x20 within 0.25 s") as caught:
        lab.run(driver)
    assert time.monotonic() - began >= 0.25
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.hresult == HResult.ERROR_TIMEOUT


def test_a_waiting_program_is_woken_by_the_interrupt_and_not_by_its_timeout(lab: Lab, blink: Blink) -> None:
    ready = threading.Event()

    def driver(guest: Guest) -> int:
        guest.request_interrupts(guest["blink"])
        ready.set()
        return guest.wait_interrupt(guest["blink"], timeout=1000)

    program = lab.run(driver, wait=False).program
    wait_for(ready)
    lab["blink"].bar0.RING.write(0)
    assert program is not None
    assert program.join(PATIENCE)
    assert program.result() == 0


def test_a_cpu_vector_can_be_waited_for_by_its_number(lab: Lab, blink: Blink) -> None:
    def driver(guest: Guest) -> int:
        [vector] = guest.request_interrupts(guest["blink"])
        guest["blink"].bar0.RING.write(0)
        return guest.wait_interrupt(vector, timeout=0)

    assert lab.run(driver).value == 0


def test_two_programs_have_vectors_and_buffers_of_their_own(lab: Lab, blink: Blink) -> None:
    lab.plug(Blink, name="other")
    both = threading.Barrier(2, timeout=PATIENCE)

    def driver(guest: Guest, name: str) -> tuple[int, int]:
        [vector] = guest.request_interrupts(guest[name])
        buffer = guest.dma_alloc(4096)
        both.wait()
        guest[name].bar0.RING.write(0)
        assert guest.wait_interrupt(guest[name], timeout=PATIENCE) == 0
        both.wait()
        return vector, buffer.address

    programs = [lab.run(driver, name, wait=False).program for name in ("blink", "other")]
    (one, here), (two, there) = [program.result() for program in programs if program is not None]
    assert (one != two, here != there) == (True, True)


def test_a_function_keeps_its_own_vectors_per_program(lab: Lab, blink: Blink) -> None:
    lab.run(lambda guest: guest.request_interrupts(guest["blink"]))

    def driver(guest: Guest) -> None:
        guest.wait_interrupt(guest["blink"])

    with pytest.raises(StateError, match="blink was given 0 vectors; request_interrupts"):
        lab.run(driver)
