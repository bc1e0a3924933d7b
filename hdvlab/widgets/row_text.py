"""One row in words, for tooltips."""

from __future__ import annotations

from hdvlab.errors import UsageError
from hdvlab.trace.decode import df_decoded
from hdvlab.trace.frame import df_rows
from hdvlab.trace.schema import E_PENDING, NO_ROW, Kind
from hdvlab.trace.trace import Trace
from hdvlab.trace.view import View
from hdvlab.widgets.units import counted, duration


def describe_row(trace: Trace, row: int) -> list[str]:
    """What a row is, line by line, most important first: where, what value, when and how long, what caused it."""
    try:
        place = trace.view().position(row)
    except UsageError as error:
        return [str(error)]
    view: View = trace.view().cut(place, place + 1)
    one = df_decoded(df_rows(view.columns, view.rows, {}), trace.tables).iloc[0]
    kind = Kind[str(one["kind"])]
    name = str(one["name"])
    where = str(one["register"]) or f"{int(one['address']):#x}"
    if one["bar"] >= 0:
        where = f"BAR{int(one['bar'])} {where}"
    head = f"row {counted(row)}  {kind.name.replace('_', ' ')}"
    lines = [head if kind >= Kind.mark else f"{head}  {name} {where}".rstrip()]
    size, value = int(one["size"]), int(one["value"])
    if kind in (Kind.mark, Kind.fault, Kind.lost):
        text = trace.text(row)
        lines.append(f"{counted(value)} rows were lost" if kind == Kind.lost and not text else text)
    elif size:
        told = f"{value:#0{2 + 2 * min(size, 8)}x}" if size <= 8 else f"{counted(size)} bytes"
        lines.append(f"{told}  {one['fields']}".rstrip() if one["fields"] else told)
        if one["register"]:
            lines.append(f"at {int(one['address']):#x}, {size} bytes")
    status = int(one["status"])
    took = "still being served" if status == E_PENDING else duration(int(one["dur_ns"]))
    lines.append(f"at {int(one['t_ns']) / 1e9:.9f} s, {took}, by {one['origin']}")
    if status < 0 and status != E_PENDING:
        lines.append(f"failed: {status & 0xFFFFFFFF:#010x}")
    if one["cause"] != NO_ROW:
        lines.append(f"caused by row {counted(int(one['cause']))}")
    if one["source"]:
        lines.append(str(one["source"]))
    return lines
