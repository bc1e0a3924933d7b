"""Lab sheets: ``check`` judges a notebook's device or driver, ``check_folder`` a whole class."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.commands.importing import import_whole
from hdvlab.commands.nearest import nearest
from hdvlab.commands.plugging import look_up
from hdvlab.commands.progress import late_bar
from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.checks import ClassTable, Report, Sheet
    from hdvlab.checks.folder import Graded


def sheets() -> list[str]:
    """The lab sheets that come with hdvlab."""
    from hdvlab.checks import sheet_names

    return sheet_names()


def check(sheet: str, name: str | None = None, *, namespace: Mapping[str, Any] | None = None) -> Report:
    """Run a device or a driver against a lab sheet, on fresh labs; the lab of ``%hdv`` is left alone.

    Parameters
    ----------
    sheet : str
        A lab sheet that comes with hdvlab, a variable with one, or a Python file with one.
    name : str, optional
        The class or function; what the sheet asks for when not given.
    namespace : mapping, optional
        The person's variables.

    Raises
    ------
    UsageError
        There is no such sheet, or nothing of that name.
    """
    import_whole("pandas", "hdvlab.checks")
    from hdvlab.checks import grade

    variables = namespace or {}
    found = _sheet(sheet, variables)
    wanted = name or found.submit.name
    submitted = look_up(wanted, variables)
    if submitted is None:
        if wanted.endswith((".py", ".ipynb")):
            raise UsageError(f"files are judged in a shell: hdvlab check {sheet} {wanted} --details")
        own = [
            key
            for key, value in variables.items()
            if (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__.partition(".")[0] not in ("hdvlab", "IPython")
            and not key.startswith("_")
        ]
        hint = nearest(wanted, own) if name and own else "run the cell that defines it first"
        raise UsageError(f"there is no {wanted}; sheet {found.name} asks for {found.submit.what}; {hint}")
    with late_bar(f"checking {wanted}"):
        return grade(found, submitted, wanted)


def _sheet(sheet: str, variables: Mapping[str, Any]) -> Sheet:
    from hdvlab.checks import find_sheet

    return find_sheet(sheet, variables)


def check_folder(
    sheet: str,
    folder: str | os.PathLike[str],
    *,
    jobs: int = 1,
    seconds: float = 60.0,
    memory: int = 1 << 30,
    progress: Callable[[Graded], None] | None = None,
) -> ClassTable:
    """Judge each submission of a folder in a process of its own; see :func:`hdvlab.checks.grade_folder`.

    Parameters
    ----------
    sheet : str
        As for :func:`check`.
    folder : path
        ``.py`` and ``.ipynb`` files, in it or in its folders.
    jobs : int
        How many run at a time.
    seconds : float
        Wall time for one submission; half of it is its CPU time, at least 1 s.
    memory : int
        Bytes of memory for one process.
    progress : callable, optional
        Told of each when it is done.
    """
    from hdvlab.checks import Limits, grade_folder

    limits = Limits(seconds=seconds, cpu=max(round(seconds / 2), 1), memory=memory)
    return grade_folder(sheet, Path(folder), limits=limits, jobs=jobs, progress=progress)
