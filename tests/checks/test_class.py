"""A class of submissions, among them some that hang, crash, exit, fork, eat and lie: each hurts only itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest

from hdvlab.checks import ClassTable, Limits, Sheet, grade_folder
from hdvlab.errors import UsageError
from hdvlab.trace.progress import listening

from ..labs import PATIENCE

SOLUTION = Path(__file__).parent / "solutions/blink.py"

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

#: A sheet of one quick check, so that the processes are what takes the time.
SHEET = """
from hdvlab.checks import Sheet, find_sheet, reads_as, never

sheet = Sheet("quick", "One check", find_sheet("blink").submit)

@sheet.check("COUNT counts", reads_as("COUNT", 1), never("fault"), points=2, seconds=2)
def counts(guest, blink):
    blink.bar0.CTRL.write(1)
    blink.bar0.COUNT.read()

@sheet.check("LIMIT", reads_as("LIMIT", 0xFF))
def limit(guest, blink):
    blink.bar0.LIMIT.read()
"""

#: In the second of two checks: what the first one has shown stays.
SECOND_TIME = """
class Blink(Blink):
    made = 0

    def __init__(self):
        type(self).made += 1
        if self.made == 2:
            {0}
"""

LIAR = """
import json, os, socket, sys

report = {"sheet": "quick", "subject": "me", "verdicts": [], "faults": []}
said = json.dumps({"report": report, "weakness": "", "printed": "", "broke_off": ""})
print(said, flush=True)
for number in range(64):
    try:
        os.write(number, said.encode())
    except OSError:
        pass
FOLDER = %r
for name in ("good.py", "written"):
    try:
        with open(os.path.join(FOLDER, name), "a") as file:
            file.write("1 / 0")
    except OSError:
        pass
try:
    print("neighbours:", os.listdir(FOLDER))
except OSError:
    pass
for number in (os.getppid(), -1):
    try:
        os.kill(number, 15)
    except OSError:
        pass
try:
    socket.create_connection(("192.0.2.1", 9), 0.2)
except OSError as error:
    print("network:", error)
for name in ("check0", "check1"):
    os.mkfifo(name)
    with open(name + ".json", "w") as file:
        json.dump({"value": None, "error": "", "kinds": [], "faults": [], "start": 0, "stop": 9}, file)
os._exit(0)
"""


def notebook(folder: Path) -> None:
    """The solution as a student's notebook has it: with commands, a cell that fails, and a shell's."""
    cells = [
        "%load_ext hdvlab",
        SOLUTION.read_text(),
        "%hdv plug Blink\n%hdv poke CTRL.EN=1",
        "frame = %hdv trace\nframe.head()",
        "%%hdv guest\nblink.bar0.CTRL.write(1)",
        "!ls",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, folder / "notebook.ipynb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submissions; the sheet is not among them."""
    folder = tmp_path_factory.mktemp("class")
    (folder.parent / "quick.py").write_text(SHEET)
    good = SOLUTION.read_text()
    submissions = {
        "good": good,
        "exits": good + SECOND_TIME.format("__import__('os')._exit(7)"),
        "crashes": good + SECOND_TIME.format("__import__('ctypes').string_at(0)"),
        "eats": "held = []\nwhile True:\n    held.append(bytearray(1 << 24))\n",
        "leaves": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        time.sleep(1e6)\n    os._exit(0)\n" + good,
        "lies": LIAR % str(folder),
    }
    for name, text in submissions.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "sam").mkdir()
    notebook(folder / "sam")
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> ClassTable:
    limits = Limits(seconds=20, cpu=15, memory=512 << 20)
    return grade_folder(str(folder.parent / "quick.py"), folder, limits=limits, jobs=2)


def test_what_is_good_has_its_points_whatever_the_others_do(table: ClassTable) -> None:
    points = table.frame()["points"]
    assert points["good.py"] == points["sam/notebook.ipynb"] == points["leaves.py"] == 3
    assert table.frame()["of"].eq(3).all()
    assert table.frame().columns.tolist() == ["points", "of", "COUNT counts", "LIMIT", "broke_off"]
    table["good.py"].require()


@pytest.mark.parametrize(
    ("name", "points", "why"),
    [
        ("exits.py", 2, "its process ended itself, with status 7"),
        ("crashes.py", 2, "its process was ended by SIGSEGV"),
        ("eats.py", 0, "MemoryError"),
    ],
)
def test_who_breaks_off_is_told_why_and_keeps_what_it_has_shown(
    table: ClassTable, name: str, points: float, why: str
) -> None:
    row = table.frame().loc[name]
    assert why in row["broke_off"]
    assert row["points"] == points


