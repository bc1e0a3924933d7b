"""Ctrl-C at every moment of going on: the guest goes on when told so all the same, and nothing is left set."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.errors import StateError
from hdvlab.lab import Run

from ..lab.moments import pressed_at
from ..labs import PATIENCE
from .blink import Blink, write_three

_PLACES = ("hdvlab.stepping.", "hdvlab.lab.stepping")


@pytest.fixture
def blink(lab: Lab) -> Iterator[Lab]:
    lab.plug(Blink)
    lab.stepper.announces = False
    yield lab
    lab.breakpoints.clear()


@pytest.mark.parametrize(
    "action",
    [
        lambda lab: lab.resume(),
        lambda lab: lab.step(),
        lambda lab: lab.next("CTRL"),
        lambda lab: lab.retry(),
        lambda lab: lab.override(5),
        lambda lab: lab.wait_stop(),
    ],
    ids=["resume", "step", "next", "retry", "override", "wait"],
)
def test_the_guest_goes_on_after_any_moment(blink: Lab, action: Callable[[Lab], Any]) -> None:
    for moment in range(1, 200, 3):
        blink.break_at("CTRL", access="w")
        run = blink.run(write_three)
        more = pressed_at(moment, lambda: action(blink), _PLACES)
        blink.stepper.arm(0)
        blink.breakpoints.clear()
        assert not list(blink.stepper._armed), f"set still, after moment {moment}"
        _let_end(blink, run)
        assert run.value in (0x12, 5)
        if not more:
            return


def _let_end(lab: Lab, run: Run) -> None:
    end = time.monotonic() + PATIENCE
    program = run.program
    assert program is not None
    while program.running:
        assert time.monotonic() < end, "it does not go on"
        for stop in lab.stops:
            with contextlib.suppress(StateError):  # it went on by itself
                lab.stepper.release(stop.ticket, "continue")
        program.join(0.01)
