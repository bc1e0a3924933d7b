"""Columns to a pandas frame without a copy, and a frame that shows its hexadecimal numbers as such."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hdvlab.errors import HResult
from hdvlab.trace.schema import COLUMNS, E_PENDING, Kind, Origin

Array = np.ndarray[Any, Any]

_KINDS = pd.CategoricalDtype([kind.name for kind in Kind])
_OF_TEXT = (Kind.mark.name, Kind.fault.name)
_ORIGINS = pd.CategoricalDtype([origin.name for origin in Origin])


def _status_text(status: int) -> str:
    return "" if status == 0 else "pending" if status == E_PENDING else HResult.symbol_of(int(status))


def _hex(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:#x}"


def _or_dash(value: int) -> str:
    return "" if value in (-1, 0xFFFF) else str(value)


#: How a column is shown. The values themselves stay numbers.
FORMATTERS: dict[str, Callable[[Any], str]] = {
    "address": _hex,
    "value": _hex,
    "status": _status_text,
    "cause": _or_dash,
    "payload": _or_dash,
    "bar": _or_dash,
    "device": _or_dash,
}


class Rows(pd.DataFrame):
    """A trace's rows: an ordinary DataFrame that shows addresses and values in hexadecimal.

    The columns are those of :data:`hdvlab.trace.schema.COLUMNS`; the index is the row number. ``attrs`` says how many
    rows are ``pending``, ``lost``, ``holes`` or ``corrupt``.
    """

    @property
    def _constructor(self) -> Callable[..., Rows]:
        return Rows

    def _formatters(self) -> dict[str, Callable[[Any], str]]:
        return {
            name: shown
            for name, shown in FORMATTERS.items()
            if name in self.columns and pd.api.types.is_integer_dtype(self.dtypes[name])
        }

    def _note(self) -> str:
        told = [
            f"{count:,} {str(what).replace('_', ' ')}"
            for what, count in self.attrs.items()
            if isinstance(count, int) and count
        ]
        return f" ({', '.join(told)})" if told else ""

    def __repr__(self) -> str:
        if not self._formatters():
            return str(pd.DataFrame(self))
        shown, cut = self._ends()
        text = shown.to_string(formatters=self._formatters())
        return f"{text}\n{cut}[{len(self):,} rows x {len(self.columns)} columns]{self._note()}"

    def _repr_html_(self) -> str | None:
        if not self._formatters():
            return pd.DataFrame(self)._repr_html_()  # type: ignore[operator, no-any-return]
        shown, cut = self._ends()
        table = shown.to_html(formatters=self._formatters(), border=0, notebook=True)
        return f"<div>{table}<p>{cut}{len(self):,} rows × {len(self.columns)} columns{self._note()}</p></div>"

    def _ends(self) -> tuple[pd.DataFrame, str]:
        """The rows to show, and a word where some are not shown."""
        most = pd.get_option("display.max_rows") or len(self)
        if len(self) <= most:
            return _without_text(pd.DataFrame(self)), ""
        few = max(pd.get_option("display.min_rows") or 10, 2) // 2
        ends = pd.concat([pd.DataFrame(self.head(few)), pd.DataFrame(self.tail(few))])
        return _without_text(ends), f"first and last {few} of "


def _without_text(shown: pd.DataFrame) -> pd.DataFrame:
    """As shown: a mark's or a fault's value is the letters its text begins with, which is in ``fields``."""
    if not {"kind", "value"} <= set(shown.columns):
        return shown
    is_text = shown["kind"].isin(_OF_TEXT)
    return shown.assign(value=shown["value"].astype(object).mask(is_text, "")) if is_text.any() else shown


def df_rows(columns: Mapping[str, Array], rows: range | Array, attrs: Mapping[str, Any]) -> Rows:
    """A frame over columns, sharing their memory.

    Parameters
    ----------
    columns : mapping of str to array
        One array per name of :data:`~hdvlab.trace.schema.COLUMNS`, all of one length.
    rows : range or array of int
        Row number of each row.
    attrs : mapping
        What the frame says of itself.
    """
    data: dict[str, Any] = {name: columns[name] for name in COLUMNS}
    data["kind"] = pd.Categorical.from_codes(columns["kind"].view(np.int8), dtype=_KINDS, validate=False)
    data["origin"] = pd.Categorical.from_codes(columns["origin"].view(np.int8), dtype=_ORIGINS, validate=False)
    index = pd.RangeIndex(rows, name="row") if isinstance(rows, range) else pd.Index(rows, name="row")
    frame = Rows(data, index=index, copy=False)
    frame.attrs.update(attrs)
    return frame
