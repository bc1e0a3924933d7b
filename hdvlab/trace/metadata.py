"""``trace.json``: what is known of a recording when it begins. Written once, under a temporary name, and renamed."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hdvlab.errors import TraceFormatError
from hdvlab.trace.schema import COLUMNS, SCHEMA_VERSION

FILE_NAME = "trace.json"


@dataclass(frozen=True)
class Metadata:
    """The contents of ``trace.json``."""

    schema: int
    max_rows: int
    chunk_rows: int
    clock: str
    created: str
    """When the recording began, ISO 8601, UTC."""
    hdvlab: str = ""
    python: str = ""
    host: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    """Of a copy: what the trace it was made from said of itself (``began_ns``, ``lost``, ``holes``, ...)."""

    def facts(self) -> dict[str, Any]:
        """What ``tables.facts`` says of the whole trace."""
        told = asdict(self)
        del told["columns"]
        return {"format": "hdvlab", **told}


def new_metadata(max_rows: int, chunk_rows: int, clock: str, source: dict[str, Any] | None = None) -> Metadata:
    """The metadata of a recording that begins now in this process."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("hdvlab")
    except PackageNotFoundError:  # run from a source tree
        ours = "unknown"
    return Metadata(
        schema=SCHEMA_VERSION,
        max_rows=max_rows,
        chunk_rows=chunk_rows,
        clock=clock,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        hdvlab=ours,
        python=platform.python_version(),
        host=platform.platform(),
        columns=dict(COLUMNS),
        source=source or {},
    )


def write_metadata(directory: Path, metadata: Metadata) -> None:
    """Put ``trace.json`` into a trace directory, whole or not at all."""
    temporary = directory / f".{FILE_NAME}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(asdict(metadata), indent=1) + "\n", encoding="utf-8")
        temporary.rename(directory / FILE_NAME)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_metadata(directory: Path) -> Metadata | None:
    """The metadata of a trace directory; None where it is not there.

    Raises
    ------
    TraceFormatError
        The file is damaged; the message says how.
    """
    try:
        data = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
        known = {name: data[name] for name in Metadata.__dataclass_fields__ if name in data}
        found = Metadata(**known)
        numbers = (found.schema, found.max_rows, found.chunk_rows)
        texts = (found.clock, found.created, found.hdvlab, found.python, found.host)
        if not all(type(one) is int and one > 0 for one in numbers) or not all(isinstance(one, str) for one in texts):
            raise TypeError("its values are not of the right types")
        if not isinstance(found.source, dict) or not all(type(one) is int for one in found.source.values()):
            raise TypeError("its source is not a table of numbers")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TraceFormatError(f"{FILE_NAME} is damaged: {error}", operation=f"open {directory}") from error
    return found
