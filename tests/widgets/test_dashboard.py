from __future__ import annotations

import pytest

from hdvlab import Lab, read_trace
from hdvlab.devices.edu import Edu
from hdvlab.errors import UsageError
from hdvlab.widgets.dashboard import TITLES, Dashboard
from hdvlab.widgets.status import StatusPanel, _recording

from .front_end import FrontEnd


def test_the_dashboard_has_every_panel_and_a_text_of_all(lab: Lab) -> None:
    lab.plug(Edu)
    board = lab.panel()
    try:
        assert list(board.panels) == list(TITLES)
        text = board.text()
        for title in TITLES.values():
            assert f"== {title}" in text
        assert "nothing is held" in text
    finally:
        board.close()
    assert all(panel.is_closed for panel in board.panels.values())


def test_looking_at_all_panels_leaves_no_row(lab: Lab) -> None:
    lab.plug(Edu)
    rows = len(lab.trace)
    board = lab.panel()
    board.text()
    board.close()
    assert len(lab.trace) == rows


def test_some_panels_alone_are_laid_out_without_tabs(lab: Lab) -> None:
    board = lab.panel("registers", "table")
    assert (list(board.panels), len(board.children)) == (["registers", "table"], 2)
    board.close()


def test_a_panel_that_does_not_exist_is_refused_with_those_that_do(lab: Lab) -> None:
    with pytest.raises(UsageError, match="no panel 'regs'; there is status, stepper"):
        lab.panel("regs")


def test_the_status_follows_machine_faults_and_recording(lab: Lab) -> None:
    panel = StatusPanel(lab)
    assert (panel.fetch()["machine"], panel.fetch()["light"]) == ("off", "on")
    lab.plug(Edu)
    told = panel.fetch()
    assert (told["machine"], told["devices"], told["rows"]) == ("on", ["edu"], len(lab.trace))
    assert panel.text().startswith("machine on; edu\n")
    panel.close()


def test_the_light_says_that_recording_is_paused_also_to_who_reads_it_from_elsewhere(lab: Lab) -> None:
    panel = StatusPanel(lab)
    lab.plug(Edu)
    lab.trace.suspend()
    assert (panel.fetch()["light"], panel.fetch()["recording"]) == ("paused", "recording is paused")
    elsewhere = StatusPanel(read_trace(lab.trace.path))
    assert _recording(elsewhere.trace)["light"] == "paused"
    lab.trace.suspend(False)
    assert panel.fetch()["light"] == "on"
    elsewhere.close()
    panel.close()


def test_panels_of_a_lab_that_is_closed_meanwhile_say_so_and_fail_nothing(lab: Lab) -> None:
    other = Lab()
    other.plug(Edu)
    board = Dashboard(other)
    views = [FrontEnd(panel) for panel in board.panels.values()]
    for view in views:
        view.show()
    other.close()
    told, _ = views[0].wait("state", lambda state: state["machine"] == "off")
    assert told["light"] == "off"
    views[1].wait("state", lambda state: not state["running"])
    assert [panel.failure for panel in board.panels.values()] == [""] * len(TITLES)
    for view in views:
        view.hide()
    assert board.text()
    board.close()


def test_a_dashboard_does_not_keep_its_lab(lab: Lab) -> None:
    import gc
    import weakref

    other = Lab()
    board, known = Dashboard(other), weakref.ref(other)
    other.close()
    del other
    gc.collect()
    assert known() is None
    board.close()


def test_the_status_asks_a_lab_twice_a_second_at_most(lab: Lab) -> None:
    panel = StatusPanel(lab)
    assert panel.is_stale()
    panel.refresh()
    assert not panel.is_stale()
    panel.close()
