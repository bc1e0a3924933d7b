"""A condition: text, read once, and then asked of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hdvlab.analysis.condition.match import match
from hdvlab.analysis.condition.words import Node, Parser
from hdvlab.analysis.selection import Array, kind_codes
from hdvlab.trace.schema import COLUMNS
from hdvlab.trace.tables import Tables

if TYPE_CHECKING:
    import pandas as pd


class Condition:
    """What a row may be; the language is that of :mod:`hdvlab.analysis.condition.words`.

    ``write CTRL.EN==1``, ``guest read COUNT``, ``interrupt``, ``dma write 0x1000..0x1fff and size > 8``,
    ``failed or fault``, ``not write bar0+0x10..0x1f``. A comparison holds only for accesses that cover the whole
    register or field; one that covers a part of it does not hold, whatever it carried.

    Raises
    ------
    UsageError
        It is no condition; the message says what is wrong.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._node: Node = Parser(text).parse()

    def holds(self, columns: Mapping[str, Array], tables: Tables) -> Array:
        """For which rows it holds, as booleans.

        Parameters
        ----------
        columns : mapping of str to array
            As :meth:`hdvlab.trace.Trace.columns` gives them: ``kind`` and ``origin`` are numbers.
        tables : Tables
            What the rows' numbers refer to; names of registers and devices are found there.

        Raises
        ------
        UsageError
            The trace has no register, field or device of a name; the message names the nearest.
        """
        return match(self._node, columns, tables)

    def rows(self, frame: pd.DataFrame, tables: Tables) -> Array:
        """The same for a frame's rows."""
        columns = {name: frame[name].to_numpy() for name in COLUMNS if name not in ("kind", "origin")}
        origin = frame["origin"]
        columns["kind"] = kind_codes(frame)
        columns["origin"] = origin.cat.codes.to_numpy() if hasattr(origin, "cat") else origin.to_numpy()
        return self.holds(columns, tables)

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"
