"""What the notebook shows of a lab without touching it, and what it says next."""

from __future__ import annotations

import sys

import pytest

from hdvlab import Lab, commands
from hdvlab.commands.parser import VERBS, verb_parser


def test_looking_at_a_device_in_any_form_leaves_no_row(lab: Lab) -> None:
    one, rows = lab["blink"], len(lab.trace)
    assert "EVENTS" in one._repr_html_()
    assert "0xff" in one._repr_html_()  # read-to-clear, and still there
    assert "0xff" in one._repr_html_()
    assert "bits" in one.bar0.CTRL._repr_html_()
    assert "MSI" in repr(one.capabilities())
    assert "<li>" in one.capabilities()._repr_html_()
    assert len(one.capabilities()) == 1
    assert len(lab.trace) == rows


def test_a_peeked_register_is_drawn_and_a_field_is_a_number(lab: Lab) -> None:
    assert "MODE" in (commands.peek(lab, "CTRL")._repr_html_() or "")
    assert commands.peek(lab, "CTRL.EN")._repr_html_() is None
    assert commands.peek(lab, "COUNT")._repr_html_() is None


def test_the_overview_says_what_to_type_next(lab: Lab) -> None:
    assert "%hdv whatif read CTRL" in repr(commands.overview(lab))
    lab.stop()
    assert "next     %hdv start" in repr(commands.overview(lab))
    lab.start()
    lab.unplug("blink")
    assert "%hdv plug edu" in repr(commands.overview(lab))
    assert "%hdv boot" in repr(commands.overview(None))


def test_the_overview_tells_of_breakpoints_and_stops_where_a_lab_has_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(lab), "breakpoints", ("#1 CTRL",), raising=False)
    monkeypatch.setattr(type(lab), "stops", ("held at CTRL",), raising=False)
    text = repr(commands.overview(lab))
    assert "breaks   '#1 CTRL'" in text
    assert "stopped  'held at CTRL'" in text
    assert "%hdv continue" in text


def test_about_is_one_paste_of_versions_platform_and_what_is_missing() -> None:
    text = str(commands.about())
    for word in ("hdvlab ", f"Python {sys.version_info.major}.{sys.version_info.minor}", "ipykernel ", "pandas "):
        assert word in text
    assert "missing: anywidget" not in text


@pytest.mark.parametrize("name", [verb.name for verb in VERBS if verb.magic])
def test_every_verb_explains_itself_with_every_option_and_an_example(name: str) -> None:
    parser = verb_parser(name)
    for action in parser._actions:
        assert action.help, f"{name} {action.option_strings or action.dest} says nothing"
    takes = [action for action in parser._actions if action.dest not in ("help",)]
    assert "example: " in parser.format_help() or not takes
