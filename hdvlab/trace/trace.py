"""A trace: columns, and the tables their numbers refer to, whatever they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdvlab.errors import TraceError, UsageError
from hdvlab.trace.loss import CARRIED_COUNTS, LOSS_COLUMNS, Loss
from hdvlab.trace.payload import NO_BYTES, Payload
from hdvlab.trace.schema import COLUMNS, E_PENDING, NO_BAR, NO_DEVICE, NO_PAYLOAD, NO_ROW, Kind
from hdvlab.trace.tables import BadLine, DeviceInfo, Tables
from hdvlab.trace.view import View

if TYPE_CHECKING:
    import pandas as pd

    from hdvlab.trace.frame import Rows

Array = np.ndarray[Any, Any]

_DEFAULTS = {"device": NO_DEVICE, "bar": NO_BAR, "cause": NO_ROW, "payload": NO_PAYLOAD}

#: Where ``tables.facts`` of an imported trace has the texts of rows of a kind.
_TEXT_FACTS = {Kind.mark: "marks", Kind.fault: "faults", Kind.lost: "losses"}

#: Kinds that move bytes which a row has a place for.
_MOVES_BYTES = (Kind.dma_read, Kind.dma_write)


class Trace:
    """Rows of accesses, in columns.

    Made by :func:`hdvlab.read_trace` from another tool's trace, by :meth:`open` from a recording, or as a slice of
    either: ``trace[a:b]`` are the rows at positions a to b, with the row numbers they had. ``len(trace)`` is the
    number of rows.
    """

    def __init__(
        self,
        columns: Mapping[str, Array],
        tables: Tables,
        bad_lines: Sequence[BadLine] = (),
        start: int = 0,
        payload: Payload = NO_BYTES,
    ) -> None:
        self._constant = View(dict(columns), range(start, start + len(columns["kind"])))
        self._tables = tables
        self.bad_lines: tuple[BadLine, ...] = tuple(bad_lines)
        self._payload = payload

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Array],
        tables: Tables | None = None,
        bad_lines: Sequence[BadLine] = (),
        payload: bytes = b"",
    ) -> Trace:
        """A trace in memory. Columns that are not given hold the value that stands for "none"."""
        length = len(columns["kind"])
        whole = {
            name: np.ascontiguousarray(columns[name], dtype=dtype)
            if name in columns
            else np.full(length, _DEFAULTS.get(name, 0), dtype=dtype)
            for name, dtype in COLUMNS.items()
        }
        return Trace(whole, tables or Tables(), bad_lines, payload=Payload(np.frombuffer(payload, dtype=np.uint8)))

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Trace:
        """Open a recording or an archive; see :func:`hdvlab.trace.open.open_trace`."""
        from hdvlab.trace.open import open_trace

        return open_trace(path)

    @property
    def tables(self) -> Tables:
        """What the numbers in rows refer to."""
        return self._tables

    @property
    def devices(self) -> list[DeviceInfo]:
        """The devices that the ``device`` column numbers."""
        return self.tables.devices

    @property
    def began_ns(self) -> int:
        """When ``t_ns`` was 0, in nanoseconds since 1970 (UTC); 0 = unknown."""
        return int(self._tables.facts.get("source", {}).get("began_ns", 0))

    def view(self) -> View:
        """The rows there are now, with their numbers."""
        return self._constant

    def columns(self) -> dict[str, Array]:
        """The published rows, one array per column, without a copy."""
        return dict(self.view().columns)

    @property
    def payloads(self) -> Payload:
        """The bytes that did not fit ``value``."""
        return self._payload

    def frame(self, decode: bool = False) -> Rows:
        """The rows as a DataFrame that shares the trace's memory.

        Parameters
        ----------
        decode : bool
            Add the columns ``name``, ``register``, ``fields`` and ``source``; see
            :data:`hdvlab.trace.decode.DECODED_COLUMNS`. These are computed, so they cost time and memory.

        Returns
        -------
        DataFrame
            Columns as in DESIGN's schema (:data:`hdvlab.trace.schema.COLUMN_HELP`), index ``row``;
            ``attrs["pending"]`` counts accesses that are still being served, the other ``attrs`` what is not there
            (:data:`hdvlab.trace.loss.LOSS_COLUMNS`).
        """
        from hdvlab.trace.decode import df_decoded
        from hdvlab.trace.frame import df_rows

        view = self.view()
        rows = df_rows(view.columns, view.rows, self._attributes_of(view))
        return df_decoded(rows, self.tables) if decode else rows  # type: ignore[return-value]

    def attributes(self, columns: Mapping[str, Array]) -> dict[str, Any]:
        """What a frame says of its rows: how many are pending, lost, or could not be read."""
        lost = columns["value"][columns["kind"] == Kind.lost]
        return {
            "pending": int(np.count_nonzero(columns["status"] == E_PENDING)),
            "lost": int(lost.sum()),
            "bad_lines": len(self.bad_lines),
        }

    def _attributes_of(self, view: View) -> dict[str, Any]:
        carried = {name: count for name in CARRIED_COUNTS if (count := self._of_source(name))}
        return {**carried, **self.attributes(view.columns)}

    def _of_source(self, name: str) -> int:
        """Of a copy: what was already not there in the trace that it was made from."""
        return int(self._tables.facts.get("source", {}).get(name, 0)) if name in CARRIED_COUNTS else 0

    def payload(self, row: int) -> bytes:
        """The bytes that an access moved: those of ``value`` where they fit, else those in the payload.

        Parameters
        ----------
        row : int
            Row number, as in the frame's index.

        Raises
        ------
        TraceError
            The bytes were not recorded, or are damaged.
        UsageError
            There is no such row.
        """
        view = self.view()
        at = view.position(row)
        size, place = int(view.columns["size"][at]), int(view.columns["payload"][at])
        if place >= 0:
            return self.payloads.bytes_of(row, place, size)
        if size <= 8:
            return int(view.columns["value"][at]).to_bytes(8, "little")[:size]
        if view.columns["kind"][at] in _MOVES_BYTES and view.columns["status"][at] >= 0:
            raise TraceError(f"the {size} bytes of row {row} were not recorded: the recording stopped before them")
        return b""

    def text(self, row: int) -> str:
        """The text of a mark or fault; empty for rows of other kinds. ``row`` is a row number.

        Where the rest of it was not recorded, or is damaged, it is its first eight bytes and "…".
        """
        view = self.view()
        at = view.position(row)
        kind = Kind(int(view.columns["kind"][at]))
        if kind not in _TEXT_FACTS:
            return ""
        texts = self.tables.facts.get(_TEXT_FACTS[kind])
        if texts is not None or kind == Kind.lost:
            texts = texts or {}
            return str(texts.get(row, texts.get(str(row), "")))  # what went through JSON has texts for keys
        size, place = int(view.columns["size"][at]), int(view.columns["payload"][at])
        start = int(view.columns["value"][at]).to_bytes(8, "little")
        if size <= 8:
            return start[:size].decode(errors="replace")
        try:
            if place >= 0:
                return self.payloads.bytes_of(row, place, size).decode(errors="replace")
        except TraceError:
            pass
        return start.decode(errors="replace") + "…"

    def marks(self) -> pd.DataFrame:
        """The rows of kind mark, with their ``text``."""
        return self._df_texts(Kind.mark)

    def faults(self) -> pd.DataFrame:
        """The rows of kind fault, with their ``text``."""
        return self._df_texts(Kind.fault)

    def _df_texts(self, kind: Kind) -> pd.DataFrame:
        from hdvlab.trace.frame import df_rows

        view = self.view().of_kind(kind)
        rows = df_rows(view.columns, view.rows, {})
        rows["text"] = np.array([self.text(int(row)) for row in view.rows], dtype=object)
        return rows

    @property
    def losses(self) -> pd.DataFrame:
        """What is not there, one row for each reason, columns
        :data:`~hdvlab.trace.loss.LOSS_COLUMNS`; empty = nothing was lost."""
        import pandas as pd

        return pd.DataFrame(self.list_losses(), columns=list(LOSS_COLUMNS))

    def list_losses(self) -> list[Loss]:
        """What :attr:`losses` shows."""
        lost = self.view().of_kind(Kind.lost)
        told = [
            Loss("lost", int(count), int(row), self.text(int(row)) or "the recorder could not keep them")
            for row, count in zip(lost.rows, lost.columns["value"], strict=True)
        ]
        if self.bad_lines:
            told.append(Loss("bad_lines", len(self.bad_lines), NO_ROW, f"the first is {self.bad_lines[0]}"))
        return told

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the rows as a recording of their own, a directory; see :func:`hdvlab.trace.archive.save_trace`.

        Where the path ends in ``.parquet``, as :meth:`archive`.
        """
        from hdvlab.trace.archive import save_trace

        return self.archive(path) if Path(path).suffix == ".parquet" else save_trace(self, path)

    def archive(self, path: str | PathLike[str]) -> Path:
        """Write the rows as one Parquet file; see :func:`hdvlab.trace.parquet.archive_trace`."""
        from hdvlab.trace.parquet import archive_trace

        return archive_trace(self, path)

    def __getitem__(self, rows: slice) -> Trace:
        if not isinstance(rows, slice):
            raise UsageError("a trace is cut with trace[a:b]; single rows are in trace.frame().loc[row]")
        view = self.view()
        start, stop, step = rows.indices(len(view))
        if step != 1:
            raise UsageError("a trace is cut with trace[a:b]; every n-th row is in trace.frame()[::n]")
        return TraceSlice(view.cut(start, max(start, stop)), self)

    def __len__(self) -> int:
        return len(self.view())

    def __repr__(self) -> str:
        names = ", ".join(device.name for device in self.devices) or "no devices"
        return f"<{type(self).__name__}: {len(self):,} rows, {names}>"


class TraceSlice(Trace):
    """Some rows of a trace, sharing its memory, its tables and its payload."""

    def __init__(self, view: View, whole: Trace) -> None:
        super().__init__(view.columns, whole._tables)
        self._constant = view
        self._whole = whole

    @property
    def tables(self) -> Tables:
        """The tables of the whole trace: they grow with it."""
        return self._whole.tables

    @property
    def began_ns(self) -> int:
        """When ``t_ns`` was 0, in nanoseconds since 1970 (UTC); 0 = unknown."""
        return self._whole.began_ns

    @property
    def payloads(self) -> Payload:
        """The payload of the whole trace."""
        return self._whole.payloads

    def _attributes_of(self, view: View) -> dict[str, Any]:
        return self.attributes(view.columns)
