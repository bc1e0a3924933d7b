"""Archives: a trace as one Parquet file, which pandas, DuckDB and Polars read too.

``kind`` and ``origin`` are their names, ``payload`` holds the bytes themselves. What the numbers refer to is JSON in
the file's metadata, key ``hdvlab``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hdvlab.errors import BackendUnavailableError, TraceFormatError
from hdvlab.trace.archive import copied_metadata, copied_tables, not_written, pieces, refuse_existing
from hdvlab.trace.progress import tell
from hdvlab.trace.schema import COLUMNS, NO_PAYLOAD, SCHEMA_VERSION, Kind, Origin
from hdvlab.trace.tables import Tables
from hdvlab.trace.tables_file import TablesParser, encoded, lines_of
from hdvlab.trace.trace import Trace

Array = np.ndarray[Any, Any]

_KEY = b"hdvlab"
_CODES = {"kind": Kind, "origin": Origin}


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BackendUnavailableError("archives need pyarrow: pip install 'hdvlab[parquet]'") from error
    return pyarrow


def archive_trace(trace: Trace, path: str | os.PathLike[str]) -> Path:
    """Write a trace as one Parquet file.

    Parameters
    ----------
    trace : Trace
        Any trace: a recording, also one that goes on, a slice, an import.
    path : str or path
        Must not exist. It is written beside it under a temporary name and renamed.

    Raises
    ------
    BackendUnavailableError
        pyarrow is not installed.
    TraceError
        The path exists, or cannot be written; then nothing is left behind.
    """
    pa = _pyarrow()
    target = refuse_existing(path)
    view = trace.view()
    about = {
        "metadata": copied_metadata(trace, len(view) + 1, 65536).facts(),
        "tables": list(lines_of(copied_tables(trace, view), trace.bad_lines)),
    }
    names = pa.dictionary(pa.int8(), pa.string())
    types = {**{name: pa.from_numpy_dtype(np.dtype(dtype)) for name, dtype in COLUMNS.items()}}
    types |= {"kind": names, "origin": names, "payload": pa.large_binary()}
    schema = pa.schema(types, metadata={_KEY: encoded(about)})
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        with pa.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for piece in pieces(trace, view):
                writer.write_table(_table(pa, piece, trace.payloads.memory, schema))
        _rename_new(temporary, target)
    except OSError as error:
        raise not_written(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return target


def _table(pa: Any, piece: dict[str, Array], payload: Array, schema: Any) -> Any:
    arrays = {name: pa.array(column) for name, column in piece.items()}
    for name, codes in _CODES.items():
        arrays[name] = pa.DictionaryArray.from_arrays(piece[name].view(np.int8), [one.name for one in codes])
    held: list[bytes | None] = [None] * len(piece["kind"])
    for at in np.flatnonzero(piece["payload"] >= 0).tolist():
        place = int(piece["payload"][at])
        held[at] = payload[place : place + int(piece["size"][at])].tobytes()
    arrays["payload"] = pa.array(held, pa.large_binary())
    return pa.table({name: arrays[name] for name in COLUMNS}, schema=schema)


def _rename_new(temporary: Path, target: Path) -> None:
    """Rename, but never over a file that came meanwhile."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(temporary, target)
    except PermissionError:  # a file system without hard links
        temporary.rename(target)
    else:
        temporary.unlink()


def read_archive(path: Path) -> Trace:
    """Read a file that :func:`archive_trace` wrote, into memory.

    Raises
    ------
    BackendUnavailableError
        pyarrow is not installed.
    TraceFormatError
        It is damaged, was not written by hdvlab, or by a newer one.
    """
    pa = _pyarrow()
    operation = f"open {path}"
    try:
        with pa.parquet.ParquetFile(path) as file:
            about = _about(file.schema_arrow.metadata or {}, operation)
            table = pa.concat_tables(_groups(file, path)).unify_dictionaries().combine_chunks()
        columns = {name: _codes_of(table[name], _CODES[name]) for name in _CODES}
        columns |= {name: table[name].to_numpy() for name in COLUMNS if name not in ("kind", "origin", "payload")}
        columns["payload"], payload = _payload_of(table["payload"])
    except (pa.ArrowException, OSError, LookupError, ValueError) as error:
        if isinstance(error, TraceFormatError):
            raise
        raise TraceFormatError(f"the archive is damaged: {error}", operation=operation) from error
    tables, parser = Tables(facts=about["metadata"]), TablesParser()
    for line in about["tables"]:
        parser.add(line, tables)
    return Trace.from_columns(columns, tables, parser.bad_lines, payload)


def _groups(file: Any, path: Path) -> Iterator[Any]:
    """The file's rows in pieces, so that whoever waits for them sees how far it is, and can stop it."""
    for number in range(file.num_row_groups):
        yield file.read_row_group(number)
        tell(f"reading {path.name}", number + 1, file.num_row_groups)
    if not file.num_row_groups:
        yield file.read()


def _about(metadata: dict[bytes, bytes], operation: str) -> dict[str, Any]:
    if _KEY not in metadata:
        message = "this Parquet file was not written by hdvlab; pandas.read_parquet reads it"
        raise TraceFormatError(message, operation=operation)
    about: dict[str, Any] = json.loads(metadata[_KEY].decode("utf-8", "surrogatepass"))
    if (schema := about["metadata"]["schema"]) > SCHEMA_VERSION:
        raise TraceFormatError(
            f"its schema is version {schema}, this hdvlab reads up to {SCHEMA_VERSION}; upgrade with "
            "pip install -U hdvlab",
            operation=operation,
        )
    return about


def _codes_of(column: Any, codes: Any) -> Array:
    if not len(column):
        return np.zeros(0, dtype=np.uint8)
    encoded_column = column.combine_chunks()
    names = np.array([codes[name] for name in encoded_column.dictionary.to_pylist()], dtype=np.uint8)
    found: Array = names[encoded_column.indices.to_numpy()]
    return found


def _payload_of(column: Any) -> tuple[Array, bytes]:
    """Places in the bytes of all payloads, and these bytes."""
    if not len(column):
        return np.zeros(0, dtype=np.int64), b""
    array = column.combine_chunks()
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array)]
    has = array.is_valid().to_numpy(zero_copy_only=False)
    return np.where(has, starts, NO_PAYLOAD), data.to_pybytes() if data is not None else b""
