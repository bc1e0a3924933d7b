"""One door to every trace: the format is found from the content, and what is missing is said once."""

from __future__ import annotations

import gzip
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from hdvlab.errors import HResult, TraceError, TraceFormatError, TraceLossWarning
from hdvlab.formats import read_trace

SAMPLE = Path(__file__).parents[2] / "notebooks" / "traces" / "linux61_nvme_e1000.mmiotrace.gz"
LOG = b"VERSION 20070824\nR 4 2.000000 1 0xfebe001c 0x1 0x0 0\n"


def test_a_sound_log_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_trace(SAMPLE)) == 14_516
        assert len(read_trace(str(SAMPLE))) == 14_516


def test_the_format_is_found_from_the_content_whatever_the_name_says(tmp_path: Path) -> None:
    for name, content in (("a.gz", LOG), ("b.txt", gzip.compress(LOG)), ("c.json", LOG)):
        (tmp_path / name).write_bytes(content)
        assert len(read_trace(tmp_path / name)) == 1


def test_bad_lines_are_one_warning_with_their_count_and_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(LOG + b"R 3 2.000000 1 0x0 0x1 0x0 0\nnonsense\n")
    with pytest.warns(TraceLossWarning) as caught:
        trace = read_trace(path)
    assert (len(caught), len(trace.bad_lines)) == (1, 2)
    message = str(caught[0].message)
    assert "2 lines could not be read" in message
    assert "line 3: width '3' is not 1, 2, 4 or 8" in message
    assert caught[0].filename == __file__


def test_lost_events_are_in_the_warning_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(LOG + b"MARK 0.000000 Lost 5000 events.\n")
    with pytest.warns(TraceLossWarning, match="5,000 events were lost"):
        read_trace(path)
    path.write_bytes(LOG + b"CPU:0 [LOST EVENTS]\n")
    with pytest.warns(TraceLossWarning, match="an unknown number of events"):
        read_trace(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="check the path") as caught:
        read_trace(tmp_path / "absent.mmiotrace")
    assert caught.value.hresult == HResult.ERROR_NOT_FOUND
    assert "absent.mmiotrace" in str(caught.value)


def test_an_unknown_format_says_what_it_looks_like_and_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(TraceFormatError, match=r"a PNG picture.*What can be read: Linux mmiotrace") as caught:
        read_trace(path)
    assert isinstance(caught.value, ValueError)
    assert "picture" in caught.value.operation


def test_a_directory_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceFormatError, match="holds no trace"):
        read_trace(tmp_path)


def test_reading_needs_no_pandas() -> None:
    code = "import sys, hdvlab.formats as f; f.read_trace(sys.argv[1]); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(SAMPLE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_recording_and_its_archive_come_through_the_same_door(tmp_path: Path) -> None:
    original = read_trace(SAMPLE)
    original.save(tmp_path / "saved")
    original.archive(tmp_path / "saved.parquet")
    for path in (tmp_path / "saved", tmp_path / "saved.parquet"):
        again = read_trace(path)
        assert len(again) == len(original)
        assert (again.columns()["address"] == original.columns()["address"]).all()
