"""One submission in a process of its own, watched over: ``python -m hdvlab.checks.watch`` with a JSON order.

Three processes: this one makes the namespaces and judges; below it one waits; below that one the submission runs.
Nothing that the submission says is believed: it leaves recordings, and this process reads them when it has ended. The
report goes to this process's stdout, which the submission never has.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import stat
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.checks import confine
from hdvlab.checks.limits import Limits

if TYPE_CHECKING:
    from hdvlab.checks.evidence import Ending
    from hdvlab.checks.report import Report, Verdict
    from hdvlab.checks.sheet import Sheet

_BIGGEST_SOURCE = 16 << 20
_BIGGEST_ENDING = 4 << 20
_PRINTED = 2000  # last characters of what it printed that are kept
_NUMBER = struct.Struct("=i")
_END = struct.Struct("=id")  # wait status, seconds of CPU time
_WHOLE = _NUMBER.size + _END.size  # the submission's process, and how it ended


def main(arguments: list[str]) -> int:
    """Run and judge one submission; the report is one JSON object on stdout."""
    order = json.loads(arguments[0])
    path, folder, limits = Path(order["path"]), Path(order["folder"]), Limits(**order["limits"])
    content = path.read_bytes()[: _BIGGEST_SOURCE + 1]
    hidden = Path(order["hidden"]) if order["hidden"] else None
    confine.keep_orphans()
    weakness = confine.enter(folder, limits.file, hidden)

    # Only now: numpy has threads, and who has threads cannot leave a namespace.
    from hdvlab.checks.finding import find_sheet

    sheet = find_sheet(order["sheet"])
    broke_off = "it is larger than 16 MiB" if len(content) > _BIGGEST_SOURCE else ""
    if not broke_off:
        broke_off = _run(sheet, path.name, content, folder, limits)
    report, printed = _judge(sheet, path.name, folder, broke_off)
    answer = {"report": report.to_dict(), "weakness": weakness, "printed": printed, "broke_off": broke_off}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    return 0


# ---- running ---------------------------------------------------------------------------------------------------------


def _run(sheet: Sheet, name: str, content: bytes, folder: Path, limits: Limits) -> str:
    """Run it to its end, or to the end of its time; empty, or how it broke off."""
    deadline = time.monotonic() + limits.seconds
    reader, writer = os.pipe()
    told = bytearray()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if os.fork() == 0:
            os.close(reader)
            _wait_below(sheet, name, content, folder, limits, writer)
        os.close(writer)
        _listen(reader, deadline, told)
    finally:
        _end_all(_NUMBER.unpack_from(told)[0] if len(told) >= _NUMBER.size else 0)
        os.close(reader)
    if len(told) < _WHOLE:
        return f"its time of {limits.seconds:g} s was over" if time.monotonic() >= deadline else "its process vanished"
    status, cpu = _END.unpack_from(told, _NUMBER.size)
    return _how(status, cpu, folder, limits)


def _listen(reader: int, deadline: float, told: bytearray) -> None:
    """Add what the process in the middle tells, until the deadline."""
    while len(told) < _WHOLE:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            break
        more = os.read(reader, _WHOLE - len(told))
        if not more:
            break
        told += more


def _wait_below(sheet: Sheet, name: str, content: bytes, folder: Path, limits: Limits, writer: int) -> None:
    """The process in the middle: it starts the submission's, and tells how that ended."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        confine.end_with_parent(signal.SIGKILL)
        is_alone = confine.new_pid_namespace()
        child = os.fork()
        if child == 0:
            _submission(sheet, name, content, folder, limits, is_alone)
        os.write(writer, _NUMBER.pack(child))
        _, status, used = os.wait4(child, 0)
        os.write(writer, _END.pack(status, used.ru_utime + used.ru_stime))
    finally:
        os._exit(0)


def _submission(sheet: Sheet, name: str, content: bytes, folder: Path, limits: Limits, is_alone: bool) -> None:
    """The submission's own process: confined, its output in a file, then its code."""
    try:
        confine.end_with_parent(signal.SIGKILL)
        os.setsid()
        os.chdir(folder)
        for variable in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
            os.environ[variable] = str(folder)
        log = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 1024)
        if is_alone:
            confine.show_own_processes()
        limits.apply(is_alone)
        confine.drop_privileges()
        _perform_all(sheet, name, content, folder)
    except BaseException as error:
        _write(folder / "error.json", f"{type(error).__name__}: {error}")
        os._exit(1)
    os._exit(0)


