from __future__ import annotations

from .page import LabPage


def test_it_is_shown(lab_page: LabPage) -> None:
    lab_page.open(["import hdvlab, hdvlab.widgets\nlab = hdvlab.Lab()\nt = hdvlab.widgets.table(lab)\nt"])
    lab_page.run_all()
    lab_page.panel("table").wait_for()
    lab_page.wait_ev("t.visible", "1")
    assert lab_page.violations("table") == []
    lab_page.dark()
    assert lab_page.violations("table") == []
    lab_page.shot("table-dark")
