"""A whole class: every submission of a folder against one sheet, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.checks.finding import find_sheet
from hdvlab.checks.judging import judge, report_of
from hdvlab.checks.limits import Limits
from hdvlab.checks.report import Report
from hdvlab.checks.sheet import Sheet
from hdvlab.checks.submission import submissions_in
from hdvlab.errors import UsageError
from hdvlab.trace.progress import tell

if TYPE_CHECKING:
    import pandas as pd

_WIDEST = 160  # characters of a line of the table
_JUDGING = 60.0  # seconds that its watcher has to judge, behind the submission's own time


@dataclass(frozen=True)
class Graded:
    """One submission's report; ``broke_off`` says how its process ended early, ``printed`` the last of its output."""

    name: str
    report: Report
    broke_off: str = ""
    printed: str = ""
    weakness: str = ""


@dataclass(frozen=True)
class ClassTable:
    """The reports of a class. ``frame()`` is the table, ``[name]`` one report."""

    sheet: Sheet
    graded: Sequence[Graded] = field(default_factory=tuple)

    @property
    def weakness(self) -> str:
        """What could not be kept from the submissions on this computer; empty where everything could."""
        return next((one.weakness for one in self.graded if one.weakness), "")

    def frame(self) -> pd.DataFrame:
        """One row per submission, index ``submission``: columns ``points``, ``of``, one a check, ``broke_off``."""
        import pandas as pd

        rows = []
        for one in self.graded:
            checks: dict[str, float] = {check.title: 0.0 for check in self.sheet.checks}
            for verdict in one.report.verdicts:
                checks[verdict.check] = checks.get(verdict.check, 0.0) + verdict.points
            row: dict[str, Any] = {"submission": one.name, "points": one.report.points, "of": one.report.worth}
            rounded = {title: round(points, 6) for title, points in checks.items()}
            rows.append(row | rounded | {"broke_off": one.broke_off})
        titles = [check.title for check in self.sheet.checks]
        columns = ["submission", "points", "of", *titles, "broke_off"]
        return pd.DataFrame(rows, columns=columns).set_index("submission")

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "sheet": self.sheet.name,
            "of": self.sheet.points,
            "weakness": self.weakness,
            "submissions": {
                one.name: {
                    "points": one.report.points,
                    "broke_off": one.broke_off,
                    "printed": one.printed,
                    "report": one.report.to_dict(),
                }
                for one in self.graded
            },
        }

    def __getitem__(self, name: str) -> Report:
        for one in self.graded:
            if one.name == name:
                return one.report
        raise UsageError(f"no submission {name}; there is {', '.join(one.name for one in self.graded)}")

    def __repr__(self) -> str:
        frame = self.frame()
        lines = [f"{self.sheet.name}: {len(frame)} submission{'' if len(frame) == 1 else 's'}"]
        width = max((len(one.name) for one in self.graded), default=0)
        for one in self.graded:
            line = f"{one.name:<{width}}  {one.report.points:6.2f} of {one.report.worth:g}  {one.broke_off}"
            lines.append(line.rstrip() if len(line) <= _WIDEST else f"{line[:_WIDEST]}…")
        return "\n".join([*lines, *([self.weakness] if self.weakness else [])])

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(border=0, notebook=True))


