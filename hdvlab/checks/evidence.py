"""What an exercise left behind: its rows, what it returned, and how it ended. Properties judge nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hdvlab.analysis.condition import Condition
from hdvlab.analysis.selection import Array
from hdvlab.trace.tables import Tables
from hdvlab.trace.view import View

if TYPE_CHECKING:
    from hdvlab.trace.frame import Rows

_LONGEST = 90
_DEEPEST = 4


@dataclass(frozen=True)
class Ending:
    """How an exercise ended, as plain data.

    ``value`` is what it returned (:func:`plain`). ``error`` says what it raised, empty where it ran to its end;
    ``kind`` is that exception's name, with those of its bases. ``faults`` are what failed in the device's code.
    ``start`` and ``stop`` are the rows of the exercise in the recording: what came before is the power-on.
    """

    value: Any = None
    error: str = ""
    kinds: Sequence[str] = ()
    faults: Sequence[str] = ()
    start: int = 0
    stop: int = 0


@dataclass(frozen=True)
class Evidence:
    """Rows of one exercise with the tables that the sheet reads them by, and the exercise's end."""

    view: View
    tables: Tables
    ending: Ending = field(default_factory=Ending)
    texts: Mapping[int, str] = field(default_factory=dict)
    """What marks and faults say, by row number."""

    @property
    def columns(self) -> Mapping[str, Array]:
        """The rows, one array per column."""
        return self.view.columns

    def holds(self, condition: str) -> Array:
        """For which rows a condition holds."""
        return Condition(condition).holds(self.columns, self.tables)

    def row(self, position: int) -> int:
        """Number of the row at a position."""
        return int(self.view.rows[position])

    def frame(self, first: int = 0, last: int | None = None) -> Rows:
        """The decoded rows from position ``first`` to before ``last``."""
        from hdvlab.trace.decode import df_decoded
        from hdvlab.trace.frame import df_rows

        part = self.view.cut(first, len(self) if last is None else last)
        return df_decoded(df_rows(part.columns, part.rows, {}), self.tables)  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.columns["kind"])


def plain(value: Any, depth: int = 0) -> Any:
    """A value as numbers, texts, lists and dicts that JSON can carry; bytes are ``{"bytes": hex}``.

    Only the very types are taken, so that nobody's ``__eq__`` has a say; of other objects only the type's name is left.
    """
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if kind is int:
        return value if -(1 << 128) < value < 1 << 128 else {"type": "int"}
    if isinstance(value, np.integer):
        return int(value)
    if kind in (bytes, bytearray):
        return {"bytes": bytes(value).hex()}
    if depth < _DEEPEST and kind in (list, tuple) and len(value) <= 10_000:
        return [plain(one, depth + 1) for one in value]
    if depth < _DEEPEST and kind is dict and all(type(key) is str for key in value):
        return {key: plain(one, depth + 1) for key, one in value.items()}
    return {"type": kind.__name__[:_LONGEST]}


def shown(value: Any) -> str:
    """A plain value for people."""
    if isinstance(value, dict) and list(value) == ["bytes"]:
        text = repr(bytes.fromhex(value["bytes"]))
    elif isinstance(value, dict) and list(value) == ["type"]:
        text = f"a {value['type']}"
    elif isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
