"""The config panel's kernel side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hdvlab import Lab
from hdvlab.devices.edu import Edu
from hdvlab.errors import AccessError, UsageError
from hdvlab.widgets import config
from hdvlab.widgets.changes import CHANGED, MARKED_FOR, SINCE_MARK, ByteChanges
from hdvlab.widgets.config import ConfigPanel
from hdvlab.widgets.config_view import ConfigView

from .front_end import FrontEnd


@pytest.fixture
def view(lab: Lab) -> ConfigView:
    lab.plug(Edu)
    made = ConfigView(lab)
    made.look()
    return made


@pytest.fixture
def panel(lab: Lab) -> Iterator[ConfigPanel]:
    made = config(lab)
    yield made
    made.close()


def test_the_tree_has_header_bars_and_capabilities_with_their_bytes(lab: Lab, view: ConfigView) -> None:
    told = view.layout()
    header, bars, msi = told["tree"]
    assert (header["start"], header["size"]) == (0, 64)
    assert {"Command", "Status", "Class code"} <= {item["label"] for item in header["items"]}
    assert "0xe0000000, 1M, 32-bit" in bars["items"][0]["text"]
    assert msi["text"].startswith("MSI: Enable-")
    assert (msi["start"], msi["size"]) == (0x40, 14)
    assert len(view.config) == 256, "no more can be read where PCI Express is not"


def test_looking_leaves_no_row_and_says_nothing_new_where_nothing_is(lab: Lab, view: ConfigView) -> None:
    rows = len(lab.trace)
    assert not view.look()
    assert len(lab.trace) == rows


def test_an_edit_is_a_config_write_of_the_user(lab: Lab, view: ConfigView) -> None:
    assert view.write("edu", 0x3C, 1, 11) == 0
    row = lab.trace.frame().iloc[-1]
    assert (row["kind"], row["origin"], row["address"], row["value"]) == ("config_write", "user", 0x3C, 11)
    assert view.look()
    assert view.config[0x3C] == 11
    assert view.changes.flags()[0x3C] == CHANGED | SINCE_MARK
    assert view.write("edu", 0, 2, 0xFFFF) >= 0, "what is read-only is dropped in silence, as on a bus"
    view.look()
    assert view.config[:2] == b"\x34\x12"


def test_what_is_no_config_access_is_refused_before_it_is_made(lab: Lab, view: ConfigView) -> None:
    rows = len(lab.trace)
    for offset, size, value in ((3, 2, 0), (0, 3, 0), (0x1000, 4, 0), (0, 1, 256), (-4, 4, 0)):
        with pytest.raises(AccessError):
            view.write("edu", offset, size, value)
    with pytest.raises(UsageError, match="not plugged in any more"):
        view.write("gone", 0, 4, 0)
    assert len(lab.trace) == rows


def test_choosing_bytes_chooses_the_rows_that_touched_them(lab: Lab, panel: ConfigPanel) -> None:
    edu = lab.plug(Edu)
    edu.on().config_write(0x3C, 5, 1)
    browser = FrontEnd(panel)
    browser.says("rows", first=0x3C, last=0x3C)
    browser.wait("rows")
    assert panel.selection.frame()["kind"].tolist()[-1] == "config_write"
    assert all(panel.selection.frame()["address"] <= 0x3C)
    browser.says("rows", first=0xF0, last=0xF3)
    assert browser.wait("rows")[0]["count"] == len(panel.selection.rows)


def test_power_off_and_a_device_that_is_gone_are_said(lab: Lab, view: ConfigView) -> None:
    lab.stop()
    assert view.look()
    assert view.why.startswith("the machine is off")
    assert view.layout()["tree"] == []
    lab.unplug("edu")
    assert view.look()
    assert view.why == "no device is plugged in"
    lab.plug(Edu)
    assert view.look()
    assert view.why == ""


def test_another_device_is_chosen_by_name(lab: Lab, panel: ConfigPanel) -> None:
    lab.plug(Edu)
    lab.plug(Edu, name="other")
    FrontEnd(panel).says("device", device="other")
    assert panel.device == "other"
    assert panel.text().startswith("00:02.0")
    with pytest.raises(UsageError, match="give it the lab"):
        config(lab.trace)


def test_bytes_are_marked_for_a_while_and_since_the_mark() -> None:
    now = [0.0]
    changes = ByteChanges(lambda: now[0])
    assert changes.take(b"\0\0")
    assert not changes.take(b"\0\0")
    assert changes.take(b"\0\1")
    assert changes.flags() == bytes([0, CHANGED | SINCE_MARK])
    now[0] += MARKED_FOR
    assert changes.take(b"\0\1")
    assert changes.flags() == bytes([0, SINCE_MARK])
    changes.mark()
    assert changes.flags() == b"\0\0"
    assert changes.take(b"\5\5", anew=True)
    assert changes.flags() == b"\0\0"
