"""Several threads wait, let go, switch off and close while something is held: nobody is left waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.errors import StateError, UsageError
from hdvlab.guest import Guest
from hdvlab.stepping import Pending

from ..labs import PATIENCE
from .blink import Bleep, Blink, write_three


@pytest.fixture
def blink(lab: Lab) -> Iterator[Lab]:
    lab.plug(Blink)
    lab.stepper.announces = False
    yield lab
    lab.breakpoints.clear()


class Threads:
    """Calls on threads of their own, and what came of them."""

    def __init__(self) -> None:
        self.came: list[Any] = []
        self._all: list[threading.Thread] = []

    def start(self, call: Callable[[], Any]) -> None:
        def work() -> None:
            try:
                self.came.append(call())
            except Exception as error:
                self.came.append(error)

        thread = threading.Thread(target=work, name="waits", daemon=True)
        thread.start()
        self._all.append(thread)

    def join(self) -> list[Any]:
        for thread in self._all:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "it waits for ever"
        return self.came


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_machine_that_is_held_while_it_is_switched_on_is_switched_off(blink: Lab, how: str) -> None:
    blink.stop()
    blink.break_at(kind="set_configuration")
    threads = Threads()
    threads.start(blink.start)
    assert blink.wait_stop(PATIENCE) is not None
    with pytest.raises(StateError, match="held at breakpoint 1: blink set configuration; %hdv continue"):
        blink.plug(Bleep)
    getattr(blink, how)()
    assert threads.join() == [None]
    assert not blink.running
    assert not blink.stops


def test_several_may_wait_for_the_end_of_one_program(blink: Lab) -> None:
    threads, asked, taken = Threads(), set(), []

    def is_running() -> bool:
        if threading.current_thread().name == "waits":  # the lab looks at it, too
            asked.add(threading.get_ident())
        return len(asked) < 3  # until all of them wait

    blink.stepper.pending.add(Pending("the run", is_running, lambda: taken.append(1)))
    for _ in range(3):
        threads.start(blink.resume)
    assert threads.join() == ["the run"] * 3
    assert taken == [1]


def test_who_waits_for_a_program_returns_when_the_machine_goes_off(blink: Lab) -> None:
    threads, asked = Threads(), threading.Event()

    def is_running() -> bool:
        if threading.current_thread().name == "waits":  # the lab looks at it, too
            asked.set()
        return True  # as a program that does not let itself be stopped

    blink.stepper.pending.add(Pending("the run", is_running, lambda: None))
    threads.start(blink.resume)
    assert asked.wait(PATIENCE)
    blink.stop()
    assert threads.join() == ["the run"]


def test_who_waits_for_a_stop_is_told_when_the_lab_is_closed(blink: Lab) -> None:
    threads = Threads()
    threads.start(blink.wait_stop)
    blink.close()
    (came,) = threads.join()
    assert isinstance(came, StateError)
    assert "closed" in str(came)


def test_a_callback_may_let_go_what_it_is_told_of(blink: Lab) -> None:
    blink.on_stop(lambda stop: blink.resume())
    blink.break_at("CTRL", access="w")
    run = blink.run(write_three)
    while run.program.running:
        blink.resume()
    assert run.value == 0x12


def test_reads_and_writes_are_ignored_and_met_once_together(blink: Lab) -> None:
    def program(guest: Guest) -> None:
        ctrl = guest.functions["blink"].bar0.CTRL
        for _ in range(3):
            ctrl.write(0)
            ctrl.read()

    blink.break_at("CTRL.EN==0", ignore=1, once=True)
    blink.run(program)
    (stop,) = blink.stops
    assert (stop.kind, stop.phase) == ("mmio_read", "after")
    assert blink.resume().value is None
    assert len(blink.breakpoints) == 0


def test_a_tracepoint_says_nothing_of_what_it_is_to_ignore(blink: Lab) -> None:
    blink.break_at("CTRL", access="w", log="{value:#x}", ignore=2)
    blink.run(write_three)
    marks = list(blink.trace.marks()["text"])
    assert [text for text in marks if text.startswith("log")] == ["log 1: 0x12"]
    assert blink.breakpoints[1].hits == 3


@pytest.mark.parametrize(
    "ask",
    [
        lambda lab: lab.step(1 << 64),
        lambda lab: lab.break_at("CTRL", ignore=1 << 64),
        lambda lab: lab.break_at("CTRL", keep=(0, 1 << 64)),
    ],
)
def test_a_number_that_is_too_large_is_refused(blink: Lab, ask: Callable[[Lab], Any]) -> None:
    with pytest.raises(UsageError):
        ask(blink)
    assert len(blink.breakpoints) == 0
    assert blink.run(write_three).value == 0x12
