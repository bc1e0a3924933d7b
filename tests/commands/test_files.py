from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest

from hdvlab import Lab, commands
from hdvlab.errors import TraceError, UsageError

MMIOTRACE = """# tracer: mmiotrace
VERSION 20070824
MAP 1.000000 1 0xe0000000 0xffffc90000000000 0x1000 0x0 0
R 4 1.100000 1 0xe0000010 0x12345678 0x0 0
W 4 1.200000 1 0xe0000014 0x1 0x0 0
"""


@pytest.mark.parametrize("name", ["run1", "run1.parquet"])
def test_what_is_saved_is_loaded_under_its_name(lab: Lab, tmp_path: Path, name: str) -> None:
    commands.poke(lab, "CTRL=3")
    said = commands.save(lab, str(tmp_path / name))
    assert repr(said) == f"{len(lab.trace)} rows saved to {tmp_path / name}"
    loaded = commands.load(lab, str(tmp_path / name))
    assert len(loaded) == len(lab.trace)
    assert list(commands.trace(lab, run="run1", register="CTRL")["value"]) == [3]


def test_only_a_run_is_saved_where_one_is_named(lab: Lab, tmp_path: Path) -> None:
    commands.record(lab, lambda: commands.poke(lab, "CTRL=3"), name="three")
    assert repr(commands.save(lab, str(tmp_path / "x"), run="three")).startswith("1 row saved")
    assert len(commands.load(lab, str(tmp_path / "x"), name="again")) == 1
    assert len(lab.runs["again"]) == 1


def test_an_mmiotrace_log_is_loaded_plain_or_gzipped(lab: Lab, tmp_path: Path) -> None:
    plain, zipped = tmp_path / "a log.txt", tmp_path / "nvme.mmiotrace.gz"
    plain.write_text(MMIOTRACE)
    zipped.write_bytes(gzip.compress(MMIOTRACE.encode()))
    for path, name in ((plain, "a_log"), (zipped, "nvme")):
        commands.load(lab, str(path))
        assert list(commands.trace(lab, run=name, kind=["mmio"])["value"]) == [0x12345678, 1]


def test_a_file_that_is_there_is_not_overwritten(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("mine")
    with pytest.raises(TraceError, match="exists"):
        commands.save(lab, str(tmp_path / "x.parquet"))
    assert (tmp_path / "x.parquet").read_text() == "mine"


def test_what_cannot_be_read_or_written_is_one_of_our_errors(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        commands.load(lab, str(tmp_path / "nothing"))
    with pytest.raises(TraceError):
        commands.save(lab, "/proc/nowhere/x")
    with pytest.raises(TraceError):
        commands.save(lab, "/proc/nowhere/x.parquet")
    with pytest.raises(UsageError, match="cannot be a run's name"):
        commands.load(lab, str(tmp_path / "nothing"), name="a b")


def test_the_count_is_of_the_rows_in_the_file_while_more_come(lab: Lab, tmp_path: Path) -> None:
    going, done = threading.Event(), threading.Event()

    def work() -> None:
        while not done.is_set():
            lab.mark("tick")
            going.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert going.wait(10)
        for name in ("x", "x.parquet", "y", "y.parquet"):
            said = commands.save(lab, str(tmp_path / name))
            assert repr(said).startswith(f"{len(commands.open_file(str(tmp_path / name))):,} rows saved")
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.csv", r"not saved as .csv; rows as text are df = %hdv trace, then df.to_csv\('out.csv'\)"),
        ("out.npz", r"not saved as .npz; write out for a directory, or out.parquet for one file"),
    ],
)
def test_an_ending_that_means_something_else_is_refused(lab: Lab, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        commands.save(lab, str(tmp_path / name))
    assert not (tmp_path / name).exists()
    assert "saved to" in commands.save(lab, str(tmp_path / "out.hdv"))
