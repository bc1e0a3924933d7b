"""The C tests of this folder, natively and as a Windows program under Wine: each is a test of its own here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .building import HERE, Wine, run

NAMES = sorted(name for file in HERE.glob("test_*.c") for name in re.findall(r"^TEST\((\w+)\)", file.read_text(), re.M))
#: Longest that a program under Wine may hang before it counts as failed, seconds.
PATIENCE = 240


def _outcomes(output: str) -> dict[str, str]:
    """Test name to what the program said of it; the first thing said of it counts."""
    said: dict[str, str] = {}
    for line in output.splitlines():
        if found := re.match(r"ok (\w+)$|FAILED (\w+): ", line):
            said.setdefault(found[1] or found[2], line)
    return said


@pytest.fixture(scope="module")
def under_wine(wine: Wine, windows_program: Path) -> dict[str, str]:
    """What became of each test. One process for all of them, and one more for those behind a test that ended it."""
    said: dict[str, str] = {}
    while left := [name for name in NAMES if name not in said]:
        status, output = wine.run(windows_program, left, PATIENCE)
        outcomes = _outcomes(output)
        said |= outcomes
        ended = next((name for name in left if name not in outcomes), None)
        if ended is not None:
            said[ended] = f"FAILED {ended}: the program ended in it with status {status}"
    return said


def test_the_program_has_every_test_of_this_folder(program: Path) -> None:
    assert run(program, "--list").split() == NAMES
    assert len(set(NAMES)) == len(NAMES)


def test_a_name_that_is_no_tests_fails(program: Path) -> None:
    with pytest.raises(AssertionError, match="there is no such test"):
        run(program, "nobody_wrote_this_one")


@pytest.mark.parametrize("name", NAMES)
def test_native(program: Path, name: str) -> None:
    assert run(program, name) == f"ok {name}\n"


@pytest.mark.parametrize("name", NAMES)
def test_windows(under_wine: dict[str, str], name: str) -> None:
    assert under_wine[name] == f"ok {name}"


def test_a_trace_recorded_on_linux_is_read_on_windows(
    program: Path, windows_program: Path, wine: Wine, tmp_path: Path
) -> None:
    run(program, "--child", "records_some_rows", tmp_path / "trace")
    assert wine.run(windows_program, ["--child", "reads_those_rows", _windows(tmp_path / "trace")]) == (0, "")


def test_a_trace_recorded_on_windows_is_read_on_linux(
    program: Path, windows_program: Path, wine: Wine, tmp_path: Path
) -> None:
    assert wine.run(windows_program, ["--child", "records_some_rows", _windows(tmp_path / "trace")]) == (0, "")
    run(program, "--child", "reads_those_rows", tmp_path / "trace")


def _windows(path: Path) -> str:
    """Wine's name for a file of this system."""
    return "Z:" + str(path).replace("/", "\\")
