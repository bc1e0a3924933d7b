"""A trace over the files of a recording: arrays on its mappings, of this process or any other, without a copy."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from hdvlab.errors import TraceError
from hdvlab.trace.damage import Chunk, Damage, df_chunks, verified
from hdvlab.trace.loss import Loss
from hdvlab.trace.native import NativeTrace, TraceState, advice
from hdvlab.trace.payload import Payload
from hdvlab.trace.schema import E_PENDING, NO_ROW, Kind, Origin
from hdvlab.trace.tables import Tables
from hdvlab.trace.tables_file import TablesReader
from hdvlab.trace.trace import Trace
from hdvlab.trace.view import View

Array = np.ndarray[Any, Any]


class MappedTrace(Trace):
    """A recording, still being written or not.

    While its recorder lives, the rows up to the first one that is not published yet are seen, and each look sees more
    of them. When it is gone, rows that were begun and never published are skipped and counted (``holes``), and so are
    rows of chunks whose checksums do not fit (``corrupt``); only then frames are copies.

    ``attrs`` of a frame: ``pending``, ``lost``, ``holes``, ``corrupt``, ``missing`` (the files end before them),
    ``payload_missing`` (their bytes are not there or damaged), ``clock_backward`` (times the clock went back).
    """

    def __init__(
        self,
        native: NativeTrace,
        tables: Tables,
        reader: TablesReader | None = None,
        damage: Damage | None = None,
    ) -> None:
        self._native = native
        self._raw = native.columns()
        empty = {name: column[:0] for name, column in self._raw.items()}
        super().__init__(empty, tables, payload=Payload(native.payload(), 0))
        self._reader = reader
        self.damage = damage or Damage()
        self._lock = threading.RLock()
        self._state = native.state()
        self._committed = 0
        self._is_final = False
        self._has_bad_codes = False
        self._pending = _PendingRows(native)
        weakref.finalize(self, native.close)

    @property
    def path(self) -> Path:
        """The trace directory."""
        return self._native.path

    @property
    def stopped(self) -> int:
        """The HRESULT that stopped the recording, signed; 0 while it goes on."""
        return self.state.stopped

    def check(self) -> None:
        """Raise if the recording has stopped.

        Raises
        ------
        TraceError
            It says why, how many rows are lost so far, and what to do.
        """
        state = self.state
        if state.stopped:
            raise TraceError(
                f"recording has stopped after {len(self) - 1:,} rows and {state.lost:,} are lost since: "
                f"{advice(state.stopped)}. What was recorded is whole; for more, start a new recording elsewhere.",
                state.stopped,
                f"record into {self.path}",
            )

    @property
    def tables(self) -> Tables:
        """What the numbers in rows refer to, as far as it is written."""
        if self._reader is not None and not self._native.is_closed:
            self._reader.refresh(self._tables)
        return self._tables

    @property
    def began_ns(self) -> int:
        """When ``t_ns`` was 0, in nanoseconds since 1970 (UTC); 0 = unknown."""
        return super().began_ns or self._state.wall_ns

    @property
    def is_live(self) -> bool:
        """Whether its recorder still runs."""
        self.view()
        return not self._is_final

    @property
    def state(self) -> TraceState:
        """The counters of the header, as of the last look."""
        self.view()
        return self._state

    def view(self) -> View:
        """The rows there are now, with their numbers."""
        with self._lock:
            if not self._is_final and not self._native.is_closed:
                self._look()
            return self._constant

    def _look(self) -> None:
        seen = self._committed
        end = self._native.committed(seen)
        self._state = self._native.state()
        if not self._state.live:
            # What was counted while it lived may have been cut off at a row that is a hole now.
            end = self._native.committed(seen)
            self._is_final = True
        self._committed = end
        self._payload.available = self._state.payload_bytes
        self._has_bad_codes |= self._has_strange_codes(seen, end)
        if end != seen or self._is_final:
            self._constant = self._view_of(end)

    def _has_strange_codes(self, start: int, end: int) -> bool:
        """Whether rows hold a kind or origin that there is not: no recorder writes one, a damaged disk may."""
        kind, origin = self._raw["kind"][start:end], self._raw["origin"][start:end]
        return end > start and bool(kind.max() >= len(Kind) or origin.max() >= len(Origin))

    def _view_of(self, end: int) -> View:
        whole = View(self._raw, range(len(self._raw["kind"]))).cut(0, end)
        self.damage.holes = self.damage.corrupt = 0
        kind = whole.columns["kind"]
        has_holes = self._is_final and end > 0 and not kind.min()
        if not (has_holes or self._has_bad_codes or self.damage.chunks):
            return whole
        corrupt = np.zeros(end, dtype=bool)
        for rows in self.damage.chunks:
            corrupt[rows.start : rows.stop] = True
        holes = (kind == Kind.none) & ~corrupt
        self.damage.holes = int(np.count_nonzero(holes))
        corrupt |= (kind >= len(Kind)) | (whole.columns["origin"] >= len(Origin))
        beyond = sum(max(0, rows.stop - max(rows.start, end)) for rows in self.damage.chunks)
        self.damage.corrupt = int(np.count_nonzero(corrupt)) + beyond
        left_out = corrupt | holes
        return whole.taken(~left_out) if left_out.any() else whole

    def _attributes_of(self, view: View) -> dict[str, Any]:
        with self._lock:
            if view is self._constant and isinstance(view.rows, range):
                pending = self._pending.count(view.columns["status"])
            else:
                pending = int(np.count_nonzero(view.columns["status"] == E_PENDING))
            state, damage = self._state, self.damage
            counts = {
                "pending": pending,
                "lost": self._lost(view),
                "holes": damage.holes,
                "corrupt": damage.corrupt,
                "missing": damage.missing,
                "payload_missing": damage.payload_missing,
                "clock_backward": state.backward,
                "bad_lines": len(self.bad_lines),
            }
            return {name: count + self._of_source(name) for name, count in counts.items()}

    def _lost(self, view: View) -> int:
        """Rows that were lost: the header's count, unless nothing vouches for it and the row that counts is there."""
        if not self._is_final or self._state.closed:
            return self._state.lost
        if not self._state.stopped and not self.damage.is_header_damaged:
            return 0
        counts = view.columns["value"][view.columns["kind"] == Kind.lost]
        return int(counts.sum()) if len(counts) else self._state.lost

    def list_losses(self) -> list[Loss]:
        """What :attr:`losses` shows."""
        view = self.view()
        told = super().list_losses()
        if self._state.stopped:
            why = advice(self._state.stopped)
            told = [loss._replace(why=why) if loss.what == "lost" else loss for loss in told]
            if not any(loss.what == "lost" for loss in told) and self._lost(view):
                told.append(Loss("lost", self._lost(view), NO_ROW, why))
        counts = self._attributes_of(view)
        first_corrupt = min((rows.start for rows in self.damage.chunks), default=NO_ROW)
        why_not = {
            "holes": (NO_ROW, "begun, and their recorder was killed before it wrote them"),
            "corrupt": (first_corrupt, "their chunk's checksum does not fit, or their kind is none"),
            "missing": (self._committed, self.damage.cut_files or "the files ended before them"),
            "payload_missing": (NO_ROW, "the bytes that did not fit value are not there, or are damaged"),
        }
        return told + [Loss(what, counts[what], row, why) for what, (row, why) in why_not.items() if counts[what]]

    def verify(self) -> Any:
        """Compare all sealed chunks with their checksums (about 100 million rows a second).

        Returns
        -------
        DataFrame
            Columns ``chunk``, ``first_row``, ``rows`` and ``state``: whole, unsealed, damaged (its rows are left out
            of frames from now on), payload (only bytes in payload.bin are damaged), cut (the files end within it).
        """
        with self._lock:
            self.view()
            chunks = self.check_chunks()
            return df_chunks(chunks)

    def check_chunks(self) -> list[Chunk]:
        """Verify, and leave out what is damaged."""
        with self._lock:
            chunks = verified(self._native, self._state, self._committed)
            self.damage.chunks = [chunk.span for chunk in chunks if chunk.state == "damaged"]
            self._payload.damaged = [chunk.span for chunk in chunks if chunk.state == "payload"]
            self._constant = self._view_of(self._committed)
            if self._is_final:
                self._count_missing_payloads()
            return chunks

    def _count_missing_payloads(self) -> None:
        view = self._constant
        size, place = view.columns["size"], view.columns["payload"]
        gone = int(np.count_nonzero(self._payload.refused(view.numbers, place, size)))
        if self._state.stopped:
            moved = np.isin(view.columns["kind"], [Kind.dma_read, Kind.dma_write]) & (view.columns["status"] >= 0)
            noted = np.isin(view.columns["kind"], [Kind.mark, Kind.fault])
            gone += int(np.count_nonzero((moved | noted) & (size > 8) & (place < 0)))
        self.damage.payload_missing = gone

    def close(self) -> None:
        """Give the files back. Frames, and the trace as it was seen last, stay good."""
        with self._lock:
            if not self._native.is_closed:
                self.view()
                _ = self.tables
                self._native.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        told = "" if self._native.is_closed or not self.is_live else ", stopped" if self.stopped else ", recording"
        return f"{super().__repr__()[:-1]}{told}, {self._native.path}>"


class _PendingRows:
    """Counts pending rows of a growing prefix without looking at a row twice that was not pending once."""

    def __init__(self, native: NativeTrace) -> None:
        self._native = native
        self._rows = np.zeros(0, dtype=np.int64)
        self._looked = 0

    def count(self, status: Array) -> int:
        self._rows = self._rows[status[self._rows] == E_PENDING]
        start = min(self._native.settled(self._looked), len(status))
        new = np.flatnonzero(status[start:] == E_PENDING) + start
        self._rows = np.concatenate([self._rows, new])
        self._looked = max(self._looked, len(status))
        return len(self._rows)
