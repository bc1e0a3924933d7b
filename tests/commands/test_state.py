from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hdvlab import Device, Lab, commands
from hdvlab.commands.parser import verbs
from hdvlab.device import RemoteDevice, serve
from hdvlab.errors import StateError, UsageError

from ..labs import PATIENCE, wait_for


def test_the_status_tells_devices_bars_and_rows(lab: Lab) -> None:
    text = repr(commands.status(lab))
    assert "machine  on, embedded, 64 MiB RAM" in text
    assert "blink    00:01.0  1234:0001  Blink" in text
    assert "bar0 at 0xe0000000, 4 KiB, 4 registers" in text
    assert str(lab.trace.path) in text


def test_the_status_counts_runs_and_looking_leaves_no_row(lab: Lab) -> None:
    commands.record(lab, lambda: None, name="empty")
    rows = len(lab.trace)
    status = commands.status(lab)
    assert (status.rows, status.runs, status.faults, status.lost, status.pending) == (rows, {"empty": 0}, 0, 0, 0)
    assert len(lab.trace) == rows


def test_the_status_of_a_machine_that_is_off_still_names_its_devices(lab: Lab) -> None:
    said = commands.stop(lab)
    assert repr(said) == f"the machine is off; the trace has {len(lab.trace)} rows"
    assert "bar0 not placed" in repr(commands.status(lab))
    assert repr(commands.stop(lab)) == "the machine is off already"
    assert repr(commands.start(lab)) == "the machine is on, with blink"
    assert repr(commands.start(lab)) == "the machine is on already"


def test_the_overview_has_every_verb_on_few_lines_also_without_a_lab() -> None:
    overview = commands.overview(None)
    text = repr(overview)
    for word in ("no lab yet", "%hdv plug", "%%hdv record", "stop and step"):
        assert word in text
        assert word in overview._repr_html_()
    assert set(verbs()) <= set(text.replace(",", " ").split())
    assert len(text.splitlines()) < 20
    assert text.index("no lab yet") < text.index("%hdv plug edu  ") < text.index("stop and step")


def test_html_is_escaped(lab: Lab) -> None:
    commands.record(lab, lambda: None, name="<b>")
    assert "<b>" not in commands.status(lab)._repr_html_()


def test_lspci_lists_the_devices_as_the_guest_sees_them(lab: Lab) -> None:
    commands.plug(lab, "edu")
    assert commands.lspci(lab).count("\n") == 2
    text = commands.lspci(lab, "edu", verbose=2, hex_level=1)
    assert "Region 0: Memory at e0100000 (32-bit, non-prefetchable) [size=1M]" in text
    assert "\n00: 34 12 e8 11" in text
    assert repr(text).startswith("00:02.0 ")
    assert commands.lspci(lab, "edu", hex_level=4).count("\n") == 1 + 256 // 16  # no PCI Express, so no more to read
    with pytest.raises(UsageError, match=r"^no device ed is plugged in; did you mean edu\?$"):
        commands.lspci(lab, "ed")


def test_registers_are_numbers_that_show_themselves_in_hexadecimal(lab: Lab) -> None:
    commands.poke(lab, "CTRL=0x103")
    frame = commands.regs(lab, "blink")
    assert frame.loc[frame["register"] == "CTRL", "value"].item() == 0x103
    assert "0x103 EN=1 RATE=1 MODE=fast" in repr(frame)
    assert "0x103" in (frame._repr_html_() or "")
    assert "0x103" in repr(frame[["register", "value"]])


def test_there_is_one_current_lab_until_it_is_closed(lab: Lab) -> None:
    assert commands.existing_lab() is None
    first = commands.current_lab()
    try:
        assert commands.current_lab() is first
        with pytest.raises(StateError, match="%hdv close ends it"):
            commands.new_lab(ram=1 << 20)
        assert commands.use_lab(lab) is commands.current_lab()
    finally:
        first.close()
        commands.close_lab()
    assert commands.existing_lab() is None
    commands.close_lab()


def test_the_status_tells_of_brokers_and_devices_elsewhere(blink: type[Device], tmp_path: Path) -> None:
    ready = threading.Event()
    with Lab() as lab:
        assert commands.status(lab).brokers == ()
        lab.broker(tmp_path / "s", budget=4)
        assert repr(commands.status(lab)).splitlines()[1] == f"broker   at {tmp_path / 's'}, no device host yet"
        process = threading.Thread(target=serve, args=(blink, tmp_path / "s"), kwargs={"ready": ready.set})
        process.start()
        wait_for(ready)
        lab.plug(RemoteDevice(blink))
        text = repr(commands.status(lab))
        assert "blink    00:01.0  1234:0001  Blink, in another process" in text
        assert f"broker   at {tmp_path / 's'}, process {os.getpid()} (up)" in text
        lab.brokers[0].close()
        assert "Blink, its process has taken it away" in repr(commands.status(lab))
        assert lab.brokers == []
        process.join(PATIENCE)
