"""Some rows as the table's front end reads them: one buffer of records, and the few texts that they point at."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdvlab.errors import HResult
from hdvlab.trace.decode import device_names, find_register, offset_name
from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind
from hdvlab.trace.trace import Trace
from hdvlab.trace.view import View

Array = np.ndarray[Any, Any]

#: One row, little-endian and without gaps; ``widgets/src/records.ts`` has the same offsets. From ``device`` on they are
#: numbers of texts.
RECORD = np.dtype(
    [
        ("row", "<i8"),
        ("t_ns", "<i8"),
        ("address", "<u8"),
        ("value", "<u8"),
        ("cause", "<i8"),
        ("dur_ns", "<u4"),
        ("size", "<u4"),
        ("kind", "u1"),
        ("origin", "u1"),
        ("bar", "i1"),
        ("flags", "u1"),
        ("device", "<u2"),
        ("register", "<u2"),
        ("fields", "<u2"),
        ("status", "<u2"),
        ("source", "<u2"),
        ("spare", "<u2"),
    ]
)
SELECTED, PENDING, FAILED = 1, 2, 4

_ON_BAR = KIND_GROUPS["mmio"] | KIND_GROUPS["doorbell"]
_WITH_TEXT = KIND_GROUPS["mark"] | KIND_GROUPS["fault"] | KIND_GROUPS["lost"]


def pack_rows(trace: Trace, view: View, positions: Array, selected: Array) -> tuple[bytes, list[str]]:
    """Records of the rows at ``positions`` of ``view``, and their texts.

    Parameters
    ----------
    trace : Trace
        Whose rows they are: names and texts are taken from it.
    view : View
        Its columns.
    positions : array of int64
        Which; as many as fit a screen, for each is looked at.
    selected : array of bool
        Which of them are chosen.
    """
    columns = {name: column[positions] for name, column in view.columns.items()}
    records = np.zeros(len(positions), dtype=RECORD)
    rows = view.rows
    records["row"] = positions + rows.start if isinstance(rows, range) else rows[positions]
    for name in ("t_ns", "address", "value", "cause", "dur_ns", "size", "kind", "origin", "bar"):
        records[name] = columns[name]
    status = columns["status"]
    waits = status == E_PENDING
    records["flags"] = SELECTED * selected + PENDING * waits + FAILED * ((status < 0) & ~waits)
    texts: dict[str, int] = {"": 0}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    tables = trace.tables
    devices = device_names(tables)
    for at in range(len(positions)):
        kind, device = Kind(int(columns["kind"][at])), int(columns["device"][at])
        address, value, size = int(columns["address"][at]), int(columns["value"][at]), int(columns["size"][at])
        register = fields = ""
        if kind in _ON_BAR:
            found = find_register(tables.devices, device, int(columns["bar"][at]), address)
            if found is not None:
                rest = address - found.offset
                register = found.name if not rest else f"{found.name}+{rest}"
                if not rest and not waits[at]:
                    fields = found.describe(value)
        elif kind in KIND_GROUPS["config"]:
            register = offset_name(address)
        elif kind is Kind.interrupt and not size:
            fields = "INTA"
        elif kind in _WITH_TEXT:
            fields = trace.text(int(records["row"][at])).strip().rpartition("\n")[2]
        source = tables.sources.get(int(columns["pc"][at]))
        code = int(status[at])
        record = records[at]
        record["device"] = number(devices.get(device, ""))
        record["register"] = number(register)
        record["fields"] = number(fields)
        record["status"] = number("" if code == 0 else "pending" if waits[at] else HResult.symbol_of(code))
        record["source"] = number(str(source) if source is not None else "")
    return records.tobytes(), list(texts)
