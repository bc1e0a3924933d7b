"""Guest programs on the embedded machine that are stopped, looked at, and let go."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessWarning, StateError, UsageError
from hdvlab.guest import Guest
from hdvlab.lab import Run
from hdvlab.stepping import Stop

from ..labs import PATIENCE, wait_for
from .blink import Bleep, Blink, copy, read_answer, write_three


@pytest.fixture
def blink(lab: Lab) -> Iterator[Lab]:
    lab.plug(Blink)
    lab.stepper.announces = False
    yield lab
    lab.breakpoints.clear()


def the_stop(lab: Lab) -> Stop:
    (stop,) = lab.stops
    return stop


def test_a_run_that_meets_a_breakpoint_returns_and_says_where_it_is_held(blink: Lab) -> None:
    blink.break_at("CTRL", access="w", when="value & 1")
    run = blink.run(write_three)
    assert "held at breakpoint 1: blink.CTRL write 0x11, before the device; %hdv continue" in repr(run)
    stop = the_stop(blink)
    assert (stop.device, stop.register, stop.value, stop.fields) == ("blink", "CTRL", 0x11, "EN=1 RATE=8 MODE=slow")
    assert (stop.stored, stop.phase, stop.posted, stop.is_inside) == (0x10, "before", False, False)
    assert stop.source.startswith("write_three:")
    assert stop.source.endswith("ctrl.write(value)")
    assert stop.file.endswith("blink.py")
    assert list(stop.frame(2)["kind"]) == ["mmio_write", "mmio_write"]
    assert blink["blink"].peek(0, 4, 4) == 1  # cells run, and the device can be looked at
    assert blink.resume() is run
    assert run.value == 0x12
    assert not blink.stops
    assert "held" not in repr(run)


def test_a_read_is_answered_in_the_devices_place(blink: Lab) -> None:
    blink.break_at("ANSWER")
    run = blink.run(read_answer)
    assert blink.override(0x77) is run
    assert run.value == 0x77
    assert "override" in blink.trace.marks()["text"].iloc[-1]


def test_a_skipped_read_is_all_ones_and_a_skipped_write_is_dropped(blink: Lab) -> None:
    one = blink.break_at("ANSWER")
    run = blink.run(read_answer)
    blink.skip()
    assert run.value == 0xFFFF_FFFF
    one.remove()
    blink.break_at("CTRL==0x12", access="w")
    run = blink.run(write_three)
    blink.skip()
    assert run.value == 0x11


def test_a_stop_behind_the_answer_shows_it_and_can_change_it(blink: Lab) -> None:
    blink.break_at("ANSWER", after=True)
    run = blink.run(read_answer)
    assert the_stop(blink).value == 0x42
    with pytest.raises(UsageError, match="makes no sense"):
        blink.skip()
    assert blink.stops  # it stays held
    blink.override(1)
    assert run.value == 1


def test_step_goes_to_the_next_access_of_any_kind(blink: Lab) -> None:
    blink.break_at("CTRL==0x10", once=True)
    run = blink.run(write_three)
    first = the_stop(blink)
    second = blink.step()
    assert (second.value, second.breakpoint, second.row) == (0x11, 0, first.row + 1)
    third = blink.step(2)
    assert (third.kind, third.row) == ("mmio_read", first.row + 3)
    assert blink.resume() is run


def test_next_goes_to_a_place_and_leaves_no_breakpoint(blink: Lab) -> None:
    blink.break_at("CTRL==0x10", once=True)
    run = blink.run(write_three)
    stop = blink.next("CTRL", access="r")
    assert (stop.kind, stop.breakpoint) == ("mmio_read", 0)
    assert not list(blink.breakpoints)
    assert blink.resume() is run


def test_new_code_serves_the_access_that_is_held(blink: Lab) -> None:
    blink.break_at("ANSWER", after=True, when="value == 0x42")
    run = blink.run(read_answer)
    blink.reload("blink", type("Blink", (Device,), _blink_that_answers(0x43)))
    assert blink.retry() is run
    assert run.value == 0x43


def _blink_that_answers(value: int) -> dict[str, object]:
    bar0 = type("bar0", (Bar,), {name: _copied(register) for name, register in vars(Blink.bar0).items()
                                 if isinstance(register, Register)})  # fmt: skip

    def answer(self: Device) -> int:
        return value

    return {"vendor_id": 0x1234, "device_id": 0x40, "bar0": bar0, "answer": bar0.ANSWER.on_read(answer)}  # type: ignore[attr-defined]


def _copied(register: Register) -> Register:
    return Register.from_dict(register.to_dict())


def test_plugging_the_class_again_while_its_access_is_held_keeps_the_access(
    blink: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    blink.break_at("ANSWER")
    run = blink.run(read_answer)
    blink.plug(type("Blink", (Device,), _blink_that_answers(0x44)))
    assert "reloaded" in capsys.readouterr().out
    assert blink.retry() is run
    assert run.value == 0x44


def test_a_devices_dma_is_stopped_inside_its_callback(blink: Lab) -> None:
    blink.break_at("dma")
    run = blink.run(copy)
    stop = the_stop(blink)
    assert stop.is_inside
    assert (stop.kind, stop.origin, stop.size) == ("dma_write", "device", 4)
    assert stop.source.startswith("copy:")  # the line of the driver that the device works for
    with pytest.warns(AccessWarning, match="ERROR_POSSIBLE_DEADLOCK"):
        blink["blink"].bar0.CTRL.read()
    blink.override(0x01020304)
    assert run.value == b"\x04\x03\x02\x01"


def test_a_condition_sees_fields_other_registers_and_what_was_before(blink: Lab) -> None:
    seen: list[tuple[int, int, str]] = []
    blink.break_at("CTRL", access="w", when="EN == 1 and COUNT == 1 and old == 0x10 and device == 'blink'")
    blink.break_at("CTRL", access="w", when=lambda hit: seen.append((hit.value, hit.old, hit.device)))
    run = blink.run(write_three)
    assert the_stop(blink).value == 0x11
    blink.resume()
    assert run.value == 0x12
    assert seen == [(0x10, 0, "blink"), (0x11, 0x10, "blink"), (0x12, 0x11, "blink")]


def test_a_condition_that_fails_stops_and_shows_why(blink: Lab) -> None:
    blink.break_at("CTRL", access="w", when="1 / (value - 0x10)")
    run = blink.run(write_three)
    assert "ZeroDivisionError" in the_stop(blink).error
    assert "ZeroDivisionError" in repr(the_stop(blink))
    blink.breakpoints.clear()
    assert blink.resume() is run


def test_only_a_field_that_changed_stops(blink: Lab) -> None:
    blink.break_at("CTRL.MODE", access="w", changed=True)
    run = blink.run(write_three)
    assert run.value == 0x12  # MODE is 0 throughout
    blink.breakpoints.clear()
    blink.break_at("CTRL.EN", access="w", changed=True)
    blink.run(write_three)
    assert the_stop(blink).value == 0x11


def test_hits_to_ignore_are_let_pass_and_counted(blink: Lab) -> None:
    one = blink.break_at("CTRL", access="w", ignore=2)
    blink.run(write_three)
    assert the_stop(blink).value == 0x12
    assert (blink.breakpoints[one.number].hits, blink.breakpoints[one.number].stops) == (3, 1)


def test_one_that_is_switched_off_stops_nobody(blink: Lab) -> None:
    one = blink.break_at("CTRL")
    one.disable()
    assert blink.run(write_three).value == 0x12
    one.enable()
    assert blink.run(write_three).held


def test_a_tracepoint_prints_and_leaves_marks_and_stops_nobody(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    blink.break_at("CTRL", access="w", log="CTRL={value:#x} EN={EN}")
    run = blink.run(write_three)
    marks = blink.trace.marks()
    assert list(marks["text"]) == ["log 1: CTRL=0x10 EN=0", "log 1: CTRL=0x11 EN=1", "log 1: CTRL=0x12 EN=0"]
    writes = run.frame()[run.frame()["kind"] == "mmio_write"]
    assert list(marks["cause"]) == list(writes.index)
    blink.stop()  # what is to be printed is
    assert capsys.readouterr().out.splitlines() == ["CTRL=0x10 EN=0", "CTRL=0x11 EN=1", "CTRL=0x12 EN=0"]


def test_a_hot_tracepoint_says_how_much_it_did_not_print(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def many(guest: Guest) -> None:
        for _ in range(500):
            guest.functions["blink"].bar0.COUNT.read()

    blink.break_at("COUNT", log="{offset}")
    blink.run(many)
    blink.stop()
    lines = capsys.readouterr().out.splitlines()
    told = [int(line.split()[2].replace(",", "")) for line in lines if line.startswith("... and ")]
    assert len(lines) < 500
    assert sum(told) + len(lines) - len(told) == 500
    assert len(blink.trace.marks()) == 500


def test_a_trigger_keeps_the_rows_around_an_access(blink: Lab) -> None:
    blink.break_at("CTRL==0x11", access="w", keep=(1, 1))
    run = blink.run(write_three)
    (name,) = [name for name in blink.runs if name.startswith("trigger1")]
    kept = blink.runs[name]
    assert isinstance(kept, Run)
    assert list(kept.frame()["value"]) == [0x10, 0x11, 0x12]
    assert kept.start == run.start


def test_breakpoints_are_set_again_when_the_machine_is_on_again(blink: Lab) -> None:
    one = blink.break_at("CTRL==0x11", access="w")
    blink.run(write_three)
    blink.resume()
    blink.stop()
    assert not blink.stops
    blink.start()
    blink.run(write_three)
    assert the_stop(blink).value == 0x11
    assert blink.breakpoints[one.number].stops == 2


def test_a_breakpoint_waits_for_its_device_and_says_where_a_register_is_gone(blink: Lab) -> None:
    one = blink.break_at("COUNT")
    blink.unplug("blink")
    assert blink.breakpoints[one.number].note == "waits for blink"
    blink.plug(Blink)
    assert not blink.breakpoints[one.number].note
    blink.plug(Bleep, name="blink")
    assert "no register COUNT" in blink.breakpoints[one.number].note


def test_powering_off_ends_what_is_held(blink: Lab) -> None:
    blink.break_at("CTRL")
    run = blink.run(write_three)
    blink.stop()
    assert run.program is not None
    assert run.program.join(PATIENCE)
    assert not run.program.running
    assert not blink.stepper.pending


def test_a_program_that_is_held_can_be_stopped(blink: Lab) -> None:
    def for_ever(guest: Guest) -> None:
        while True:
            guest.functions["blink"].bar0.CTRL.read()

    blink.break_at("CTRL")
    run = blink.run(for_ever)
    assert run.program is not None
    run.program.stop()
    assert not run.program.running


def test_a_device_is_taken_out_while_its_access_is_held(blink: Lab) -> None:
    blink.break_at("ANSWER")
    run = blink.run(read_answer)
    blink.unplug("blink")
    assert run.program is not None
    assert run.program.result() == 0xFFFF_FFFF


def test_whoever_wants_to_know_is_told_of_a_stop(blink: Lab) -> None:
    told, stops = threading.Event(), []

    def tell(stop: Stop) -> None:
        stops.append(stop)
        told.set()

    end = blink.on_stop(tell)
    blink.break_at("CTRL==0x11", access="w")
    blink.run(write_three)
    wait_for(told)
    assert stops == blink.stops
    end()


def test_a_stop_that_nobody_waits_for_is_printed(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()
    blink.stepper.announces = True
    blink.break_at("CTRL==0x11", access="w")
    blink.on_stop(lambda stop: told.set())
    blink.run(write_three, wait=False)
    wait_for(told)
    assert "held at  breakpoint 1: blink.CTRL write 0x11" in capsys.readouterr().out


def test_waiting_for_a_stop_ends_when_nothing_comes(blink: Lab) -> None:
    blink.break_at("CTRL")
    assert blink.wait_stop(0.01) is None


def test_the_thread_that_runs_cells_is_never_held(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    blink.break_at("start")
    blink.stop()
    blink.start()
    assert blink.running
    blink.stop()
    assert "on the thread that runs your cells" in capsys.readouterr().out


def test_a_forgotten_stop_goes_on_with_a_warning(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    blink.stepper.set_limit(0.2)
    blink.break_at("CTRL==0x11", access="w")
    run = blink.run(write_three)
    assert run.program is not None
    assert run.program.join(PATIENCE)
    assert run.value == 0x12
    blink.stop()
    assert "nobody let the guest go on" in capsys.readouterr().err


def test_what_the_program_raised_is_raised_where_it_is_waited_for(blink: Lab) -> None:
    def fails(guest: Guest) -> None:
        guest.functions["blink"].bar0.CTRL.read()
        raise KeyError("mine")

    blink.break_at("CTRL")
    blink.run(fails)
    with pytest.raises(KeyError, match="mine"):
        blink.resume()
    assert not blink.stepper.pending


def test_without_a_stop_there_is_nothing_to_change(blink: Lab) -> None:
    with pytest.raises(StateError, match="nothing is held"):
        blink.override(1)
    assert blink.resume() is None


def test_a_value_that_does_not_fit_is_refused_and_the_stop_stays(blink: Lab) -> None:
    blink.break_at("ANSWER")
    blink.run(read_answer)
    with pytest.raises(UsageError, match="4 bytes wide"):
        blink.override(1 << 32)
    assert blink.stops
    blink.resume()


def test_a_trigger_starts_the_recording(blink: Lab) -> None:
    blink.break_at("CTRL==0x11", access="w", record="start", once=True)
    before = len(blink.trace)
    assert blink.run(write_three).value == 0x12
    rows = blink.trace[before:].frame()
    assert 0x10 not in list(rows["value"])
    assert 0x12 in list(rows["value"])


def test_a_forgotten_lab_with_breakpoints_is_switched_off() -> None:
    lab = Lab()
    lab.plug(Blink)
    lab.break_at("CTRL==0x11", access="w")
    lab.stepper.announces = False
    lab.run(write_three)
    lab.resume()
    # Not closed: no_handle_is_left waits until it is off.


def test_ctrl_c_ends_the_waiting_and_not_the_program(blink: Lab) -> None:
    may_end = threading.Event()

    def long(guest: Guest) -> int:
        value = guest.functions["blink"].bar0.ANSWER.read()
        _thread.interrupt_main()
        may_end.wait(PATIENCE)
        return value

    blink.break_at("ANSWER")
    run = blink.run(long)
    with pytest.raises(KeyboardInterrupt):
        blink.resume()
    assert run.program is not None
    assert run.program.running
    may_end.set()
    assert blink.resume() is run
    assert run.value == 0x42


def test_what_a_breakpoint_holds_stays_held_and_named_when_it_is_taken_out(blink: Lab) -> None:
    one = blink.break_at("ANSWER")
    run = blink.run(read_answer, wait=False)
    assert blink.wait_stop(PATIENCE) is not None
    one.remove()
    assert the_stop(blink).short == "breakpoint 1: blink.ANSWER read, before the device"
    blink.resume()
    assert run.program is not None
    assert run.program.result() == 0x42


def test_a_step_past_the_end_of_a_program_does_not_hold_the_next_one(blink: Lab) -> None:
    blink.break_at("ANSWER", once=True)
    run = blink.run(read_answer)
    assert blink.step() is run
    assert blink.run(read_answer).value == 0x42
    assert not blink.stops


def test_what_a_step_answers_is_not_printed_besides(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    blink.stepper.announces = True
    last, told = threading.Event(), []
    blink.on_stop(lambda stop: (told.append(stop.ticket), last.set() if len(told) == 4 else None))
    blink.break_at("CTRL==0x10", once=True)
    blink.run(write_three)
    for _ in range(3):
        blink.step()
    wait_for(last)  # the watching thread has told of every one
    assert capsys.readouterr().out == ""
    blink.resume()


def test_time_at_a_breakpoint_is_no_time_that_the_driver_waits(lab: Lab) -> None:
    class Alarm(Device):
        vendor_id, device_id = 0x1234, 0x42

        class bar0(Bar):
            START = Register(0x00)

        @bar0.START.on_write
        def started(self, _: int) -> None:
            self.after(0.0, self.interrupt)

    def driver(guest: Guest) -> bool:
        alarm = guest.functions["alarm"]
        guest.request_interrupts(alarm)
        alarm.bar0.START.write(1)
        began = time.monotonic()
        guest.wait_interrupt(alarm, timeout=0.05)
        return time.monotonic() - began >= 0.5

    lab.stepper.announces = False
    lab.plug(Alarm)
    lab.break_at("interrupt")
    run = lab.run(driver)
    assert [stop.kind for stop in lab.stops] == ["interrupt"]
    assert not threading.Event().wait(0.6)  # a person looks at it, for longer than the driver's patience
    assert lab.resume() is run
    assert run.value


def test_a_step_may_be_asked_for_before_anything_runs(blink: Lab) -> None:
    assert blink.step() is None
    run = blink.run(read_answer)
    assert "held at a step: blink.ANSWER read" in repr(run)
    assert blink.resume() is run


def test_two_programs_are_held_and_let_go_one_by_one(blink: Lab) -> None:
    blink.break_at("ANSWER")
    runs = [blink.run(read_answer), blink.run(read_answer)]
    first, second = blink.stops
    assert blink.override(5) == second
    ended = [blink.override(6)]
    while blink.stepper.pending:
        ended.append(blink.resume())
    assert {id(run) for run in ended} == {id(run) for run in runs}
    assert sorted(run.value for run in runs) == [5, 6]
    assert first.ticket < second.ticket
