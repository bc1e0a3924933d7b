"""``tables.jsonl``: devices, source lines and facts of a trace, one JSON object a line, only ever appended to.

A line is one ``write`` to a file opened with ``O_APPEND``, made before its number is used in a row; so whatever a
recorder was doing when it was killed, every number in its rows stands in the file.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hdvlab.trace.tables import BadLine, DeviceInfo, SourceLine, Tables

FILE_NAME = "tables.jsonl"


def device_line(number: int, info: DeviceInfo) -> dict[str, Any]:
    """The line of a device."""
    return {"device": number, "info": info.to_dict()}


def source_line(number: int, line: SourceLine) -> dict[str, Any]:
    """The line of a source line."""
    return {"source": number, "file": line.file, "line": line.line, "function": line.function, "text": line.text}


def fact_line(name: str, value: Any) -> dict[str, Any]:
    """The line of a fact. JSON has no numbers for keys, so a table of rows is written as pairs."""
    if isinstance(value, dict) and all(isinstance(key, int) for key in value):
        return {"fact": name, "rows": list(value.items())}
    return {"fact": name, "value": value}


def lines_of(tables: Tables, bad_lines: tuple[BadLine, ...] = ()) -> Iterator[dict[str, Any]]:
    """All lines of a trace that is complete."""
    yield from (device_line(number, info) for number, info in enumerate(tables.devices))
    yield from (source_line(number, line) for number, line in tables.sources.items())
    yield from (fact_line(name, value) for name, value in tables.facts.items())
    yield from ({"bad_line": bad.number, "text": bad.text, "reason": bad.reason} for bad in bad_lines)


def encoded(line: dict[str, Any]) -> bytes:
    """A line as it is written, with its end."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


class TablesWriter:
    """Appends lines to a ``tables.jsonl`` that it makes."""

    _file = -1

    def __init__(self, directory: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(directory / FILE_NAME, flags, 0o600)
        self._is_cut = False
        self._lock = threading.Lock()

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; an ``OSError`` says that it is not there, and then readers skip what of it may be."""
        data = encoded(line)
        with self._lock:
            # Behind half a line of a disk that was full, a new one must begin.
            whole = b"\n" + data if self._is_cut else data
            self._is_cut = True
            if os.write(self._file, whole) < len(whole):
                raise OSError(28, os.strerror(28))
            self._is_cut = False

    def close(self) -> None:
        """Close the file; nothing can be written any more."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if self._file >= 0:  # its recording was forgotten
            os.close(self._file)


class TablesParser:
    """Puts lines into tables."""

    def __init__(self) -> None:
        self.unreadable = 0
        """Lines that could not be read."""
        self.bad_lines: list[BadLine] = []
        """Lines of another tool's log that could not be read when it was imported."""

    def add(self, data: Any, tables: Tables) -> None:
        """Put one line into ``tables``; one that makes no sense is counted."""
        try:
            if "device" in data:
                put_device(tables, data["device"], DeviceInfo.from_dict(data["info"]))
            elif "source" in data:
                source = SourceLine(data["file"], data["line"], data["function"], data["text"])
                tables.sources[int(data["source"])] = source
            elif "fact" in data:
                tables.facts[data["fact"]] = dict(data["rows"]) if "rows" in data else data["value"]
            else:
                self.bad_lines.append(BadLine(data["bad_line"], data["text"], data["reason"]))
        except (ValueError, TypeError, LookupError, AttributeError):
            self.unreadable += 1


class TablesReader(TablesParser):
    """Reads what is new in a ``tables.jsonl``, also while another process appends to it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._path = directory / FILE_NAME
        self._read = 0
        self._lock = threading.Lock()
        self.is_cut = False
        """Whether the file ends within a line: it is being written, its writer was killed, or the file was cut."""

    def refresh(self, tables: Tables) -> None:
        """Put into ``tables`` what was appended since the last time. A file that is gone stays as it was read."""
        with self._lock:
            try:
                if self._path.stat().st_size <= self._read:
                    return
                with self._path.open("rb") as file:
                    file.seek(self._read)
                    data = file.read()
            except OSError:
                return
            whole = data[: data.rfind(b"\n") + 1]
            self._read += len(whole)
            self.is_cut = len(whole) < len(data)
            for line in filter(None, whole.split(b"\n")):
                try:
                    self.add(json.loads(line.decode("utf-8", "surrogatepass")), tables)
                except ValueError:
                    self.unreadable += 1


def put_device(tables: Tables, number: int, info: DeviceInfo) -> None:
    """Put a device at its number; numbers whose line could not be read get a name that says so."""
    if not 0 <= number < 0xFFFF:
        raise ValueError(f"no device has number {number}")
    while len(tables.devices) <= number:
        tables.devices.append(DeviceInfo(f"device {len(tables.devices)}"))
    tables.devices[number] = info
