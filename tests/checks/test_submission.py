"""What is handed in is read: files and notebooks, and what is wrong with them is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hdvlab.checks import find_sheet
from hdvlab.checks.submission import SubmissionError, load, sources_of, submissions_in

SOLUTION = (Path(__file__).parent / "solutions/blink.py").read_text()


def notebook(*cells: str) -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}).encode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.py", b"class Blink(:", "there is no Blink: the sheet asks for a device class Blink (1234:0b01); "
         "a.py: line 1: SyntaxError"),
        ("a.py", b"x = 1\nraise SystemExit(0)", "a.py: line 2: SystemExit: 0"),
        ("a.py", b"def f():\n    1 / 0\nf()", "a.py: line 2: ZeroDivisionError"),
        ("a.py", b"", "there is no Blink"),
        ("a.py", b"\xff", "a.py is no text"),
        ("a.ipynb", b"{}", "a.ipynb is no notebook: KeyError: 'cells'"),
        ("a.ipynb", b"[" * 100_000, "a.ipynb is no notebook: RecursionError"),
        ("a.ipynb", notebook("x = 1", "1 / 0"), "a.ipynb, cell 2: line 1: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_with_what_failed(name: str, content: bytes, said: str) -> None:
    with pytest.raises(SubmissionError) as error:
        load(find_sheet("blink"), name, sources_of(name, content))
    assert said in str(error.value)


def test_a_notebooks_commands_do_nothing_and_a_failed_cell_stops_no_other() -> None:
    cells = ("%load_ext hdvlab", "%hdv plug Nothing", "frame = %hdv trace\nframe.head()", "%%hdv guest\n)(", SOLUTION)
    assert load(find_sheet("blink"), "a.ipynb", sources_of("a.ipynb", notebook(*cells))).__name__ == "Blink"


def test_a_device_under_another_name_is_found_by_its_ids() -> None:
    renamed = SOLUTION.replace("class Blink", "class Flash")
    assert load(find_sheet("blink"), "a.py", [renamed]).__name__ == "Flash"
    with pytest.raises(SubmissionError):
        load(find_sheet("timer"), "a.py", [renamed])


def test_submissions_are_in_the_folder_and_in_its_folders(tmp_path: Path) -> None:
    for name in ("b.py", "a.ipynb", "sam/c.py", "sam/deep/d.py", ".hidden/e.py", "notes.txt", "__pycache__/f.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [str(path.relative_to(tmp_path)) for path in submissions_in(tmp_path)]
    assert found == ["a.ipynb", "b.py", "sam/c.py"]
