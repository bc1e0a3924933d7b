from __future__ import annotations

import json

import pytest

from hdvlab.errors import UsageError
from hdvlab.stepping import Breakpoint, Breakpoints, Request, Stop
from hdvlab.stepping.condition import Expression, Message


def test_a_breakpoint_goes_through_json_and_comes_back_the_same() -> None:
    asked = Request("CTRL", access="w", when="value & 1", ignore=3, keep=None, log="x={value}")
    one = Breakpoint(2, asked, hits=4, note="waits for blink")
    assert Breakpoint.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    kept = Request("CTRL", keep=(1, 2))
    assert Request.from_dict(json.loads(json.dumps(kept.to_dict()))) == kept


def test_a_function_cannot_go_to_another_process() -> None:
    with pytest.raises(UsageError, match="write the condition as text"):
        Request("CTRL", when=lambda hit: True).to_dict()


def test_a_stop_goes_through_json_and_comes_back_the_same() -> None:
    action = "blink.CTRL write 0x1"
    stop = Stop(1, 2, "CTRL", "before", 7, "mmio_write", "guest", "blink", "blink.CTRL", action, 0, 0, 4, "CTRL", 1,
                "EN=1", 0, posted=True)  # fmt: skip
    assert Stop.from_dict(json.loads(json.dumps(stop.to_dict()))) == stop
    assert "--no-posted-writes" in repr(stop)
    assert stop.actions == ("continue", "step", "override", "skip")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "a breakpoint needs a place"),
        ({"where": "CTRL", "ignore": -1}, "ignore is how many"),
        ({"where": "CTRL", "record": "now"}, "record is 'start' or 'stop'"),
        ({"where": "CTRL", "keep": (1,)}, "keep is (rows before, rows after)"),
        ({"where": "CTRL", "log": "x", "record": "start"}, "set two"),
    ],
)
def test_a_wrong_request_says_what_is_right(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Request(**given)  # type: ignore[arg-type]
    assert said in caught.value.message


def test_breakpoints_show_themselves_as_a_table() -> None:
    one = Breakpoint(1, Request("CTRL", access="w", when="a < b"), hits=2, stops=1)
    shown = Breakpoints(lambda: [one], lambda number: None)
    assert repr(shown) == "1  breakpoint  CTRL writes when a < b  2 hits, 1 stop"
    assert "a &lt; b" in shown._repr_html_()
    with pytest.raises(UsageError, match="there is no breakpoint 2; there is 1"):
        shown[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("value &", "is no Python expression"),
        ("vlaue & 1", "nothing is called vlaue; did you mean value?"),
        ("RATE == 1", "nothing is called RATE"),
    ],
)
def test_a_wrong_condition_is_told_when_it_is_set(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Expression(text, {"EN"})
    assert said in caught.value.message


def test_a_message_with_a_brace_too_much_says_so() -> None:
    with pytest.raises(UsageError, match="values are in braces"):
        Message("CTRL={value", {"EN"})
