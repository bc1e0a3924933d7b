"""Breakpoints of a device host: set, told and let go by whichever kernel is attached."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from hdvlab import Bar, Device, Register
from hdvlab.errors import HdvError, StateError, UsageError
from hdvlab.guest import Guest
from hdvlab.host import RemoteLab, attach
from hdvlab.stepping import Stop

from .conftest import PATIENCE


class Echo(Device):
    vendor_id, device_id = 0x1234, 0x0042

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 7)})
        ANSWER = Register(0x04)

    @bar0.ANSWER.on_read
    def answer(self) -> int:
        return 1


class Better(Device):
    vendor_id, device_id = 0x1234, 0x0042

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 7)})
        ANSWER = Register(0x04)

    @bar0.ANSWER.on_read
    def answer(self) -> int:
        return 2


def driver(guest: Guest) -> int:
    bar = guest.functions["echo"].bar0
    bar.CTRL.write(0x11)
    return bar.ANSWER.read()


@pytest.fixture
def echo(remote: RemoteLab) -> RemoteLab:
    remote.plug(Echo)
    remote.stepper.announces = False
    return remote


def test_a_program_in_the_host_is_held_and_its_result_comes_after_it_went_on(echo: RemoteLab) -> None:
    echo.break_at("CTRL", access="w", when="EN and value == 0x11")
    run = echo.run(driver, name="mine")
    assert "held at breakpoint 1: echo.CTRL write 0x11" in repr(run)
    (stop,) = echo.stops
    assert (stop.register, stop.fields, stop.stored) == ("CTRL", "EN=1 RATE=8", 0)
    assert stop.source.startswith("driver:")
    assert len(stop.frame(1)) == 1
    assert echo["echo"].peek(0, 0, 4) == 0
    assert echo.resume() is run
    assert run.value == 1
    assert echo.breakpoints[1].stops == 1


def test_the_edited_device_serves_the_access_that_is_held(echo: RemoteLab) -> None:
    echo.break_at("ANSWER", when="value == 1")
    run = echo.run(driver)
    assert echo.stops[0].phase == "after"  # of a read: it has a value then
    echo.plug(Better, name="echo")
    assert echo.retry() is run
    assert run.value == 2


def test_another_kernel_sees_breakpoints_and_stops_and_lets_go(echo: RemoteLab) -> None:
    echo.break_at("CTRL==0x11", access="w")
    run = echo.run(driver)
    other = attach(echo.name)
    other.stepper.announces = False
    assert [one.text for one in other.breakpoints] == ["CTRL==0x11 writes"]
    assert other.stops == echo.stops
    other.resume()
    assert run.program is not None
    assert run.program.join(PATIENCE)
    assert echo.resume() is run  # it had ended
    other.close()


def test_every_kernel_is_told_of_a_stop(echo: RemoteLab) -> None:
    other, told, stops = attach(echo.name), threading.Event(), []
    other.stepper.announces = False

    def tell(stop: Stop) -> None:
        stops.append(stop)
        told.set()

    other.on_stop(tell)
    echo.break_at("CTRL", access="w")
    run = echo.run(driver)
    assert told.wait(PATIENCE)
    assert stops == echo.stops
    assert echo.override(0) is run
    other.close()


def test_a_stop_that_nobody_waits_for_is_printed(echo: RemoteLab, capsys: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()
    echo.stepper.announces = True
    echo.break_at("CTRL", access="w")
    echo.on_stop(lambda stop: told.set())
    run = echo.run(driver, wait=False)
    assert told.wait(PATIENCE)
    assert "held at  breakpoint 1: echo.CTRL write 0x11" in capsys.readouterr().out
    echo.resume()
    assert run.program is not None
    assert run.program.result() == 1


def test_a_step_of_a_devices_life_is_held_and_says_so_at_once(echo: RemoteLab) -> None:
    echo.break_at("echo.start")
    echo.stop()
    with pytest.raises(StateError, match="start has begun and is held at breakpoint 1: echo start"):
        echo.start()
    (stop,) = echo.stops
    assert stop.is_inside
    assert stop.actions == ("continue", "step")
    echo.resume()
    assert echo.run(driver).value == 1


def test_a_function_is_no_condition_there(echo: RemoteLab) -> None:
    with pytest.raises(UsageError, match="write the condition as text"):
        echo.break_at("CTRL", when=lambda hit: True)
    with pytest.raises(UsageError, match="did you mean CTRL"):
        echo.break_at("CTLR")


def test_a_host_that_is_shut_down_lets_go(echo: RemoteLab) -> None:
    echo.break_at("CTRL")
    echo.run(driver)
    echo.shut_down()
    assert not echo.stops


def test_rows_that_a_trigger_keeps_are_a_run_of_every_kernel(echo: RemoteLab) -> None:
    echo.break_at("CTRL==0x11", access="w", keep=(0, 1))
    assert echo.run(driver).value == 1
    (name,) = [name for name in echo.runs if name.startswith("trigger1")]
    kept = echo.runs[name]
    assert list(kept.frame()["kind"]) == ["mmio_write", "mmio_read"]
    other = attach(echo.name)
    assert len(other.runs[name]) == len(kept)
    other.close()


def test_what_a_tracepoint_says_is_printed_here(echo: RemoteLab, capsys: pytest.CaptureFixture[str]) -> None:
    echo.break_at("CTRL", log="CTRL={value:#x} RATE={RATE}")
    assert echo.run(driver).value == 1
    echo.stop()  # what is to be printed is
    assert "CTRL=0x11 RATE=8" in capsys.readouterr().out
    assert list(echo.trace.marks()["text"]) == ["log 1: CTRL=0x11 RATE=8"]


def test_who_waits_for_a_stop_is_told_that_the_host_was_killed(echo: RemoteLab) -> None:
    came: list[BaseException] = []

    def wait() -> None:
        try:
            echo.wait_stop()
        except HdvError as error:
            came.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    os.kill(echo.host.pid, signal.SIGKILL)
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert "gone" in str(came[0])


def test_the_first_stop_of_another_power_on_is_told_of_again(echo: RemoteLab) -> None:
    told: list[Stop] = []
    event = threading.Event()
    echo.on_stop(lambda stop: (told.append(stop), event.set()))  # type: ignore[func-returns-value]
    echo.break_at("CTRL")
    for number in (1, 2):
        echo.run(driver)
        assert event.wait(PATIENCE)
        event.clear()
        assert [stop.ticket for stop in told] == [1] * number
        echo.resume()
        echo.stop()
        echo.start()
