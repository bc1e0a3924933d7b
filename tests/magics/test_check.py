"""``%hdv check`` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from hdvlab import commands
from hdvlab.checks import Report

from .test_magics import completions, error_of, value_of

SOLUTION = Path(__file__).parents[1] / "checks/solutions/copy.py"


def test_a_notebooks_driver_is_checked_and_the_lab_is_left_alone(shell: InteractiveShell) -> None:
    shell.run_cell(SOLUTION.read_text()).raise_error()
    report = value_of(shell, "%hdv check copy")
    assert isinstance(report, Report)
    assert float(report) == 12
    assert "copy, copy_all: 12 of 12 points" in repr(report)
    assert commands.existing_lab() is None
    shell.run_cell("def mine(guest, blocks): return blocks").raise_error()
    assert float(value_of(shell, "%hdv check copy mine")) == 0


def test_tab_completes_sheets_and_what_may_be_handed_in(shell: InteractiveShell) -> None:
    shell.run_cell("from hdvlab.checks import find_sheet\nown = find_sheet('blink')").raise_error()
    shell.run_cell("def drive(guest): pass").raise_error()
    assert {"blink", "timer", "copy", "own"} == completions(shell, "%hdv check ")
    assert completions(shell, "%hdv check copy dr") == {"drive"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%hdv check", "%hdv check needs LAB: a lab sheet"),
        ("%hdv check blnk", "no lab sheet blnk; did you mean blink?"),
        ("%hdv check blink", "there is no Blink; sheet blink asks for a device class Blink (1234:0b01)"),
        ("%hdv check blink len", "there is no len; sheet blink asks for a device class Blink"),
        ("%hdv check blink class/a.py", "files are judged in a shell: hdvlab check blink class/a.py --details"),
    ],
)
def test_a_mistake_says_what_to_type(
    shell: InteractiveShell, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in error_of(shell, line, capsys)
