"""One door to every trace there is: what a file is, is found from its content."""

from __future__ import annotations

import contextlib
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from hdvlab.errors import TraceFormatError, TraceLossWarning
from hdvlab.formats.mmiotrace import parse_mmiotrace
from hdvlab.formats.mmiotrace_line import is_mmiotrace
from hdvlab.formats.signature import not_readable
from hdvlab.formats.text_lines import TextLines, opened
from hdvlab.trace.progress import Watched
from hdvlab.trace.schema import Kind
from hdvlab.trace.trace import Trace


def read_trace(path: str | PathLike[str]) -> Trace:
    """Read a trace: our own recording, or another tool's log.

    Parameters
    ----------
    path : str or path
        A recording (a directory), its Parquet archive, or a Linux mmiotrace log, plain or gzip.

    Returns
    -------
    Trace
        Warned of with one :class:`~hdvlab.errors.TraceLossWarning` if lines could not be read (they are in
        ``bad_lines``) or the log says that events were lost (they are rows of kind ``lost``).

    Raises
    ------
    TraceError
        The file is not there or cannot be opened.
    TraceFormatError
        It is no format that can be read; the message says what it looks like.
    """
    operation = f"read_trace {path}"
    if Path(path).is_dir() or _is_parquet(Path(path)):
        from hdvlab.trace.open import open_trace

        return open_trace(path)
    with opened(path) as stream:
        watched: Any = Watched(stream, f"reading {Path(path).name}", Path(path).stat().st_size)
        lines = TextLines(watched)
        if not is_mmiotrace(lines.head):
            raise TraceFormatError(not_readable(lines, "a trace"), operation=operation)
        trace = parse_mmiotrace(lines)
    if told := _losses(trace):
        warnings.warn(TraceLossWarning(f"{path}: {told}"), stacklevel=2)
    return trace


def _is_parquet(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(4) == b"PAR1"
    return False


def _losses(trace: Trace) -> str:
    """What is missing from a trace, in one sentence; empty if nothing is."""
    told = []
    if count := len(trace.bad_lines):
        lines = "1 line" if count == 1 else f"{count:,} lines"
        told.append(f"{lines} could not be read (trace.bad_lines), the first is {trace.bad_lines[0]}")
    columns = trace.columns()
    if np.any(columns["kind"] == Kind.lost):
        lost = trace.attributes(columns)["lost"]
        number = f"{lost:,}" if lost else "an unknown number of"
        told.append(f"{number} events were lost while it was recorded (rows of kind lost)")
    return "; ".join(told)
