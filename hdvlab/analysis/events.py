"""What happened to a trace beside single accesses: causes and effects, named moments, lost rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdvlab.analysis.selection import Array, kind_codes, of_kinds
from hdvlab.trace.schema import KIND_GROUPS, Kind
from hdvlab.trace.trace import Trace

#: Columns of :func:`df_links`.
LINK_COLUMNS = {
    "cause": "row that was being served",
    "effect": "row it led to: DMA or an interrupt",
    "cause_ns": "start of the cause",
    "effect_ns": "start of the effect",
    "cause_lane": "lane of the cause",
    "effect_lane": "lane of the effect",
    "cause_kind": "kind of the cause, category",
    "effect_kind": "kind of the effect, category",
}

#: Columns of :func:`df_moments`.
MOMENT_COLUMNS = {
    "t_ns": "when",
    "label": "the mark's text, or the name of the lifecycle step",
    "lane": "lane of a lifecycle step; -1 for a mark, which belongs to all lanes",
}

#: Columns of :func:`df_lost`.
LOST_COLUMNS = {
    "start_ns": "time of the row before the loss",
    "end_ns": "time of the row that tells of it",
    "rows": "rows that are missing",
}

_EFFECTS = KIND_GROUPS["dma"] | KIND_GROUPS["interrupt"]
_STEPS = KIND_GROUPS["lifecycle"]


def df_links(rows: pd.DataFrame, lane: Array) -> pd.DataFrame:
    """Which access led to which DMA and which interrupt, where ``rows`` hold both.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them; the index is the row number.
    lane : array of int
        Lane of each row (:func:`hdvlab.analysis.lanes.lane_numbers`).

    Returns
    -------
    DataFrame
        Columns :data:`LINK_COLUMNS`, one row per effect.
    """
    cause = rows["cause"].to_numpy()
    effects = np.flatnonzero((cause >= 0) & of_kinds(kind_codes(rows), _EFFECTS))
    places = rows.index.get_indexer(pd.Index(cause[effects]))
    effects, places = effects[places >= 0], places[places >= 0]
    t_ns = rows["t_ns"].to_numpy()
    return pd.DataFrame(
        {
            "cause": cause[effects],
            "effect": rows.index.to_numpy()[effects],
            "cause_ns": t_ns[places],
            "effect_ns": t_ns[effects],
            "cause_lane": lane[places],
            "effect_lane": lane[effects],
            "cause_kind": rows["kind"].array[places],
            "effect_kind": rows["kind"].array[effects],
        }
    )


def df_moments(rows: pd.DataFrame, trace: Trace, lane: Array) -> pd.DataFrame:
    """Lifecycle steps and marks, in the order of rows.

    Parameters
    ----------
    rows : DataFrame
        Rows as :meth:`hdvlab.trace.trace.Trace.frame` gives them; the index is the row number.
    trace : Trace
        Knows the texts of the marks.
    lane : array of int
        Lane of each row (:func:`hdvlab.analysis.lanes.lane_numbers`).

    Returns
    -------
    DataFrame
        Columns :data:`MOMENT_COLUMNS`, index ``row``.
    """
    codes = kind_codes(rows)
    chosen = np.flatnonzero(of_kinds(codes, _STEPS | {Kind.mark}))
    labels = [
        trace.text(row) or "mark" if code == Kind.mark else Kind(code).name.replace("_", " ")
        for row, code in zip(rows.index[chosen].tolist(), codes[chosen].tolist(), strict=True)
    ]
    return pd.DataFrame(
        {"t_ns": rows["t_ns"].to_numpy()[chosen], "label": np.array(labels, dtype=object), "lane": lane[chosen]},
        index=rows.index[chosen],
    )


def df_lost(rows: pd.DataFrame) -> pd.DataFrame:
    """Where rows are missing: from the last row before the loss to the row that tells of it.

    Returns
    -------
    DataFrame
        Columns :data:`LOST_COLUMNS`, index ``row``.
    """
    chosen = np.flatnonzero(kind_codes(rows) == int(Kind.lost))
    t_ns = rows["t_ns"].to_numpy()
    return pd.DataFrame(
        {
            "start_ns": np.minimum(t_ns[np.maximum(chosen - 1, 0)], t_ns[chosen]),
            "end_ns": t_ns[chosen],
            "rows": rows["value"].to_numpy()[chosen],
        },
        index=rows.index[chosen],
    )
