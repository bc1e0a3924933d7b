from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.errors import StateError, UsageError
from hdvlab.widgets.panel_widget import PanelWidget
from hdvlab.widgets.pump import PERIOD, PUMP

from ..labs import PATIENCE, wait_for
from .front_end import FrontEnd


class Counter(PanelWidget):
    """Shows how many rows there are."""

    _esm = "export default {}"

    def __init__(self, source: Any) -> None:
        self.refreshed = threading.Event()
        self.stale = False
        self.threads: set[str] = set()
        super().__init__(source)

    def is_stale(self) -> bool:
        return self.stale

    def refresh(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.stale = False
        self.send_data({"kind": "count", "rows": len(self.trace)})
        self.refreshed.set()

    def on_request(self, content: Mapping[str, Any], buffers: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if content["kind"] == "fail":
            raise UsageError("no such thing; try another")
        self.send_data({"kind": "echo", "bytes": [len(one) for one in buffers]})

    def text(self) -> str:
        return "rows < 3"


@pytest.fixture
def panel(lab: Lab) -> Iterator[Counter]:
    made = Counter(lab)
    yield made
    made.close()


def test_a_panel_is_refreshed_while_a_view_is_on_screen_and_has_something_new(panel: Counter) -> None:
    browser = FrontEnd(panel)
    panel.stale = True
    browser.show()
    wait_for(panel.refreshed)
    assert panel.visible == 1
    browser.show("b")
    browser.hide("a")
    assert panel.visible == 1
    panel.refreshed.clear()
    panel.stale = True
    wait_for(panel.refreshed)
    assert [content["rows"] for content, _ in browser.take("count")] == [0, 0]


def test_a_hidden_panel_costs_no_message_and_no_thread(panel: Counter) -> None:
    browser = FrontEnd(panel)
    browser.show()
    browser.hide()
    panel.stale = True
    pumps = [thread for thread in threading.enumerate() if thread.name == "hdvlab-pump"]
    for thread in pumps:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in pumps)
    assert browser.received == []


def test_requests_and_refreshes_run_on_one_thread_that_is_not_the_callers(panel: Counter) -> None:
    browser = FrontEnd(panel)
    panel.stale = True
    browser.show()
    wait_for(panel.refreshed)
    browser.says("anything", b"12345678", b"")
    assert browser.take("echo") == [({"kind": "echo", "bytes": [8, 0]}, [])]
    assert panel.threads == {"hdvlab-pump"}


def test_what_fails_is_shown_once_and_the_pump_goes_on(panel: Counter) -> None:
    browser = FrontEnd(panel)
    browser.says("fail")
    browser.says("fail")
    assert [content["text"] for content, _ in browser.take("failed")] == ["UsageError: no such thing; try another"]
    assert "no such thing" in panel.failure
    browser.says("dismiss")
    browser.says("fail")
    assert len(browser.take("failed")) == 1


def test_what_runs_aside_answers_on_the_pump_and_its_failure_is_shown(panel: Counter) -> None:
    browser = FrontEnd(panel)
    answers: list[tuple[int, bool]] = []
    panel.run_aside(lambda: 42, lambda value: answers.append((value, PUMP.on_pump))).join(PATIENCE)
    panel.run_aside(lambda: [][1]).join(PATIENCE)
    assert PUMP.settle(PATIENCE)
    assert answers == [(42, True)]
    assert browser.take("failed")[0][0]["text"].startswith("IndexError")


def test_a_panel_is_refreshed_at_most_ten_times_a_second(panel: Counter) -> None:
    class Eager(Counter):
        def is_stale(self) -> bool:
            return True

        def refresh(self) -> None:
            times.append(time.monotonic())
            if len(times) == 4:
                self.refreshed.set()

    times: list[float] = []
    eager = Eager(panel.trace)
    FrontEnd(eager).show()
    wait_for(eager.refreshed)
    eager.close()
    assert times[3] - times[0] >= 3 * PERIOD * 0.99


def test_a_panel_has_a_text_and_html_without_a_script(panel: Counter) -> None:
    bundle = panel._repr_mimebundle_()
    assert bundle["text/plain"] == "rows < 3"
    assert bundle["text/html"] == "<pre>rows &lt; 3</pre>"
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    panel.close()
    assert "application/vnd.jupyter.widget-view+json" not in panel._repr_mimebundle_()


def test_a_panel_does_not_keep_its_lab(lab: Lab) -> None:
    other = Lab()
    panel = Counter(other)
    assert panel.lab is other
    gone = weakref.ref(other)
    other.close()
    del other
    gc.collect()
    assert gone() is None
    with pytest.raises(StateError, match="is gone"):
        _ = panel.lab
    panel.close()


def test_what_has_no_rows_is_refused_with_what_to_give() -> None:
    with pytest.raises(UsageError, match="read it first"):
        Counter("run.parquet")
