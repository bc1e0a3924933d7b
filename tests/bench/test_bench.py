"""What the bench computes and says; what it measures is nobody's to assert."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from hdvlab import bench
from hdvlab.bench.figure import US, Figure
from hdvlab.bench.guest_accesses import EchoServer, parse_turns
from hdvlab.bench.nvme import busy_ns

from ..vfio_user.client import REGION_READ, REGION_WRITE, Client


def test_a_figure_stands_beside_its_target_and_says_whether_it_holds() -> None:
    line = str(Figure("a read", 1500.0, 1200.0, 2000.0, "us", US))
    assert line.split() == ["a", "read", "1.5", "1.2", "us", "2", "us", "0.75", "held"]
    assert str(Figure("a read", 2500.0, 1200.0, 2000.0, "us", US)).endswith("1.25  over")
    assert str(Figure("a read", 2500.0, 1200.0, None, "us", US)).split()[2:] == ["2.5", "1.2", "us"]


def test_a_ratio_of_turns_goes_before_that_of_medians() -> None:
    said = "0 0 10 9 11\n0 1 20 18 22\n1 1 60 50 70\n1 0 40 30 50\n2 0 10 9 11\n2 1 15 9 16\n3 -1 1 1 1\n"
    echo, ours = parse_turns(said, 2)
    assert (echo.medians, ours.medians) == ([10, 40, 10], [20, 60, 15])
    assert ours.tenths == [18, 50, 9]
    assert ours.ratio(echo) == 1.5  # 2, 1.5 and 1.5
    assert ours.sustained().medians == [22, 70, 16]
    assert str(Figure("", 20, 9, 10, "ns", 1.0, ours.ratio(echo))).endswith("1.50  over")


def test_time_in_hdvlab_is_from_the_cause_on_and_counts_once() -> None:
    rows = [  # t_ns, dur_ns, cause
        (0, 5, -1),
        (100, 10, -1),  # a doorbell
        (150, 20, 1),  # its DMA, while
        (160, 5, -1),  # the guest reads a register
        (180, 10, 1),  # its interrupt: 100 to 190
        (300, 7, -1),
        (400, 1, 0),  # by a row that is not looked at
    ]
    t, dur, cause = np.array(rows).T
    columns = {"t_ns": t, "dur_ns": dur.astype("<u4"), "cause": cause}
    assert busy_ns(columns, 1) == 90 + 7 + 1
    assert busy_ns(columns, len(rows)) == 0


def test_without_a_vm_the_table_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HDVLAB_CACHE", str(tmp_path))
    for name in ("HDVLAB_QEMU", "HDVLAB_KERNEL", "HDVLAB_BUSYBOX"):
        monkeypatch.delenv(name, raising=False)
    assert bench.main(["vm"]) == 1
    assert "could not be measured" in (said := capsys.readouterr().out)
    assert "hdvlab vm setup" in said


def test_a_part_that_there_is_not_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["disk"])
    assert "there is no part disk; there are local, vm" in capsys.readouterr().err


def test_the_yardstick_is_a_server_that_a_client_takes() -> None:
    with EchoServer() as echo, socket.socket(socket.AF_UNIX) as connected:
        connected.connect(str(echo.path))
        client = Client(connected)
        client.version()
        assert client.is_alive()
        config = client.ask(REGION_READ, struct.pack("<QII", 0, 7, 256)).payload[16:]
        assert struct.unpack_from("<HH", config) == (0x1234, 0xBE4E)
        for size in (1, 2, 4, 8):
            payload = client.ask(REGION_READ, struct.pack("<QII", 0, 0, size)).payload
            assert payload[16:] == struct.pack("<Q", 0x1234567812345678)[:size]
        assert len(client.ask(REGION_WRITE, struct.pack("<QIII", 4, 0, 4, 7)).payload) == 16
        client.send(REGION_WRITE, struct.pack("<QIII", 4, 0, 4, 7), flags=0x10)  # posted: no reply
        assert client.is_alive()
