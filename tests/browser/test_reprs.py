"""What cells return, side by side in both themes: nothing has a colour of its own that the page does not know."""

from __future__ import annotations

import re

from .page import PREAMBLE, LabPage

CELL = (
    PREAMBLE
    + """
from IPython.display import display
from hdvlab import commands
from hdvlab.checks import find_sheet, grade
from hdvlab.devices.edu import Edu
lab = Lab()
edu = lab.plug(Edu)
with lab.record() as run:
    edu.bar0.LIVENESS.write(0x12345678); edu.bar0.LIVENESS.read()
lab.break_at("STATUS", access="w", when="value & 1")
lab.runs["run1"] = run
shown = [commands.overview(lab), edu, Edu.bar0, Edu.bar0.STATUS, edu.capabilities(), lab.breakpoints, run, lab.trace,
         commands.trace(lab, last=3), commands.regs(lab), commands.peek(lab, "STATUS"),
         commands.whatif(lab, "write", "LIVENESS=1"), commands.hosts(), grade(find_sheet("blink"), Edu)]
display(*shown)
"""
)


def test_they_are_legible_in_both_themes(lab_page: LabPage) -> None:
    lab_page.page.set_viewport_size({"width": 1600, "height": 3600})  # all of them in one picture
    lab_page.open([CELL])
    lab_page.dark(False)
    lab_page.run_cell(0)
    lab_page.page.wait_for_function("() => document.querySelectorAll('.jp-OutputArea-output').length >= 14")
    lab_page.shot("reprs-light")
    lab_page.dark()
    lab_page.shot("reprs-dark")
    assert not re.search(r"(?<![-\w])(#[0-9a-fA-F]{3,8}|rgb\()", str(lab_page.ev("''.join("
        "getattr(one, '_repr_html_', lambda: '')() or '' for one in shown)")))  # fmt: skip
