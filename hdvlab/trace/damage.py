"""What of a recording is not there or not right, found from its seals and the length of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hdvlab.trace.native import NativeTrace, TraceState
from hdvlab.trace.schema import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

#: States of a chunk, in the order of ``hdvlab_trace_verify``.
STATES = ("unsealed", "whole", "damaged", "payload", "cut")

_SEAL_BYTES = 64


@dataclass
class Damage:
    """What is known to be wrong with a trace."""

    chunks: list[range] = field(default_factory=list)
    """Rows of chunks whose checksums do not fit."""
    holes: int = 0
    corrupt: int = 0
    missing: int = 0
    payload_missing: int = 0
    cut_files: str = ""
    """Which files end too early, in words."""
    is_header_damaged: bool = False


@dataclass(frozen=True)
class Chunk:
    """A chunk and what its seal says of it."""

    number: int
    span: range
    state: str


def verified(native: NativeTrace, state: TraceState, rows: int) -> list[Chunk]:
    """Every chunk of a trace with ``rows`` rows, compared with its seal."""
    count = max(-(-rows // state.chunk_rows), min(sealed_chunks(native.path), -(-state.max_rows // state.chunk_rows)))
    chunks = []
    for number in range(count):
        code, sealed = native.verify(number)
        first = number * state.chunk_rows
        length = sealed if STATES[code] != "unsealed" else min(state.chunk_rows, rows - first)
        if length > 0:
            chunks.append(Chunk(number, range(first, first + length), STATES[code]))
    return chunks


def df_chunks(chunks: list[Chunk]) -> pd.DataFrame:
    """The chunks as a frame."""
    import pandas as pd

    rows = [(chunk.number, chunk.span.start, len(chunk.span), chunk.state) for chunk in chunks]
    return pd.DataFrame(rows, columns=["chunk", "first_row", "rows", "state"])


def sealed_chunks(directory: Path) -> int:
    """Chunks that seals.bin has room for."""
    try:
        return -(-(directory / "seals.bin").stat().st_size // _SEAL_BYTES)
    except OSError:
        return 0


def rows_in_files(directory: Path) -> dict[str, int]:
    """Whole rows in each column's file."""
    return {
        name: (directory / f"{name}.col").stat().st_size // np.dtype(dtype).itemsize for name, dtype in COLUMNS.items()
    }


def last_row_known(directory: Path, chunk_rows: int, there: int) -> int:
    """Rows that the trace had, as kind.col and the seals tell, where its files are shorter than the header says."""
    kinds = np.fromfile(directory / "kind.col", dtype=np.uint8, offset=there)
    written = np.flatnonzero(kinds)
    known = there + int(written[-1]) + 1 if len(written) else 0
    seals = np.fromfile(directory / "seals.bin", dtype=np.uint32)
    seals = seals[: len(seals) // 16 * 16].reshape(-1, 16)
    sealed = [number * chunk_rows + int(seal[1]) for number, seal in enumerate(seals) if 0 < seal[1] <= chunk_rows]
    return max([known, *sealed])
