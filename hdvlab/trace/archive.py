"""Copies of a trace that stand alone: what is left out, and what row numbers mean in them.

A copy has the rows of the view it was made from, numbered from 0. ``cause`` is numbered anew (-1 where the causing row
is not among them), payloads are packed, and what was already lost is told on in ``source`` of its metadata.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from hdvlab.errors import HResult, TraceError
from hdvlab.trace.loss import CARRIED_COUNTS
from hdvlab.trace.metadata import Metadata, new_metadata, write_metadata
from hdvlab.trace.native import NativeTrace
from hdvlab.trace.progress import tell
from hdvlab.trace.schema import NO_PAYLOAD, NO_ROW
from hdvlab.trace.tables import Tables
from hdvlab.trace.tables_file import TablesWriter, lines_of
from hdvlab.trace.trace import Trace
from hdvlab.trace.view import View

Array = np.ndarray[Any, Any]

#: Rows that are copied at once, so that a copy of a large trace needs little memory.
PIECE_ROWS = 1 << 20

_OWN_FACTS = {field.name for field in fields(Metadata)}


def save_trace(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """Write a trace as a recording of its own: a directory that any process can open.

    Parameters
    ----------
    trace : Trace
        Any trace: a recording, also one that goes on, a slice, an import.
    path : str or path
        Must not exist. It is written beside it under a temporary name and renamed.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    TraceError
        The path exists, or cannot be written; then nothing is left behind.
    """
    target = refuse_existing(path)
    view = trace.view()
    try:
        directory = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise not_written(target, error) from error
    try:
        _write(trace, view, directory)
        directory.rename(target)
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise not_written(target, error) from error
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return target


def _write(trace: Trace, view: View, directory: Path) -> None:
    chunk_rows = 64
    while chunk_rows <= min(len(view), 32768):
        chunk_rows *= 2
    payload = trace.payloads.memory
    max_rows = max(len(view) + 1, chunk_rows, len(payload) // 64)
    native = NativeTrace.create(directory, max_rows, chunk_rows, "manual")
    try:
        for piece in pieces(trace, view):
            native.append(piece, payload)
        writer = TablesWriter(directory)
        for line in lines_of(copied_tables(trace, view), trace.bad_lines):
            writer.write(line)
        writer.close()
        write_metadata(directory, copied_metadata(trace, max_rows, chunk_rows))
        native.finish()
    finally:
        native.close()


def pieces(trace: Trace, view: View) -> Iterator[dict[str, Array]]:
    """The rows of a copy, some at a time. ``payload`` still points into the payload of ``trace``."""
    payloads = trace.payloads
    for start in range(0, len(view), PIECE_ROWS):
        piece = view.cut(start, start + PIECE_ROWS)
        columns = dict(piece.columns)
        cause, place = columns["cause"], columns["payload"]
        columns["cause"] = np.where(cause >= 0, view.positions(cause), NO_ROW)
        refused = payloads.refused(piece.numbers, place, columns["size"])
        columns["payload"] = np.where(refused, NO_PAYLOAD, place)
        yield columns
        tell("writing rows", min(start + PIECE_ROWS, len(view)), len(view))


def copied_tables(trace: Trace, view: View) -> Tables:
    """The tables of a copy: facts of rows follow their rows."""
    facts = {}
    for name, value in trace.tables.facts.items():
        if name in _OWN_FACTS or (name == "format" and value == "hdvlab"):
            continue
        if isinstance(value, dict) and value and all(isinstance(row, int) for row in value):
            places = view.positions(np.array(list(value), dtype=np.int64)).tolist()
            facts[name] = {place: one for place, one in zip(places, value.values(), strict=True) if place >= 0}
        else:
            facts[name] = value
    return Tables(trace.tables.devices, trace.tables.sources, facts)


def copied_metadata(trace: Trace, max_rows: int, chunk_rows: int) -> Metadata:
    """The metadata of a copy, with what its source said of itself."""
    facts = trace.tables.facts
    attributes = trace.frame().attrs
    source = {name: attributes[name] for name in CARRIED_COUNTS if attributes.get(name)}
    if began_ns := trace.began_ns:
        source["began_ns"] = began_ns
    return new_metadata(max_rows, chunk_rows, str(facts.get("clock", "unknown")), source)


def refuse_existing(path: str | os.PathLike[str]) -> Path:
    """The absolute path, which must not exist."""
    target = Path(path).absolute()
    if target.exists() or target.is_symlink():
        message = "it exists; choose another name, or remove it"
        raise TraceError(message, HResult.ERROR_ALREADY_EXISTS, f"write {target}")
    return target


def not_written(target: Path, error: OSError) -> TraceError:
    """What to raise when a copy could not be written."""
    if isinstance(error, TraceError):
        return TraceError(f"{error.message}; nothing was left behind", error.hresult, f"write {target}")
    return TraceError(f"{error.strerror or error}; nothing was left behind", operation=f"write {target}")
