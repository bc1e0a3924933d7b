"""The lab sheet that a name means: one that comes with hdvlab, one in a file, or one in a notebook's variable."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdvlab.checks.sheet import Sheet
from hdvlab.errors import UsageError


def sheet_names() -> list[str]:
    """The sheets that come with hdvlab."""
    from hdvlab.checks import sheets

    return [module.name for module in pkgutil.iter_modules(sheets.__path__)]


def find_sheet(name: str, namespace: Mapping[str, Any] | None = None) -> Sheet:
    """The sheet of a name.

    Parameters
    ----------
    name : str
        A variable of ``namespace``, a sheet that comes with hdvlab, or a Python file with a variable ``sheet``.
    namespace : mapping, optional
        The person's variables.

    Raises
    ------
    UsageError
        There is none; the message says what there is.
    """
    held = (namespace or {}).get(name)
    if isinstance(held, Sheet):
        return held
    if name in sheet_names():
        return _in(importlib.import_module(f"hdvlab.checks.sheets.{name}"), name)
    if name.endswith(".py"):
        path = Path(name).expanduser()
        spec = importlib.util.spec_from_file_location(f"hdvlab_sheet_{path.stem}", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise UsageError(f"no file {name}; a lab sheet is a Python file with a variable called sheet")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise UsageError(f"{name} is no lab sheet: {type(error).__name__}: {error}") from error
        return _in(module, name)
    known = [*sheet_names(), *(key for key, value in (namespace or {}).items() if isinstance(value, Sheet))]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}, or write a file: mysheet.py"
    raise UsageError(f"no lab sheet {name}; {hint}")


def _in(module: Any, name: str) -> Sheet:
    sheet = getattr(module, "sheet", None)
    if not isinstance(sheet, Sheet):
        raise UsageError(f"{name} has no variable sheet that is a hdvlab.checks.Sheet")
    return sheet