def grade_folder(
    sheet: str,
    folder: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    jobs: int = 1,
    progress: Callable[[Graded], None] | None = None,
) -> ClassTable:
    """Judge every submission of a folder.

    A submission that hangs, crashes, exits, forks, eats memory, prints a report of its own, or writes to files hurts
    nobody but itself, as far as :mod:`hdvlab.checks.confine` can be had; the table's ``weakness`` says where it cannot.
    What it is judged by is recorded in its own process: who knows hdvlab well and means to cheat can forge the
    recording, as one can copy from a neighbour. Read what you grade.

    Parameters
    ----------
    sheet : str
        Name of a sheet that comes with hdvlab, or a Python file with one.
    folder : path
        ``.py`` and ``.ipynb`` files, in it or in its folders.
    limits : Limits, optional
        What each may use.
    jobs : int
        How many run at a time. Time limits in a sheet suffer where there are more of them than CPUs.
    progress : callable, optional
        Told of each when it is done.

    Raises
    ------
    UsageError
        There is no such sheet or folder, or no submission in it.
    """
    place = Path(folder).expanduser().resolve()
    found_sheet = find_sheet(sheet)
    if sheet.endswith(".py"):
        sheet = str(Path(sheet).expanduser().resolve())
    if place.suffix in (".py", ".ipynb") and place.is_file():  # one submission
        files, place = [place], place.parent
    elif not place.is_dir():
        raise UsageError(f"no folder {folder}, and no submission (.py, .ipynb) of that name")
    else:
        files = [path for path in submissions_in(place) if str(path) != sheet]
    if not files:
        raise UsageError(f"no submission in {folder}: .py and .ipynb files are looked for, there and in its folders")
    if jobs < 1:
        raise UsageError(f"jobs are 1 or more, not {jobs}")
    hidden = place if _may_be_hidden(place, sheet) else None

    def one(path: Path) -> Graded:
        graded = _graded(found_sheet, sheet, path, str(path.relative_to(place)), hidden, limits or Limits(), running)
        if progress is not None and not running.is_over:
            progress(graded)
        return graded

    running = _Running()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="hdvlab-check")
    try:
        done: list[Graded] = []
        for graded in pool.map(one, files):
            done.append(graded)
            tell(f"checking {place.name}", len(done), len(files))
        return ClassTable(found_sheet, done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        running.end()  # after Ctrl-C; each ends what it watches
        pool.shutdown()


class _Running:
    """The watchers that run; none goes on, and none begins, once they are to end."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self.is_over = False

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """One has begun."""
        with self._guard:
            self._processes.add(process)
            if self.is_over:
                process.terminate()

    def remove(self, process: subprocess.Popen[bytes]) -> None:
        """One has ended."""
        with self._guard:
            self._processes.discard(process)

    def end(self) -> None:
        """End them all."""
        with self._guard:
            self.is_over = True
            for process in self._processes:
                process.terminate()


def _may_be_hidden(folder: Path, sheet: str) -> bool:
    """Whether nothing that is needed lies in the folder: neither Python, nor hdvlab, nor the sheet."""
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__), Path(tempfile.gettempdir())]
    if sheet.endswith(".py"):
        needed.append(Path(sheet))
    return not any(path.resolve().is_relative_to(folder) for path in needed)


def _graded(
    sheet: Sheet,
    order_sheet: str,
    path: Path,
    name: str,
    hidden: Path | None,
    limits: Limits,
    running: _Running,
) -> Graded:
    work = Path(tempfile.mkdtemp(prefix="hdvlab-check-"))
    order = {
        "sheet": order_sheet,
        "path": str(path),
        "folder": str(work),
        "limits": asdict(limits),
        "hidden": str(hidden) if hidden is not None else "",
    }
    try:
        answer = _watched(order, limits, running)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if isinstance(answer, str):
        verdicts = [verdict for check in sheet.checks for verdict in judge(sheet, check, None, answer)]
        return Graded(name, report_of(sheet, verdicts, [], name), answer)
    return Graded(name, Report.from_dict(answer["report"]), answer["broke_off"], answer["printed"], answer["weakness"])


def _watched(order: dict[str, Any], limits: Limits, running: _Running) -> Any:
    """The watcher's answer, or why there is none."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    # Its own session: Ctrl-C in the terminal reaches this process, which ends it.
    process = subprocess.Popen(
        [sys.executable, "-m", "hdvlab.checks.watch", json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    running.add(process)
    try:
        output, errors = process.communicate(timeout=limits.seconds + _JUDGING)
    except subprocess.TimeoutExpired:
        return "judging it took too long"
    finally:
        running.remove(process)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        return f"its watcher failed: {last or signal.Signals(-process.returncode).name}"
    return json.loads(output)
