"""Read what was handed in: a Python file, or the code cells of a notebook."""

from __future__ import annotations

import json
import linecache
import types
from pathlib import Path
from typing import Any

from hdvlab.checks.sheet import DeviceClass, Sheet
from hdvlab.device import Device


class SubmissionError(Exception):
    """It cannot be read, or what the sheet asks for is not in it; the text says what is missing."""


class _NoShell:
    """What ``get_ipython()`` is in a submission: its ``%hdv`` lines do nothing, for the sheet does the driving."""

    def run_line_magic(self, *words: Any, **named: Any) -> None: ...
    def run_cell_magic(self, *words: Any, **named: Any) -> None: ...
    def system(self, *words: Any, **named: Any) -> None: ...
    def getoutput(self, *words: Any, **named: Any) -> list[str]:
        return []


def sources_of(name: str, content: bytes) -> list[str]:
    """The pieces of code of a submission in their order: a file is one, a notebook's cells are several.

    Raises
    ------
    SubmissionError
        It is no notebook, or no text.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{name} is no text: {error}") from None
    if not name.endswith(".ipynb"):
        return [text]
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        cells = json.loads(text)["cells"]
        codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SubmissionError(f"{name} is no notebook: {type(error).__name__}: {error}") from None
    transform = TransformerManager().transform_cell
    return [str(transform(code)) for code in codes]


def load(sheet: Sheet, name: str, sources: list[str]) -> Any:
    """Run a submission's code and find what the sheet asks for.

    A notebook's cell that fails does not keep the others from being run, as little as it does in the notebook.

    Raises
    ------
    SubmissionError
        What is asked for is not there; the text says what failed.
    """
    module = types.ModuleType("submission")
    module.__dict__["get_ipython"] = _NoShell
    failed = ""
    for number, source in enumerate(sources, 1):
        file = name if len(sources) == 1 else f"{name}, cell {number}"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), module.__dict__)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # exit() in a submission is its own mistake
            failed = failed or f"; {file}: {_where(error, file)}{type(error).__name__}: {error}"
    found = module.__dict__.get(sheet.submit.name)
    if found is None:
        found = _only_fitting(sheet, module)
    if found is None:
        raise SubmissionError(f"there is no {sheet.submit.name}: the sheet asks for {sheet.submit.what}{failed}")
    return found


def _where(error: BaseException, file: str) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines, traceback = [], error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f"line {lines[-1]}: " if lines else ""


def _only_fitting(sheet: Sheet, module: types.ModuleType) -> Any:
    """The device class under another name: the one that has the ids asked for."""
    if not isinstance(sheet.submit, DeviceClass):
        return None
    like = sheet.submit.like
    fitting = [
        value
        for value in module.__dict__.values()
        if isinstance(value, type)
        and issubclass(value, Device)
        and (getattr(value, "vendor_id", 0), getattr(value, "device_id", 0)) == (like.vendor_id, like.device_id)
    ]
    return fitting[0] if len(fitting) == 1 else None


def submissions_in(folder: Path) -> list[Path]:
    """The submissions of a class: ``.py`` and ``.ipynb`` files in a folder, and in its folders."""
    found = [*folder.glob("*"), *folder.glob("*/*")]
    return sorted(
        path
        for path in found
        if path.suffix in (".py", ".ipynb")
        and path.is_file()
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    )
