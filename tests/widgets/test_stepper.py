from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import HdvError, StateError
from hdvlab.guest import Guest
from hdvlab.widgets.driver_lines import lines_around
from hdvlab.widgets.stepper import StepperPanel

from ..labs import PATIENCE
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


def over(run: Any) -> None:
    """Its program has ended."""
    assert run.program.join(PATIENCE)


def test_a_stop_is_told_with_names_values_line_and_what_can_be_done(lab: Lab, panel: StepperPanel) -> None:
    held(lab)
    [stop] = panel.fetch()["stops"]
    assert stop["short"] == "breakpoint 1: blink.CTRL write 0x3, before the device"
    assert (stop["value"], stop["fields"], stop["stored"]) == ("0x3", "EN=1 RATE=1", "0x0  EN=0 RATE=0")
    assert "override" in stop["actions"]
    line = "blink.bar0.CTRL.write(3)"
    assert [text.strip() for number, text in stop["lines"] if number == stop["line"]] == [line]
    assert (stop["function"], stop["file"]) == ("driver", "test_stepper.py")
    assert "def driver(guest: Guest) -> int:" in [text for _, text in stop["lines"]]
    assert len(stop["rows"]) == 4


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
    over(run)
    assert (run.value, lab["blink"].peek(0, 0, 4)) == (0, 0x1F)


def test_override_takes_a_field_and_leaves_the_others_as_they_are(lab: Lab, panel: StepperPanel) -> None:
    run = held(lab)
    panel.act("override", lab.stops[0].ticket, "RATE=0xf")
    over(run)
    assert lab["blink"].peek(0, 0, 4) == 0x1F


def test_a_value_that_is_no_number_or_too_wide_leaves_the_stop_held(lab: Lab, panel: StepperPanel) -> None:
    held(lab)
    for value in ("many", "0x1_0000_0000", "-1", "EN=2", "NO=1"):
        with pytest.raises(HdvError):
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
    panel.act("next", where="COUNT")
    stop = lab.wait_stop(PATIENCE)
    assert stop is not None
    assert (stop.action, panel._awaits) == ("blink.COUNT read", "COUNT")
    panel.act("skip", stop.ticket)
    over(run)
    assert run.value == 0xFFFFFFFF
    panel.act("step")
    run = lab.run(driver)
    assert lab.stops[0].action == "blink.CTRL write 0x3"
    panel.act("step", count=1)
    assert "blink.COUNT read" in repr(lab.wait_stop(PATIENCE))
    panel.act("continue")
    over(run)


def test_what_a_next_waits_for_in_vain_is_forgotten_by_cancel(lab: Lab, panel: StepperPanel) -> None:
    run = held(lab)
    panel.act("next", where="interrupt")
    over(run)
    assert panel.fetch()["over"] == ""
    panel.act("cancel")
    assert panel._awaits == ""


def test_a_button_comes_back_while_the_guest_goes_on_and_the_result_reaches_the_run(
    lab: Lab, panel: StepperPanel
) -> None:
    browser = FrontEnd(panel)
    browser.show()
    go, ended = threading.Event(), threading.Event()

    def waits(guest: Guest) -> int:
        blink: Any = guest["blink"]
        blink.bar0.CTRL.write(3)
        go.wait(PATIENCE)
        return 5

    lab.stepper.pending.on_end(lambda run, error: ended.set())
    lab.break_at("CTRL", access="w")
    run = lab.run(waits)
    browser.wait("state", lambda state: state["stops"])
    panel.act("continue", lab.stops[0].ticket)  # with waiting it would not come back: go is not set
    browser.wait("state", lambda state: not state["stops"])
    go.set()
    assert ended.wait(PATIENCE)
    told, _ = browser.wait("state", lambda state: state["over"])
    assert "returned 5" in told["over"]
    assert (run.value, lab.resume()) == (5, run)
    browser.hide()


def test_what_a_program_failed_with_after_a_button_is_shown(lab: Lab, panel: StepperPanel) -> None:
    def fails(guest: Guest) -> None:
        driver(guest)
        raise ValueError("not today")

    browser = FrontEnd(panel)
    browser.show()
    lab.break_at("CTRL", access="w")
    lab.run(fails)
    panel.act("continue", lab.stops[0].ticket)
    told, _ = browser.wait("state", lambda state: state["over"])
    assert told["over"] == "fails failed: ValueError: not today"
    with pytest.raises(ValueError, match="not today"):
        lab.resume()
    browser.hide()


def test_stops_are_printed_only_while_no_panel_is_on_screen(lab: Lab, panel: StepperPanel) -> None:
    browser, stepper = FrontEnd(panel), lab.stepper
    stepper.announces = True
    assert stepper._says_so()
    browser.show()
    assert not stepper._says_so()
    browser.hide()
    assert stepper._says_so()
    browser.show()
    panel.close()
    assert stepper._says_so()
    stepper.announces = False


def test_a_panel_looks_again_when_the_lab_says_so_and_not_all_the_time(lab: Lab, panel: StepperPanel) -> None:
    browser = FrontEnd(panel)
    browser.show()
    browser.wait("state")
    panel._due = math.inf  # the slow look never comes
    lab.break_at("CTRL", access="w")
    browser.wait("state", lambda state: state["breakpoints"])
    panel._due = math.inf
    lab.run(driver, wait=False)
    browser.wait("state", lambda state: state["stops"])
    browser.hide()
    assert not lab.stepper._observers


def test_of_several_stops_the_one_that_is_meant_goes_on(lab: Lab, panel: StepperPanel) -> None:
    lab.break_at("COUNT")
    runs = [lab.run(driver), lab.run(driver)]
    first, second = panel.fetch()["stops"]
    panel.act("override", second["ticket"], "7")
    over(runs[1])
    assert ([stop.ticket for stop in lab.stops], runs[1].value) == ([first["ticket"]], 7)
    panel.act("continue")
    over(runs[0])


def test_lines_of_a_file_that_was_edited_since_are_only_the_one_that_ran(tmp_path: Path) -> None:
    file = tmp_path / "driver.py"
    file.write_text("one\n    two\n    three\n")
    assert lines_around(str(file), 2, "two") == [(1, "one"), (2, "    two"), (3, "    three")]
    file.write_text("zero\none\ntwo\n")
    assert lines_around(str(file), 2, "two") == [(2, "two")]
    assert lines_around("Cell In[3]", 2, "two") == [(2, "two")], "another kernel's cell"
    assert lines_around("", 0, "") == []


def test_breakpoints_are_set_switched_and_removed_from_the_browser(lab: Lab, panel: StepperPanel) -> None:
    panel.set_breakpoint({"where": "CTRL", "access": "w", "when": "value & 1", "after": True})
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
