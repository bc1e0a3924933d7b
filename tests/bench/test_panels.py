"""What the bench of panels makes and computes, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdvlab import bench
from hdvlab.bench.busy_guest import BusyGuest
from hdvlab.bench.long_trace import make_long_trace
from hdvlab.trace.schema import Kind


def test_a_long_trace_is_the_same_each_time_and_every_effect_has_its_doorbell() -> None:
    trace, again = make_long_trace(10_001), make_long_trace(10_001)
    columns = trace.columns()
    assert all(np.array_equal(column, again.columns()[name]) for name, column in columns.items())
    assert (np.diff(columns["t_ns"]) >= 0).all()
    caused = columns["cause"] >= 0
    assert set(columns["kind"][caused]) == {Kind.dma_read, Kind.dma_write, Kind.interrupt}
    assert set(columns["kind"][columns["cause"][caused]]) == {Kind.mmio_write}
    assert trace.frame(decode=True)["register"].iloc[0] == "TAIL"


@pytest.mark.parametrize("in_c", [True, False])
def test_a_busy_guest_counts_its_accesses_and_none_is_lost(in_c: bool) -> None:
    guest = BusyGuest(in_c)
    with guest.lab as lab:
        guest.run(0.01)
        assert guest.wait(60)
        written = int((lab.trace.columns()["kind"] == Kind.mmio_write).sum())
        assert 1000 <= written - guest.accesses < 1010  # to get warm: at first, and one in each loop in C
        assert guest.lost == 0
        assert guest.rate > 1000
        assert guest.cpu_ns > 0


def test_a_lag_is_the_age_of_the_newest_row_on_screen() -> None:
    guest = BusyGuest(in_c=False)
    with guest.lab as lab:
        guest.run(0.01)
        assert guest.wait(60)
        t_ns = lab.trace.columns()["t_ns"]
        began = guest._began_ns

        def seen(row: int, later_ms: int) -> list[int]:
            return [int(began + t_ns[row - 1]) // 1_000_000 + later_ms, row]

        median, worst, waited = guest.lags([seen(100, 40), seen(200, 40), seen(300, 90)])
        assert median == pytest.approx(40, abs=1.5)
        assert worst == pytest.approx(90, abs=1.5)
        assert waited >= worst - 1.5
        assert all(np.isnan(guest.lags([])))


def test_without_a_browser_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HDVLAB_CHROMIUM", str(tmp_path / "none"))
    assert bench.main(["panels"]) == 1
    assert "chromium" in (said := capsys.readouterr().out)
    assert "could not be measured" in said
