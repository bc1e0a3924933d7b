"""Traces to and from files: ``save``, ``load``; ``load`` also takes a device in C."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdvlab.commands.c_device import is_c_device, load_device
from hdvlab.commands.importing import import_whole
from hdvlab.commands.progress import late_bar
from hdvlab.commands.runs import trace_of
from hdvlab.commands.text import Text, count
from hdvlab.errors import TraceError, UsageError

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab, Plugged
    from hdvlab.trace.trace import Trace

_TABLES = (".csv", ".tsv", ".txt", ".json", ".xlsx")
_ENDINGS = (".gz", ".txt", ".log", ".parquet", ".mmiotrace", ".hdv")


def save(
    source: AnyLab | Trace, path: str, *, run: str | None = None, namespace: Mapping[str, Any] | None = None
) -> Text:
    """Write the trace to a directory, or to one file if the path ends in ``.parquet``.

    Parameters
    ----------
    source : Lab or Trace
        What.
    path : str
        Where to; it must not be there yet. Without an ending (or with ``.hdv``) a directory.
    run : str, optional
        Only a named run, a loaded trace, or a variable that holds one.
    namespace : mapping, optional
        The person's variables.
    """
    target = Path(path).expanduser()
    _check_ending(target)
    rows = trace_of(source, run, namespace)
    whole = rows[: len(rows)]  # fixed: a device that is at work adds rows meanwhile
    try:
        with late_bar(f"writing {target.name}"):
            import_whole("pyarrow.parquet") if target.suffix == ".parquet" else None
            written = whole.archive(target) if target.suffix == ".parquet" else whole.save(target)
    except OSError as error:
        raise _readable(error, target) from error
    return Text(f"{count(len(whole), 'row')} saved to {written}")


def _check_ending(target: Path) -> None:
    """Only what can be written: a directory of another tool's ending would be taken for that tool's file."""
    ending = target.suffix
    if ending in ("", ".parquet", ".hdv"):
        return
    name = target.name.removesuffix(ending)
    if ending in _TABLES:
        text = (
            f"rows as text are df = %hdv trace, then df.to_csv({target.name!r}), or in a shell hdvlab trace FILE --csv"
        )
    else:
        text = f"write {name} for a directory, or {name}.parquet for one file"
    raise UsageError(f"{target}: a trace is not saved as {ending}; {text}")


def open_file(path: str) -> Trace:
    """Open a recording, a Parquet archive or another tool's log.

    Raises
    ------
    TraceError
        It cannot be read.
    """
    from hdvlab.formats import read_trace

    source = Path(path).expanduser()
    try:
        with late_bar(f"reading {source.name}"):
            import_whole("pyarrow.parquet") if source.suffix == ".parquet" else None
            return read_trace(source)
    except OSError as error:
        raise _readable(error, source) from error


def load(
    lab: AnyLab, path: str, *, name: str | None = None, slot: int | None = None, config: Sequence[str] = ()
) -> Trace | Plugged:
    """Plug in a compiled device, or read a trace and keep it under a name, for ``--run NAME``.

    Parameters
    ----------
    lab : Lab
        What takes it.
    path : str
        A shared object or a C source with a device in it, see :func:`hdvlab.commands.load_device`; else a recording, a
        Parquet archive or another tool's log. What it is, is found from its content, a source from its ending.
    name : str, optional
        The device's own name, or the trace file's without its ending, when not given.
    slot : int, optional
        For a device: 0 to 31.
    config : sequence of str
        For a device: ``key=value`` strings.
    """
    if is_c_device(Path(path)):
        return load_device(lab, path, name=name, slot=slot, config=config)
    if slot is not None or config:
        option = "--slot" if slot is not None else "--config"
        what = "is no compiled device (ELF)" if Path(path).expanduser().exists() else "is not there"
        raise UsageError(f"{path} {what}; {option} is for devices, a trace is loaded without it")
    if name is None:
        stem = Path(path).name
        while (cut := Path(stem).suffix) in _ENDINGS and cut != stem:
            stem = stem.removesuffix(cut)
        name = re.sub(r"\W+", "_", stem).strip("_") or "loaded"
    elif not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(f"{name!r} cannot be a run's name; use letters, digits, _, - and .")
    lab.runs[name] = whole = open_file(path)
    return whole


def _readable(error: OSError, path: Path) -> TraceError:
    """An error of the system as one of ours; ours as they are."""
    return error if isinstance(error, TraceError) else TraceError(f"{error.strerror or error}: {path}")
