"""The verbs of stopping and going on, as they are typed."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from hdvlab import commands
from hdvlab.lab import Run
from hdvlab.stepping import Breakpoint, Stop

from .test_magics import completions, error_of, value_of

GUEST = """%%hdv guest
for value in range(3):
    blink.bar0.CTRL.write(value)
answer = blink.bar0.CTRL.read()
"""


@pytest.fixture
def quiet(blinking: InteractiveShell) -> InteractiveShell:
    commands.current_lab().stepper.announces = False
    return blinking


def test_a_guest_cell_is_stopped_looked_at_and_goes_on(quiet: InteractiveShell) -> None:
    one = value_of(quiet, '%hdv break CTRL --write --when "value & 1"')
    assert isinstance(one, Breakpoint)
    assert one.text == "CTRL writes when value & 1"
    run = value_of(quiet, GUEST)
    assert isinstance(run, Run)
    assert "held at breakpoint 1: blink.CTRL write 0x1" in repr(run)
    assert value_of(quiet, "%hdv peek CTRL") == 0
    assert value_of(quiet, "6 * 7") == 42
    assert "held at breakpoint 1" in repr(value_of(quiet, "%hdv status"))
    step = value_of(quiet, "%hdv step")
    assert isinstance(step, Stop)
    assert "%hdv continue" in repr(step)
    assert value_of(quiet, "%hdv override 0x8") is run
    assert value_of(quiet, "answer") == 8
    assert "1 hit" in repr(value_of(quiet, "%hdv breaks"))
    assert "no breakpoints" in repr(value_of(quiet, "%hdv unbreak 1"))
    assert "nothing is held" in repr(value_of(quiet, "%hdv continue"))


def test_a_field_is_overridden_by_its_name(quiet: InteractiveShell) -> None:
    value_of(quiet, "%hdv break CTRL==2 --write")
    value_of(quiet, GUEST)
    value_of(quiet, "%hdv override EN=1")
    assert value_of(quiet, "answer") == 3


def test_next_skip_and_retry_are_verbs(quiet: InteractiveShell) -> None:
    value_of(quiet, "%hdv break CTRL==1 --write")
    run = value_of(quiet, GUEST)
    assert value_of(quiet, "%hdv next CTRL --read").kind == "mmio_read"
    assert value_of(quiet, "%hdv retry") is run
    value_of(quiet, GUEST)
    value_of(quiet, "%hdv unbreak all")
    value_of(quiet, "%hdv skip")
    assert value_of(quiet, "answer") == 2


def test_a_tracepoint_and_a_trigger_stop_nobody(quiet: InteractiveShell) -> None:
    value_of(quiet, '%hdv log CTRL "CTRL={value:#x} {EN}" --write')
    value_of(quiet, "%hdv trigger CTRL==1 --keep 1 1 --write")
    assert "held" not in repr(value_of(quiet, GUEST))
    lab = commands.current_lab()
    assert list(lab.trace.marks()["text"])[:2] == ["log 1: CTRL=0x0 0", "log 1: CTRL=0x1 1"]
    assert any(name.startswith("trigger2") for name in lab.runs)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%hdv break", "a breakpoint needs a place"),
        ("%hdv break CTLR", "no register CTLR; did you mean CTRL?"),
        ('%hdv break CTRL --when "valu & 1"', "nothing is called valu; did you mean value?"),
        ("%hdv unbreak", "say which"),
        ("%hdv unbreak 7", "there is no breakpoint 7; there is none"),
        ("%hdv override 1", "nothing is held"),
        ("%hdv step 0", "0 is too few"),
    ],
)
def test_a_mistake_says_what_to_type(
    quiet: InteractiveShell, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in error_of(quiet, line, capsys)


def test_tab_completes_places_kinds_and_numbers(quiet: InteractiveShell) -> None:
    assert {"CTRL", "CTRL.EN", "interrupt"} <= completions(quiet, "%hdv break ")
    assert completions(quiet, "%hdv break CTRL --wh") == {"--when"}
    value_of(quiet, "%hdv break CTRL")
    assert completions(quiet, "%hdv unbreak ") == {"1", "all"}


def test_the_overview_lists_the_verbs(quiet: InteractiveShell) -> None:
    shown: Any = repr(value_of(quiet, "%hdv"))
    assert "stop and step      break, continue, step, next, override, skip, retry" in shown


def test_tab_completes_the_fields_of_what_is_held(quiet: InteractiveShell) -> None:
    value_of(quiet, "%hdv break CTRL --write")
    value_of(quiet, GUEST)
    assert completions(quiet, "%hdv override E") == {"EN="}
    value_of(quiet, "%hdv unbreak all")
    value_of(quiet, "%hdv continue")
