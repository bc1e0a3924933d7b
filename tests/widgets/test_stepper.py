from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import StateError, UsageError
from hdvlab.guest import Guest
from hdvlab.widgets.stepper import StepperPanel

from .front_end import FrontEnd


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0001

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4)})
        COUNT = Register(0x04, access="ro")


def driver(guest: Guest) -> int:
    blink: Any = guest["blink"]
    blink.bar0.CTRL.write(3)
    return int(blink.bar0.COUNT.read())


@pytest.fixture
def panel(lab: Lab) -> Iterator[StepperPanel]:
    lab.plug(Blink)
    lab.stepper.announces = False
    made = StepperPanel(lab)
    yield made
    made.close()
    lab.breakpoints.clear()
    lab.resume()


def held(lab: Lab) -> Any:
    """A guest program that is held at its write of CTRL; its run."""
    lab.break_at("CTRL", access="w")
    run = lab.run(driver)
    assert len(lab.stops) == 1
    return run


def test_a_stop_is_told_with_names_values_line_and_what_can_be_done(lab: Lab, panel: StepperPanel) -> None:
    held(lab)
    [stop] = panel.fetch()["stops"]
    assert stop["short"] == "breakpoint 1: blink.CTRL write 0x3, before the device"
    assert (stop["value"], stop["fields"], stop["stored"]) == ("0x3", "EN=1 RATE=1", "0x0  EN=0 RATE=0")
    assert "override" in stop["actions"]
    line = "    blink.bar0.CTRL.write(3)"
    assert line in [text for _, text in stop["lines"]]
    assert stop["source"].endswith(line.strip())


def test_the_browser_is_told_once_and_the_row_is_chosen_everywhere(lab: Lab, panel: StepperPanel) -> None:
    held(lab)
    browser = FrontEnd(panel)
    panel.take(panel.fetch())
    panel.take(panel.fetch())
    assert len(browser.take("state")) == 1
    assert list(panel.selection.rows) == [lab.stops[0].row]


def test_override_goes_on_with_what_was_typed(lab: Lab, panel: StepperPanel) -> None:
    run = held(lab)
    panel.act("override", lab.stops[0].ticket, "0x1f")
    assert (run.value, lab["blink"].peek(0, 0, 4)) == (0, 0x1F)


def test_a_value_that_is_no_number_or_too_wide_leaves_the_stop_held(lab: Lab, panel: StepperPanel) -> None:
    held(lab)
    for value in ("many", "0x1_0000_0000"):
        with pytest.raises(UsageError):
            panel.act("override", lab.stops[0].ticket, value)
    assert len(lab.stops) == 1


def test_a_button_for_a_stop_that_has_gone_on_does_nothing_to_the_next(lab: Lab, panel: StepperPanel) -> None:
    held(lab)
    gone = lab.stops[0].ticket
    lab.step()
    with pytest.raises(StateError, match="has gone on"):
        panel.act("continue", gone)
    assert lab.stops[0].action == "blink.COUNT read"


def test_next_and_step_and_skip_do_what_their_buttons_say(lab: Lab, panel: StepperPanel) -> None:
    run = held(lab)
    assert panel.act("next", where="COUNT").action == "blink.COUNT read"
    assert panel.act("skip", lab.stops[0].ticket) is run
    assert run.value == 0xFFFFFFFF


def test_breakpoints_are_set_switched_and_removed_from_the_browser(lab: Lab, panel: StepperPanel) -> None:
    panel._set({"where": "CTRL", "access": "w", "when": "value & 1", "after": True})
    [one] = panel.fetch()["breakpoints"]
    assert one["text"] == "CTRL writes after when value & 1"
    lab.breakpoints[1].disable()
    assert not panel.fetch()["breakpoints"][0]["enabled"]
    assert panel.text().endswith(repr(lab.breakpoints))


def test_what_fails_is_shown_in_the_panel(lab: Lab, panel: StepperPanel) -> None:
    browser = FrontEnd(panel)
    browser.says("dance")
    assert "knows no request 'dance'" in browser.take("failed")[0][0]["text"]


def test_a_failure_goes_when_the_next_request_is_done(lab: Lab, panel: StepperPanel) -> None:
    browser = FrontEnd(panel)
    browser.says("break", where="CTLR")
    browser.wait("failed", lambda told: "did you mean CTRL?" in told["text"])
    browser.says("break", where="CTRL")
    browser.wait("failed", lambda told: told["text"] == "")
    assert not panel.failure
    assert len(lab.breakpoints) == 1