def test_who_lies_gains_nothing_and_hurts_nobody(table: ClassTable, folder: Path) -> None:
    assert table.frame().loc["lies.py", "points"] == 0
    [liar] = [one for one in table.graded if one.name == "lies.py"]
    assert '"verdicts": []' in liar.printed
    if table.weakness:
        pytest.skip(table.weakness)
    assert (folder / "good.py").read_text() == SOLUTION.read_text()
    assert not (folder / "written").exists()
    assert "neighbours: []" in liar.printed
    assert "network: [Errno 101] Network is unreachable" in liar.printed


def test_the_table_is_data(table: ClassTable) -> None:
    data = json.loads(json.dumps(table.to_dict()))
    assert data["of"] == 3
    assert data["submissions"]["good.py"]["points"] == 3
    assert "exits.py" in repr(table)
    with pytest.raises(UsageError, match="no submission nobody"):
        table["nobody"]


def test_nothing_is_left_running(table: ClassTable, folder: Path) -> None:
    watchers = [
        entry.name
        for entry in Path("/proc").glob("[0-9]*")
        if b"hdvlab.checks.watch" in _command_line(entry) and str(folder).encode() in _command_line(entry)
    ]
    assert watchers == []


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_who_hangs_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(1e6)\n")
    [one] = grade_folder("blink", tmp_path, limits=Limits(seconds=0.2)).graded
    assert one.broke_off == "its time of 0.2 s was over"
    assert float(one.report) == 0


def test_a_loop_is_ended_when_its_cpu_time_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text("while True:\n    pass\n")
    [one] = grade_folder("blink", tmp_path, limits=Limits(seconds=6 * PATIENCE, cpu=1)).graded
    assert one.broke_off == "its CPU time of 1 s was used up"


def test_interrupted_it_ends_what_it_started(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.py").write_text(SOLUTION.read_text())
    (tmp_path / "b.py").write_text("import time\ntime.sleep(1e6)\n")
    program = "import sys; from hdvlab.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "check", str(folder.parent / "quick.py"), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "a.py: 3 of 3\n"  # now the other one's turn has come
        process.send_signal(signal.SIGINT)
        assert process.wait(6 * PATIENCE) == 130
        assert process.stderr.read() == "hdvlab: stopped\n"
    deadline = time.monotonic() + PATIENCE
    while [entry for entry in Path("/proc").glob("[0-9]*") if str(tmp_path).encode() in _command_line(entry)]:
        assert time.monotonic() < deadline, "a watcher is left"
        os.sched_yield()


#: The watcher where neither user namespaces nor those of processes can be had.
BARE = """
import sys
from hdvlab.checks import confine, watch

confine.enter = lambda folder, size, hidden=None: "no namespaces here"
confine.new_pid_namespace = lambda: False
sys.exit(watch.main(sys.argv[1:]))
"""


def test_without_namespaces_what_a_submission_leaves_behind_is_ended_all_the_same(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "quick.py").write_text(SHEET)
    mine = f"hdvlab-left-{os.getpid()}"
    child = f"[sys.executable, '-c', 'import time; time.sleep(1e6)', '{mine}']"
    forks = f"import subprocess, sys\nsubprocess.Popen({child}, start_new_session=True)\n"
    (tmp_path / "a.py").write_text(forks + SOLUTION.read_text())
    order = {
        "sheet": str(tmp_path / "quick.py"),
        "path": str(tmp_path / "a.py"),
        "folder": str(work),
        "hidden": "",
        "limits": asdict(Limits(seconds=6 * PATIENCE)),
    }
    command = [sys.executable, "-c", BARE, json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **ONE_THREAD})
    answer = json.loads(done.stdout)
    assert answer["weakness"] == "no namespaces here"
    assert answer["broke_off"] == ""
    assert sum(one["points"] for one in answer["report"]["verdicts"]) == 3
    assert not [entry for entry in Path("/proc").glob("[0-9]*") if mine.encode() in _command_line(entry)]


def test_one_submission_is_judged_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b.py").write_text("")
    assert [one.name for one in grade_folder("blink", tmp_path / "b.py").graded] == ["b.py"]


def test_what_cannot_be_graded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no submission in"):
        grade_folder("blink", tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        grade_folder("blink", tmp_path / "nothing")
    with pytest.raises(UsageError, match="limit seconds is more than 0"):
        Limits(seconds=0)
    (tmp_path / "a.py").write_text("")
    with pytest.raises(UsageError, match="jobs are 1 or more"):
        grade_folder("blink", tmp_path, jobs=0)


def test_a_sheets_file_in_the_folder_is_no_submission(tmp_path: Path) -> None:
    (tmp_path / "quick.py").write_text(SHEET)
    (tmp_path / "good.py").write_text(SOLUTION.read_text())
    told: list[tuple[str, int, int]] = []
    with listening(lambda *what: told.append(what)):
        table = grade_folder(str(tmp_path / "quick.py"), tmp_path)
    assert told == [(f"checking {tmp_path.name}", 1, 1)]
    assert isinstance(table.sheet, Sheet)
    assert [one.name for one in table.graded] == ["good.py"]
    assert table.frame()["points"].tolist() == [3]
