"""Judge what stands in this process: ``grade(sheet, Blink)``."""

from __future__ import annotations

from typing import Any

from hdvlab.checks.exercise import perform
from hdvlab.checks.judging import judge, report_of
from hdvlab.checks.report import Report, Verdict
from hdvlab.checks.sheet import DeviceClass, Sheet
from hdvlab.device import Device
from hdvlab.errors import UsageError
from hdvlab.trace.progress import tell


def require_fitting(sheet: Sheet, submitted: Any) -> None:
    """What was handed in is of the kind that the sheet asks for.

    Raises
    ------
    UsageError
        It is not; the message says what is asked for.
    """
    if isinstance(sheet.submit, DeviceClass):
        fits = isinstance(submitted, type) and issubclass(submitted, Device) and submitted is not Device
    else:
        fits = callable(submitted) and not isinstance(submitted, type)
    if not fits:
        raise UsageError(f"sheet {sheet.name} asks for {sheet.submit.what}, not {submitted!r:.60}")


def grade(sheet: Sheet, submitted: Any, name: str = "") -> Report:
    """Run every check of a sheet, each on a fresh lab, and judge what happened.

    Nothing is printed to stderr; what fails in the device's code is in the report.

    Parameters
    ----------
    sheet : Sheet
        The lab sheet.
    submitted : class or callable
        A device class or a driver function, as the sheet says.
    name : str
        What the report calls it.
    """
    require_fitting(sheet, submitted)
    verdicts: list[Verdict] = []
    faults: list[str] = []
    for number, check in enumerate(sheet.checks):
        tell(f"checking: {check.title}", number, len(sheet.checks))
        evidence = perform(sheet, check, submitted)
        verdicts += judge(sheet, check, evidence)
        faults += evidence.ending.faults
    return report_of(sheet, verdicts, faults, name or getattr(submitted, "__name__", "it"))
