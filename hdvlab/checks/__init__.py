"""Lab sheets: properties of a recording that a student's device or driver has to have, and what is missing of them.

::

    from hdvlab.checks import DeviceClass, Sheet, grade, never, reads_as

    sheet = Sheet("blink", "Registers and fields", DeviceClass("Blink", like=BlinkRegisters))

    @sheet.check("COUNT counts", reads_as("COUNT", 0, 1), never("fault"), points=2)
    def counts(guest, blink):
        blink.bar0.COUNT.read()
        blink.bar0.CTRL.write(1)
        blink.bar0.COUNT.read()

    report = grade(sheet, Blink)          # or %hdv check blink; hdvlab check blink FOLDER for a whole class
    float(report); report.require()

``grade`` runs what is in this process; ``grade_folder`` gives each file of a folder a process of its own, with limits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdvlab.checks.bricks import dma_only_within, interrupts, no_access_outside, raises, reads_as, returns
    from hdvlab.checks.finding import find_sheet, sheet_names
    from hdvlab.checks.folder import ClassTable, grade_folder
    from hdvlab.checks.grading import grade
    from hdvlab.checks.limits import Limits
    from hdvlab.checks.property import Property, after, always, before, count, never, order, until, within
    from hdvlab.checks.report import Report
    from hdvlab.checks.sheet import DeviceClass, DriverFunction, Sheet

_HOMES = {
    "bricks": ("dma_only_within", "interrupts", "no_access_outside", "raises", "reads_as", "returns"),
    "finding": ("find_sheet", "sheet_names"),
    "folder": ("ClassTable", "grade_folder"),
    "grading": ("grade",),
    "limits": ("Limits",),
    "property": ("Property", "after", "always", "before", "count", "never", "order", "until", "within"),
    "report": ("Report",),
    "sheet": ("DeviceClass", "DriverFunction", "Sheet"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ClassTable",
    "DeviceClass",
    "DriverFunction",
    "Limits",
    "Property",
    "Report",
    "Sheet",
    "after",
    "always",
    "before",
    "count",
    "dma_only_within",
    "find_sheet",
    "grade",
    "grade_folder",
    "interrupts",
    "never",
    "no_access_outside",
    "order",
    "raises",
    "reads_as",
    "returns",
    "sheet_names",
    "until",
    "within",
]


def __getattr__(name: str) -> Any:
    # Found when first used: the process that confines a submission must import nothing before it has done so.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hdvlab.checks' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hdvlab.checks.{_HOME_OF[name]}"), name)
