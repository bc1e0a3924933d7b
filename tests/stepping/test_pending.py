"""What ends while nobody waits for it reaches its run all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.guest import Guest

from ..labs import PATIENCE
from .blink import Blink, read_answer


def fails(guest: Guest) -> None:
    read_answer(guest)
    raise ValueError("not today")


@pytest.fixture
def blink(lab: Lab) -> Iterator[Lab]:
    lab.plug(Blink)
    lab.stepper.announces = False
    yield lab
    lab.breakpoints.clear()


def ended_of(lab: Lab) -> tuple[list[Any], threading.Event]:
    told: list[Any] = []
    came = threading.Event()
    lab.stepper.pending.on_end(lambda run, error: (told.append((run, error)), came.set()))
    return told, came


def test_a_program_that_a_button_let_go_is_told_and_the_next_resume_returns_it(blink: Lab) -> None:
    told, came = ended_of(blink)
    blink.break_at("ANSWER")
    run = blink.run(read_answer)
    blink.stepper.release(blink.stops[0].ticket, "override", 7)  # what a button does: nobody waits
    assert came.wait(PATIENCE)
    assert (told, run.value) == ([(run, None)], 7)
    assert blink.resume() is run
    assert blink.resume() is None


def test_what_it_failed_with_is_told_printed_and_raised_by_the_next_resume(
    blink: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    told, came = ended_of(blink)
    blink.break_at("ANSWER")
    run = blink.run(fails)
    blink.stepper.announces = True
    blink.stepper.release(blink.stops[0].ticket, "continue")
    assert came.wait(PATIENCE)
    assert told[0][0] is run
    assert "fails failed: ValueError: not today" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not today"):
        blink.resume()


def test_one_whose_longest_hold_is_over_is_told(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    told, came = ended_of(blink)
    blink.stepper.set_limit(0.05)
    blink.break_at("ANSWER")
    run = blink.run(read_answer)
    assert came.wait(PATIENCE)
    assert (told, run.value) == ([(run, None)], 0x42)
    capsys.readouterr()


def test_what_ended_alone_does_not_end_the_wait_for_what_is_begun_behind_it(blink: Lab) -> None:
    _, came = ended_of(blink)
    blink.break_at("ANSWER")
    blink.run(read_answer)
    blink.stepper.release(blink.stops[0].ticket, "continue")
    assert came.wait(PATIENCE)
    second = blink.run(read_answer)
    assert blink.resume() is second


def test_whoever_waits_gets_what_ends_and_nobody_is_told(blink: Lab) -> None:
    told, _ = ended_of(blink)
    blink.break_at("ANSWER")
    run = blink.run(fails)
    with pytest.raises(ValueError, match="not today"):
        blink.resume()
    assert (told, run.value) == ([], None)


def test_the_thread_that_minds_them_ends_with_the_last(blink: Lab) -> None:
    blink.break_at("ANSWER")
    blink.run(read_answer)
    [minds] = [one for one in threading.enumerate() if one.name == "hdvlab-pending"]
    blink.stepper.release(blink.stops[0].ticket, "continue")
    minds.join(PATIENCE)
    assert not minds.is_alive()


def test_stops_are_printed_only_while_no_panel_shows_them(blink: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    blink.stepper.announces = True
    came = threading.Event()
    blink.on_stop(lambda stop: came.set())
    blink.break_at("ANSWER")
    ends = [blink.stepper.viewed(), blink.stepper.viewed()]
    ends[0]()
    ends[0]()  # counts once
    shown = blink.run(read_answer, wait=False)
    assert came.wait(PATIENCE)
    assert "held" not in capsys.readouterr().out
    blink.resume()
    assert shown.program is not None
    assert shown.program.join(PATIENCE)
    ends[1]()
    came.clear()
    blink.run(read_answer, wait=False)
    assert came.wait(PATIENCE)
    assert "held at  breakpoint 1" in capsys.readouterr().out
    assert blink.stepper.announces
    blink.resume()
