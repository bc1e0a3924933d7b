from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hdvlab import Bar, Device, Lab, Register


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0001

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0})


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recording on disk with one read and one write."""
    path = tmp_path_factory.mktemp("trace") / "run1"
    with Lab(trace=path) as lab:
        register = lab.plug(Blink).bar0.CTRL
        register.write(1)
        register.read()
    return str(path)


def hdvlab(*words: str, folder: str | Path = ".", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from hdvlab.cli import main; sys.exit(main())", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}, check=False
    )


def test_alone_it_lists_its_verbs() -> None:
    for words in ((), ("--help",), ("help",)):
        done = hdvlab(*words)
        assert done.returncode == 0
        assert "hdvlab convert" in done.stdout


def test_it_knows_its_version() -> None:
    assert hdvlab("--version").stdout.startswith("hdvlab 0.")


def test_rows_of_a_file_are_printed(recording: str) -> None:
    done = hdvlab("trace", recording, "--kind", "mmio")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mmio_write" in done.stdout
    assert "[2 rows x 14 columns]" in done.stdout


def test_rows_are_comma_separated_on_request(recording: str) -> None:
    lines = hdvlab("trace", recording, "--register", "CTRL.EN", "--csv").stdout.splitlines()
    assert lines[0].startswith("row,t_ns,dur_ns,kind,")
    assert len(lines) == 3


def test_a_reader_that_goes_away_is_no_error(recording: str) -> None:
    code = "import sys; from hdvlab.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "trace", recording, "--csv"]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 0


def test_a_picture_is_drawn_into_a_file(recording: str, tmp_path: Path) -> None:
    done = hdvlab("plot", "timeline", recording, "-o", "x.png", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "x.png\n")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_two_recordings_are_compared_and_the_theme_is_remembered(recording: str, tmp_path: Path) -> None:
    done = hdvlab("plot", "compare", recording, recording, "-o", "x.svg", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "x.svg\n")
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    done = hdvlab("plot", "compare", recording, "-o", "x.png", folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "hdvlab: compare takes two files: hdvlab plot compare FILE OTHER; 1 given",
    )
    assert hdvlab("theme").stdout == "pictures are light; theme dark or theme light changes it\n"


def test_a_trace_is_converted(recording: str, tmp_path: Path) -> None:
    assert hdvlab("convert", recording, "x.parquet", folder=tmp_path).returncode == 0
    assert hdvlab("convert", "x.parquet", "again", folder=tmp_path).returncode == 0
    assert hdvlab("trace", "again", folder=tmp_path).stdout == hdvlab("trace", recording).stdout


@pytest.mark.parametrize(
    ("words", "said", "then"),
    [
        (("trcae",), "no verb trcae; did you mean trace?", "hdvlab --help"),
        (("--hlep",), "no verb --hlep; there is vm, ", "hdvlab --help"),
        (("trace",), "hdvlab trace needs FILE: ", "hdvlab trace --help"),
        (("trace", "nothing"), "read nothing: there is no such file", "hdvlab trace --help"),
        (
            ("trace", "x", "--lats", "3"),
            "hdvlab trace has no option --lats; did you mean --last?",
            "hdvlab trace --help",
        ),
        (("plot", "timeline", "x"), "hdvlab plot needs -o: a .png, .svg or .pdf file", "hdvlab plot --help"),
        (
            ("plot", "run1", "timeline", "-o", "x.png"),
            "the picture comes first: hdvlab plot timeline run1",
            "hdvlab plot --help",
        ),
        (("doctor", "x"), "'x' is one word too many", "hdvlab doctor --help"),
    ],
)
def test_a_mistake_is_two_lines_and_exit_code_2(words: tuple[str, ...], said: str, then: str, tmp_path: Path) -> None:
    done = hdvlab(*words, folder=tmp_path)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 2)
    assert lines[0].startswith(f"hdvlab: {said}")
    assert lines[1] == f"hdvlab: {then} says what can be typed"


def test_the_doctor_finds_what_the_tests_need() -> None:
    done = hdvlab("doctor")
    assert done.returncode == 0, done.stdout
    for what in ("Python", "compiled library", "clock of traces", "pandas", "jupyterlab", "pyarrow", "Jupyter kernel"):
        assert what in done.stdout


def test_the_doctor_notes_what_hyper_v_takes_where_there_is_none() -> None:
    lines = hdvlab("doctor").stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("note    Hyper-V"))
    assert "Windows 10 1809 or later" in lines[at + 1]
    assert "administrator rights" in lines[at + 1]


def test_the_doctor_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    """Without the compiled library, which a file that fails to load stands for."""
    code = (
        "import sys; sys.modules['hdvlab._core._native'] = None\n"
        "from hdvlab.cli import main; sys.exit(main(['doctor']))"
    )
    environment = {**os.environ, "PATH": str(tmp_path)}
    environment.pop("CC", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "missing compiled library" in done.stdout
    assert "→ pip install" in done.stdout
    assert "absent  C compiler" in done.stdout
    assert "hdvlab does not work here yet: compiled library" in done.stdout


def test_a_trace_is_not_converted_to_what_it_cannot_be(recording: str, tmp_path: Path) -> None:
    done = hdvlab("convert", recording, "x.csv", folder=tmp_path)
    assert done.returncode == 2
    assert "in a shell hdvlab trace FILE --csv" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_of_plot_has_a_name_of_its_own_for_each_argument() -> None:
    text = hdvlab("plot", "--help").stdout
    assert "-o OUT" in text
    assert "PICTURE FILE" in text


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("0.11.0", ">=0.9.18,<1", True),
        ("0.11.0", "<1,>=0.9.18", True),
        ("0.9.17", "<1,>=0.9.18", False),
        ("1.0.0", "<1,>=0.9.18", False),
        ("2", ">=2", True),
        ("7.1", "", True),
    ],
)
def test_the_doctor_compares_a_version_with_every_bound(version: str, wanted: str, fits: bool) -> None:
    from hdvlab.doctor import _is_within

    assert _is_within(version, wanted) is fits


def test_a_class_is_checked_and_its_points_are_a_table(tmp_path: Path) -> None:
    solution = Path(__file__).parent / "checks/solutions/blink.py"
    (tmp_path / "ann.py").write_text(solution.read_text())
    done = hdvlab("check", "blink", str(tmp_path), "--csv")
    assert done.returncode == 0
    heading, ann = done.stdout.splitlines()
    assert heading.startswith("submission,points,of,values after power-on,")
    assert ann.startswith("ann.py,11.0,11.0,1.0,")
    assert done.stderr.splitlines()[0] == "ann.py: 11 of 11"
    wrong = hdvlab("check", "blnk", str(tmp_path))
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("hdvlab: no lab sheet blnk; did you mean blink?")
