"""Run one check's exercise on a lab of its own, and keep what happened."""

from __future__ import annotations

import contextlib
import io
import linecache
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdvlab.checks.evidence import Ending, Evidence, plain
from hdvlab.checks.sheet import Check, DeviceClass, Sheet
from hdvlab.device import Device
from hdvlab.errors import GuestInterrupted, HdvError
from hdvlab.lab import Lab
from hdvlab.trace.schema import Kind
from hdvlab.trace.tables import DeviceInfo, Tables
from hdvlab.trace.view import View

if TYPE_CHECKING:
    from hdvlab.guest import Guest
    from hdvlab.trace.trace import Trace

_LONGEST = 300

#: Rows of one exercise; a driver that never ends fills no disk, and a process with little address space has room.
_MOST_ROWS = 1 << 20


class MisfitError(Exception):
    """What was handed in does not have what the sheet asks for."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing on stderr: what fails in a device is in the report, and a grader takes a word there for a failure."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def perform(sheet: Sheet, check: Check, submitted: Any, folder: Path | None = None) -> Evidence:
    """Run an exercise on a fresh lab.

    Parameters
    ----------
    sheet : Sheet
        Whose check it is.
    check : Check
        What to run.
    submitted : class or callable
        What was handed in.
    folder : path, optional
        Where to record; else the rows are copied to memory.
    """
    device = submitted if isinstance(sheet.submit, DeviceClass) else check.device or sheet.submit.device
    with quiet():
        lab = Lab(trace=folder, max_rows=_MOST_ROWS)
        try:
            ending = _run(lab, sheet, check, submitted, device)
            return evidence_of(sheet, lab.trace, ending, copy=folder is None)
        finally:
            # A device that never answers keeps its machine busy; the report says so, and the process goes on.
            with contextlib.suppress(HdvError):
                lab.close()


def _run(lab: Lab, sheet: Sheet, check: Check, submitted: Any, device: type[Device]) -> Ending:
    try:
        lab.plug(device, name=sheet.device_name)
    except Exception as error:
        faults = tuple(_short(str(fault)) for fault in lab.faults)
        return Ending(error=f"it cannot be plugged in: {_short(str(error))}", kinds=_kinds(error), faults=faults)
    run = lab.run(_program(sheet, check.exercise, submitted), name="exercise", wait=False)
    program = run.program
    assert program is not None
    late = ""
    if not program.join(check.seconds):
        late = f"it was not done after {check.seconds:g} s"
        with contextlib.suppress(HdvError):
            program.stop()
    stop = len(lab.trace)
    raised = program.error
    faults = tuple(_short(str(fault)) for fault in lab.faults)
    said = late or ("" if raised is None else _said(raised))
    kinds = _kinds(raised) if raised is not None else ("TimeoutError",) if late else ()
    return Ending(plain(program.value), said, kinds, faults, run.start, stop)


def _program(sheet: Sheet, exercise: Callable[..., Any], submitted: Any) -> Callable[[Guest], Any]:
    def program(guest: Guest) -> Any:
        if not isinstance(sheet.submit, DeviceClass):
            return exercise(guest, submitted)
        function = guest[sheet.device_name]
        found = {index: bar.size for index, bar in function.bars.items()}
        for index, bar in sheet.bars.items():
            if found.get(index) != bar.size:
                has = f"bar{index} has {found[index]:#x} bytes" if index in found else f"there is no bar{index}"
                raise MisfitError(f"{has}; the sheet asks for bar{index} of {bar.size:#x} bytes")
        function.maps = {index: bar.registers for index, bar in sheet.bars.items() if bar.registers is not None}
        for bar_of in list(function.bars.values()):
            function.map_bar(bar_of.index, bar_of.address, bar_of.size)
        return exercise(guest, function)

    program.__name__ = getattr(exercise, "__name__", "exercise")
    return program


def _said(error: BaseException) -> str:
    """An exception in one line, with the line of the exercise or the driver that it came from."""
    if isinstance(error, GuestInterrupted):
        return "it was stopped"
    place, traceback = "", error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if not module.startswith("hdvlab.") or module.startswith("hdvlab.checks.sheets"):
            text = linecache.getline(code.co_filename, traceback.tb_lineno, traceback.tb_frame.f_globals).strip()
            place = f" at {code.co_name}:{traceback.tb_lineno} {text}".rstrip()
        traceback = traceback.tb_next
    what = _short(str(error))
    if isinstance(error, MisfitError):
        return what
    return _short(f"{type(error).__name__}{f': {what}' if what else ''}{place}")


def _kinds(error: BaseException) -> tuple[str, ...]:
    return tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def evidence_of(sheet: Sheet, trace: Trace, ending: Ending, copy: bool = False) -> Evidence:
    """The rows of an exercise in a recording, read by the sheet's registers."""
    view = trace.view()
    rows = np.asarray(view.rows)
    first, last = (int(np.searchsorted(rows, row)) for row in (ending.start, ending.stop))
    part = view.cut(first, max(first, last))
    if copy:  # a temporary recording goes with its lab
        part = View({name: column.copy() for name, column in part.columns.items()}, part.rows)
    told = part.of_kind(Kind.fault).rows, part.of_kind(Kind.mark).rows
    texts = {int(row): _short(trace.text(int(row)).strip().rpartition("\n")[2]) for rows in told for row in rows}
    return Evidence(part, _tables(sheet, trace.tables), ending, texts)


def _tables(sheet: Sheet, tables: Tables) -> Tables:
    """With the sheet's registers: conditions must not depend on how a student calls theirs."""
    devices = [
        DeviceInfo(one.name, one.vendor_id, one.device_id, one.address, one.driver, sheet.bars)
        if one.name == sheet.device_name
        else one
        for one in tables.devices
    ]
    if not any(one.name == sheet.device_name for one in devices):
        devices.append(DeviceInfo(sheet.device_name, bars=sheet.bars))
    return Tables(devices, dict(tables.sources), dict(tables.facts))
