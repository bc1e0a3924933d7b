"""Recording: a trace that this process writes, and the tables its rows refer to."""

from __future__ import annotations

import linecache
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from hdvlab.errors import HResult, StateError, TraceError, UsageError
from hdvlab.trace.mapped import MappedTrace
from hdvlab.trace.metadata import new_metadata, write_metadata
from hdvlab.trace.native import CLOCKS, NativeTrace
from hdvlab.trace.schema import NO_DEVICE, NO_ROW, Kind
from hdvlab.trace.tables import DeviceInfo, SourceLine, Tables
from hdvlab.trace.tables_file import TablesWriter, device_line, source_line


class Recorder(MappedTrace):
    """A trace that is being recorded. Made by :meth:`create`; ended by :meth:`close` or as a context manager.

    Rows are written by the library, to which :attr:`handle` is given. A recording that cannot go on (full disk,
    ``max_rows``) stops by itself and counts what is lost from there on; the guest notices nothing. :meth:`check` says
    so to the person.
    """

    def __init__(self, native: NativeTrace, tables: Tables, writer: TablesWriter) -> None:
        super().__init__(native, tables)
        self._writer = writer
        self._creator = os.getpid()
        self._register_lock = threading.Lock()
        self._source_numbers: dict[SourceLine, int] = {}
        # id(code) and the place in it, to the number: comparing code objects themselves is slow. Those that are known
        # are kept, so that no other gets their id.
        self._numbers: dict[tuple[int, int], int] = {}
        self._codes: dict[int, CodeType] = {}
        self.unwritten_sources = 0
        """Source lines that could not be written down, so that rows have 0 in ``pc`` instead."""
        self._remove: Callable[[], object] | None = None

    @classmethod
    def create(
        cls,
        path: str | Path | None = None,
        *,
        max_rows: int = 1 << 30,
        chunk_rows: int = 65536,
        clock: str = "auto",
    ) -> Recorder:
        """Begin a recording.

        Parameters
        ----------
        path : str or Path, optional
            Directory to record into, which must hold no trace yet. None = a fresh one under the temporary directory,
            removed when the recorder is closed or the interpreter ends.
        max_rows : int
            Most rows there can be, one of which counts those that came too late. Costs address space (122 bytes a
            row), no disk.
        chunk_rows : int
            Rows by which the files grow; a power of two, at least 64.
        clock : {"auto", "tsc", "monotonic", "manual"}
            "auto" is the TSC where it is invariant, else CLOCK_MONOTONIC; "manual" is set with :meth:`set_time`.

        Raises
        ------
        TraceError
            The directory cannot be made or written, or holds a trace.
        UsageError
            A parameter is out of range.
        """
        if clock not in CLOCKS:
            raise UsageError(f"clock is {clock!r}; it must be one of {', '.join(CLOCKS)}")
        if chunk_rows < 64 or chunk_rows & (chunk_rows - 1) or not chunk_rows <= max_rows <= 1 << 40:
            raise UsageError(
                f"chunk_rows is {chunk_rows} and max_rows {max_rows}; chunk_rows must be a power of two and at least "
                "64, max_rows at least as much and at most 2**40"
            )
        directory = Path(tempfile.mkdtemp(prefix="hdvlab-")) if path is None else Path(path).absolute()
        try:
            _refuse_trace(directory)
            native = NativeTrace.create(directory, max_rows, chunk_rows, clock)
        except BaseException:
            if path is None:
                shutil.rmtree(directory, ignore_errors=True)
            raise
        try:
            metadata = new_metadata(max_rows, chunk_rows, CLOCKS[native.state().clock])
            writer = TablesWriter(directory)
            write_metadata(directory, metadata)
        except OSError as error:
            native.close()
            remove_trace(directory, keep_directory=path is not None)
            raise TraceError(f"{error.strerror}: {directory}", operation=f"record into {directory}") from error
        recorder = cls(native, Tables(facts=metadata.facts()), writer)
        if path is None:
            recorder._remove = weakref.finalize(recorder, _remove_temporary, directory, os.getpid())
        return recorder

    @property
    def handle(self) -> Any:
        """The library's handle (cffi ``void *``), for ``hdvlab_embedded_create``."""
        return self._native.handle

    def add_device(self, info: DeviceInfo) -> int:
        """The number that rows of a device carry; the same for the same description.

        Raises
        ------
        TraceError
            It cannot be written down (full disk).
        """
        with self._register_lock:
            for number, known in enumerate(self._tables.devices):
                if known == info:
                    return number
            number = len(self._tables.devices)
            if number >= NO_DEVICE:
                raise TraceError(f"a trace can hold {NO_DEVICE:,} devices; start a new recording")
            self._write(device_line(number, info))
            self._tables.devices.append(info)
            return number

    def add_source(self, line: SourceLine) -> int:
        """The number for ``pc`` of a source line, from 1; the same for the same line.

        Raises
        ------
        TraceError
            It cannot be written down (full disk).
        """
        with self._register_lock:
            number = self._source_numbers.get(line)
            if number is None:
                number = len(self._source_numbers) + 1
                self._write(source_line(number, line))
                self._source_numbers[line] = number
                self._tables.sources[number] = line
            return number

    def source_of(self, frame: FrameType) -> int:
        """The number for ``pc`` of the line that a Python frame executes; 0 where it cannot be written down.

        Called for every access of a guest program: never raises, and takes about 100 ns for a place it knows.
        """
        number = self._numbers.get((id(frame.f_code), frame.f_lasti))
        return self._new_source(frame) if number is None else number

    def _new_source(self, frame: FrameType) -> int:
        code = frame.f_code
        line = frame.f_lineno or code.co_firstlineno
        text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
        try:
            number = self.add_source(SourceLine(code.co_filename, line, code.co_qualname, text))
        except TraceError:
            number = 0
            self.unwritten_sources += 1
        self._codes[id(code)] = code
        self._numbers[id(code), frame.f_lasti] = number
        return number

    def mark(self, text: str, cause: int = NO_ROW) -> int:
        """Record a row of kind mark; returns its number, -1 when the recording has stopped (it is counted as lost).

        ``cause`` is the row that it speaks of.
        """
        return self._native.mark(Kind.mark, text.encode("utf-8", "replace"), NO_DEVICE, cause, 0)

    def suspend(self, suspended: bool = True) -> None:
        """Record nothing for a while; rows that come meanwhile are counted, in a mark when it goes on."""
        self._native.suspend(suspended)

    def fault(
        self, text: str, device: int = NO_DEVICE, cause: int = NO_ROW, status: int = HResult.E_UNEXPECTED.signed
    ) -> int:
        """Record a row of kind fault.

        Parameters
        ----------
        text : str
            What went wrong.
        device : int
            Number of the device (:meth:`add_device`).
        cause : int
            Row of the access that was being served; -1 = none.
        status : int
            HRESULT, signed or unsigned.

        Returns
        -------
        int
            Its row number; -1 when the recording has stopped (it is counted as lost).
        """
        signed = (status & 0xFFFFFFFF) - (1 << 32) if status & 0x80000000 else status & 0xFFFFFFFF
        return self._native.mark(Kind.fault, text.encode("utf-8", "replace"), device, cause, signed)

    def set_time(self, t_ns: int) -> None:
        """Set the clock of a recording made with ``clock="manual"``, in ns. A step back is counted."""
        self._native.set_time(t_ns)

    def close(self) -> None:
        """End the recording in good order. Frames and the recorder as a trace stay good; a temporary path goes.

        Does nothing in a child that was forked: the recording is its parent's.
        """
        if os.getpid() != self._creator:
            return
        with self._lock:
            if not self._native.is_closed:
                self._native.finish()
                super().close()
                self._writer.close()
                if self._remove is not None:
                    self._remove()

    def _write(self, line: dict[str, Any]) -> None:
        if self._native.is_closed:
            raise StateError("the recording is closed", operation=f"record into {self.path}")
        try:
            self._writer.write(line)
        except OSError as error:
            message = f"{error.strerror}; free some space, or record elsewhere"
            raise TraceError(message, HResult.ERROR_DISK_FULL, f"write {self.path}/tables.jsonl") from error


def _refuse_trace(directory: Path) -> None:
    # os.path.exists says no where it may not look; the library then says why.
    if any(os.path.exists(directory / name) for name in ("header.bin", "trace.json", "kind.col", "tables.jsonl")):
        raise TraceError(
            f"{directory} holds a trace already; choose another path, or remove that one",
            HResult.ERROR_ALREADY_EXISTS,
            f"record into {directory}",
        )


def remove_trace(directory: Path, keep_directory: bool = False) -> None:
    """Remove the files of a trace that could not be made."""
    for pattern in ("*.col", "header.bin", "payload.bin", "seals.bin", "tables.jsonl", "trace.json", ".trace.json.*"):
        for file in directory.glob(pattern):
            file.unlink(missing_ok=True)
    if not keep_directory:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_temporary(directory: Path, process: int) -> None:
    if os.getpid() == process:  # not in a child that was forked
        shutil.rmtree(directory, ignore_errors=True)
