"""What lasts shows how far it is; what does not, shows nothing."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from hdvlab import Lab, commands
from hdvlab.commands import progress
from hdvlab.formats import read_trace
from hdvlab.trace.progress import listening

from ..labs import PATIENCE

LOG = Path(__file__).parents[2] / "notebooks" / "traces" / "linux61_nvme_e1000.mmiotrace.gz"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_saving_and_reading_tell_how_far_they_are(lab: Lab, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with listening(lambda *what: told.append(what)):
        lab.trace.save(tmp_path / "run")
        assert told[-1] == ("writing rows", len(lab.trace), len(lab.trace))
        read_trace(LOG)
    assert told[-1] == (f"reading {LOG.name}", LOG.stat().st_size, LOG.stat().st_size)
    count = len(told)
    read_trace(LOG)
    assert len(told) == count


def test_a_bar_comes_late_and_goes_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = Terminal(), Terminal()
    bar = progress.LateBar(stream=quick)
    bar("reading", 1, 2)
    bar.close()
    assert quick.getvalue() == ""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_LEAST", -1.0)
    bar = progress.LateBar(stream=slow)
    bar("reading", 1, 2)
    bar.close()
    assert "reading [############            ] 50 %" in slow.getvalue()
    assert slow.getvalue().endswith("\r")


def test_work_that_tells_nothing_shows_its_seconds_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_LEAST", -1.0)
    terminal, drawn = Terminal(), threading.Event()
    monkeypatch.setattr(terminal, "flush", drawn.set)
    bar = progress.LateBar("Linux boots", terminal)
    assert drawn.wait(PATIENCE)
    bar("reading", 1, 4)
    bar.wipe()
    bar.close()
    assert "\rLinux boots, 0 s" in terminal.getvalue()
    assert "reading [######                  ] 25 %" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
    length = len(terminal.getvalue())
    bar("reading", 2, 4)  # somebody is late
    assert len(terminal.getvalue()) == length


def test_work_within_work_has_one_line() -> None:
    with progress.late_bar("checking") as outer, progress.late_bar("reading") as inner:
        assert inner is outer


def test_reading_an_archive_tells_of_each_of_its_pieces(lab: Lab, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    lab.trace.archive(tmp_path / "run.parquet")
    with listening(lambda *what: told.append(what)):
        assert len(read_trace(tmp_path / "run.parquet")) == len(lab.trace)
    assert told == [("reading run.parquet", 1, 1)]


def test_no_bar_is_drawn_where_nobody_draws_over_a_line(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    commands.save(lab, str(tmp_path / "run"))
    assert capsys.readouterr().err == ""