def _perform_all(sheet: Sheet, name: str, content: bytes, folder: Path) -> None:
    from dataclasses import asdict

    from hdvlab.checks.exercise import perform
    from hdvlab.checks.grading import require_fitting
    from hdvlab.checks.submission import SubmissionError, load, sources_of
    from hdvlab.errors import UsageError

    try:
        submitted = load(sheet, name, sources_of(name, content))
        require_fitting(sheet, submitted)
    except (SubmissionError, UsageError) as error:
        _write(folder / "error.json", str(error))
        return
    for number, check in enumerate(sheet.checks):
        evidence = perform(sheet, check, submitted, folder / f"check{number}")
        _write(folder / f"check{number}.json", asdict(evidence.ending))
        del evidence
        gc.collect()  # the recording's address space is limited


def _write(path: Path, content: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content))
    part.rename(path)


def _end_all(submission: int) -> None:
    """Nothing that was started below this process is left."""
    deadline = time.monotonic() + 5.0
    if submission:
        _kill(submission)
    while (children := _children()) and time.monotonic() < deadline:
        for child in children:  # stopped first: who forks faster than he is killed is not killed
            _kill(child, signal.SIGSTOP)
        for child in children:
            _kill(child)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def _kill(process: int, number: int = signal.SIGKILL) -> None:
    try:
        os.kill(process, number)
    except (ProcessLookupError, PermissionError):
        return


def _children() -> list[int]:
    """Processes below this one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    below, new = [], parents.get(os.getpid(), [])
    while new:
        below += new
        new = [child for process in new for child in parents.get(process, [])]
    return below


def _how(status: int, cpu: float, folder: Path, limits: Limits) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGXCPU, signal.SIGKILL) and cpu > limits.cpu - 1:
            return f"its CPU time of {limits.cpu} s was used up"
        return f"its process was ended by {signal.Signals(number).name}"
    if _is_plain(folder / "error.json"):
        return str(_read(folder / "error.json"))[:2000]
    code = os.WEXITSTATUS(status)
    return f"its process ended itself, with status {code}" if code else ""


# ---- judging ---------------------------------------------------------------------------------------------------------


def _judge(sheet: Sheet, name: str, folder: Path, broke_off: str) -> tuple[Report, str]:
    from hdvlab.checks.exercise import evidence_of
    from hdvlab.checks.judging import judge, report_of
    from hdvlab.trace.trace import Trace

    verdicts: list[Verdict] = []
    faults: list[str] = []
    missing = f"not reached: {broke_off or 'the process ended before'}"
    for number, check in enumerate(sheet.checks):
        evidence, why = None, missing
        recording = folder / f"check{number}"
        try:
            if _is_plain(recording.with_suffix(".json")):
                ending = _ending(_read(recording.with_suffix(".json")))
                _require_plain(recording)
                evidence = evidence_of(sheet, Trace.open(recording), ending)
                faults += ending.faults
        except Exception as error:  # whatever is wrong with what it left behind
            why = f"its recording cannot be read: {error}"
        verdicts += judge(sheet, check, evidence, why)
    try:
        text = (folder / "printed").read_bytes().decode(errors="replace") if _is_plain(folder / "printed") else ""
    except OSError:
        text = ""
    return report_of(sheet, verdicts, [str(fault) for fault in faults], name), text[-_PRINTED:]


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _require_plain(folder: Path) -> None:
    """Only files: a pipe or a link in their place would have this process wait, or read something else."""
    for path in folder.iterdir():
        if not _is_plain(path):
            raise ValueError(f"{path.name} is no file")


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        return json.loads(file.read(_BIGGEST_ENDING))


def _ending(data: Any) -> Ending:
    from hdvlab.checks.evidence import Ending

    return Ending(
        data["value"],
        str(data["error"]),
        [str(kind) for kind in data["kinds"]],
        [str(fault) for fault in data["faults"]][:20],
        int(data["start"]),
        int(data["stop"]),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
