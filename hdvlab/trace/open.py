"""Opening what was recorded: also while it is being written, after a crash, and after a disk damaged it."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path

from hdvlab.errors import HdvError, TraceError, TraceFormatError, TraceLossWarning
from hdvlab.trace.damage import Damage, last_row_known, rows_in_files
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.metadata import Metadata, read_metadata
from hdvlab.trace.native import NativeTrace
from hdvlab.trace.schema import COLUMNS, SCHEMA_VERSION
from hdvlab.trace.tables import Tables
from hdvlab.trace.tables_file import TablesReader
from hdvlab.trace.trace import Trace

_FILES = ("header.bin", *(f"{name}.col" for name in COLUMNS), "payload.bin", "seals.bin")
_MAGIC = b"HDVTRACE"
_PARQUET_MAGIC = b"PAR1"


def open_trace(path: str | os.PathLike[str]) -> Trace:
    """Open a recording, also one that another process still writes, or a Parquet archive.

    Parameters
    ----------
    path : str or path
        A trace directory, or a file that :meth:`hdvlab.trace.trace.Trace.archive` wrote.

    Returns
    -------
    Trace
        A :class:`~hdvlab.trace.mapped.MappedTrace` for a directory. Of a damaged one, everything that is whole; a
        :class:`~hdvlab.errors.TraceLossWarning` says what is not, and so do ``losses`` and the frames' ``attrs``.

    Raises
    ------
    TraceError
        It is not there or may not be read.
    TraceFormatError
        It is no trace, not even in parts, or of a newer schema.
    """
    target = Path(path).absolute()
    try:
        return _open_directory(target) if target.is_dir() else _open_archive(target)
    except OSError as error:
        if isinstance(error, HdvError):
            raise
        raise TraceError(error.strerror or str(error), operation=f"open {target}") from error


def _open_directory(directory: Path) -> MappedTrace:
    operation = f"open {directory}"
    names = {entry.name for entry in directory.iterdir()}
    if not names & {"header.bin", "trace.json"} and not any(name in names for name in _FILES):
        raise TraceFormatError("this directory holds no trace: neither header.bin nor trace.json", operation=operation)
    problems = []
    try:
        metadata = read_metadata(directory)
    except TraceFormatError as error:
        metadata = None
        problems.append(f"{error.message}; what it says of the host is not known, rows do not depend on it")
    _refuse_newer(directory, metadata)
    if gone := [name for name in _FILES if name != "header.bin" and name not in names]:
        raise TraceFormatError(
            f"{', '.join(gone)} missing: the directory was not copied as a whole, or its recorder is still making it",
            operation=operation,
        )
    damage = Damage()
    native = _attach(directory, metadata, damage, problems)
    reader = TablesReader(directory)
    tables = Tables(facts=metadata.facts() if metadata else {"format": "hdvlab"})
    reader.refresh(tables)
    trace = MappedTrace(native, tables, reader, damage)
    trace.bad_lines = tuple(reader.bad_lines)
    if not trace.is_live:
        if metadata is None and not problems and len(trace):
            problems.append("trace.json is missing; rows do not depend on it")
        if reader.unreadable:
            problems.append(f"{reader.unreadable} lines of tables.jsonl cannot be read; what they named has no name")
        if reader.is_cut and trace.state.closed:
            problems.append("tables.jsonl ends within a line; what it named behind that has no name")
        problems.extend(_examine(trace, native))
    if problems:
        warnings.warn(TraceLossWarning(f"{directory}: {'; '.join(problems)}"), stacklevel=3)
    return trace


def _open_archive(path: Path) -> Trace:
    with path.open("rb") as file:
        start = file.read(4)
    if start != _PARQUET_MAGIC:
        raise TraceFormatError(
            "this file is neither a trace directory nor a Parquet archive; hdvlab.read_trace reads other tools' logs",
            operation=f"open {path}",
        )
    from hdvlab.trace.parquet import read_archive

    return read_archive(path)


def _header_start(directory: Path) -> bytes:
    try:
        with (directory / "header.bin").open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _refuse_newer(directory: Path, metadata: Metadata | None) -> None:
    """Refuse a newer schema, unless it is only a flipped bit that says so."""
    start = _header_start(directory)
    in_header = struct.unpack_from("=I", start, 8)[0] if start[:8] == _MAGIC and len(start) >= 12 else 0
    told = metadata.schema if metadata else in_header
    if told > SCHEMA_VERSION and (in_header > SCHEMA_VERSION or not in_header):
        raise TraceFormatError(
            f"its schema is version {told}, this hdvlab reads up to {SCHEMA_VERSION}; upgrade with "
            "pip install -U hdvlab",
            operation=f"open {directory}",
        )


def _attach(directory: Path, metadata: Metadata | None, damage: Damage, problems: list[str]) -> NativeTrace:
    """Map the recording, with the header if it is whole, else with the layout that is known from elsewhere."""
    while True:
        # A recorder writes the magic number last, and trace.json after that; perhaps just now.
        is_made = metadata is not None or _has_magic(directory)
        try:
            return NativeTrace.attach(directory)
        except TraceFormatError:
            pass
        except TraceError:
            if (directory / "header.bin").exists():
                raise
        if is_made or (last_row_known(directory, 65536, 0) and not _has_magic(directory)):
            break
        if not _has_magic(directory):
            raise TraceFormatError(
                "its recorder has not finished making it, or died while it did; if one still runs, try again",
                operation=f"open {directory}",
            )
    damage.is_header_damaged = True
    problems.append("header.bin is damaged or missing; the layout is taken from the other files")
    rows = max(rows_in_files(directory).values())
    max_rows, chunk_rows = (metadata.max_rows, metadata.chunk_rows) if metadata else _guessed_layout(directory, rows)
    return NativeTrace.salvage(directory, max_rows, chunk_rows)


def _has_magic(directory: Path) -> bool:
    return _header_start(directory)[:8] == _MAGIC


def _guessed_layout(directory: Path, rows: int) -> tuple[int, int]:
    """Rows and rows a chunk, from the files alone: the first seal holds a whole chunk if there is a second one."""
    first = struct.unpack("=I", (directory / "seals.bin").read_bytes()[4:8].ljust(4, b"\0"))[0]
    chunk_rows = 64
    while chunk_rows < min(first or 65536, 1 << 31):
        chunk_rows *= 2
    return max(rows, chunk_rows), chunk_rows


def _examine(trace: MappedTrace, native: NativeTrace) -> list[str]:
    """What a recording whose writer is gone lacks, in words. Checksums are compared where anything is out of order."""
    state = trace.state
    damage = trace.damage
    files = rows_in_files(native.path)
    there = min(files.values())
    expected = 0 if damage.is_header_damaged else state.rows_begun
    if there < max(expected, max(files.values())):
        expected = max(expected if there < expected else 0, last_row_known(native.path, state.chunk_rows, there))
        damage.missing = max(0, expected - there)
        short = [f"{name}.col ends at row {rows:,}" for name, rows in files.items() if rows < expected]
        damage.cut_files = f"of {expected:,} rows, {', '.join(short)}" if damage.missing else ""
    is_payload_cut = state.payload_bytes < state.payload_reserved
    if not state.closed or damage.is_header_damaged or damage.missing or is_payload_cut:
        trace.check_chunks()
    return [f"{loss.rows:,} {loss.what.replace('_', ' ')}: {loss.why}" for loss in trace.list_losses()]
