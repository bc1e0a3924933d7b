"""Which rows a question is about: a device, a BAR, a stretch of time."""

from __future__ import annotations

import datetime
import difflib
from typing import Any

import numpy as np
import pandas as pd

from hdvlab.errors import UsageError
from hdvlab.trace.schema import E_PENDING, KIND_GROUPS, Kind
from hdvlab.trace.tables import Tables

Array = np.ndarray[Any, Any]

#: A moment of a trace: nanoseconds since it began, or a length of time such as ``"32.8s"``.
Moment = int | str | datetime.timedelta | pd.Timedelta

#: Kinds whose ``address`` is an offset into a BAR and whose ``value`` was read or written there.
ACCESS_KINDS = (Kind.mmio_read, Kind.mmio_write, Kind.doorbell)

#: Kinds that carry data to the device (``True``) or from it (``False``), seen from whoever starts the access.
WRITES = {Kind.config_write, Kind.mmio_write, Kind.dma_write, Kind.doorbell}
READS = {Kind.config_read, Kind.mmio_read, Kind.dma_read}


def kind_codes(rows: pd.DataFrame) -> Array:
    """The ``kind`` column as numbers of :class:`~hdvlab.trace.schema.Kind`, whether it is categorical or not."""
    kind = rows["kind"]
    return kind.cat.codes.to_numpy() if isinstance(kind.dtype, pd.CategoricalDtype) else kind.to_numpy()


def of_kinds(codes: Array, kinds: Any) -> Array:
    """Which of ``codes`` are one of ``kinds``, as booleans."""
    chosen = np.zeros(len(Kind), dtype=bool)
    chosen[[int(kind) for kind in kinds]] = True
    found: Array = chosen[codes]
    return found


def failed(rows: pd.DataFrame) -> Array:
    """Which rows are faults or accesses that ended with a failure; a pending access has not failed."""
    status = rows["status"].to_numpy()
    bad: Array = ((status < 0) & (status != E_PENDING)) | of_kinds(kind_codes(rows), KIND_GROUPS["fault"])
    return bad


def pending(rows: pd.DataFrame) -> Array:
    """Which rows are accesses that are still being served."""
    waiting: Array = rows["status"].to_numpy() == E_PENDING
    return waiting


def nanoseconds(moment: Moment) -> int:
    """A moment as nanoseconds.

    Raises
    ------
    UsageError
        It is neither a number of nanoseconds nor a length of time that pandas can read.
    """
    try:
        return int(pd.Timedelta(moment).as_unit("ns").value)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{moment!r} is no moment of a trace; write nanoseconds or a length of time like '32.8s'"
        ) from error


def df_window(rows: pd.DataFrame, start: Moment | None = None, stop: Moment | None = None) -> pd.DataFrame:
    """The rows that begin at ``start`` or later and before ``stop``; columns and index as they were."""
    if start is None and stop is None:
        return rows
    t_ns = rows["t_ns"].to_numpy()
    first = np.iinfo(np.int64).min if start is None else nanoseconds(start)
    last = np.iinfo(np.int64).max if stop is None else nanoseconds(stop)
    if np.all(t_ns[1:] >= t_ns[:-1]):
        # Rows in the order of time, the usual case: a slice shares memory, a mask would copy every column.
        return rows.iloc[int(np.searchsorted(t_ns, first)) : int(np.searchsorted(t_ns, last))]
    return rows[(t_ns >= first) & (t_ns < last)]


def find_devices(tables: Tables, device: int | str) -> list[int]:
    """The numbers of a device given by name, by bus address, or by one number; at least one.

    A name has several where its class was changed and plugged in again: each description is a device of its own.

    Raises
    ------
    UsageError
        The trace has no such device; the message names the nearest.
    """
    if isinstance(device, str):
        if named := [number for number, info in enumerate(tables.devices) if info.name == device]:
            return named
        if placed := [number for number, info in enumerate(tables.devices) if info.address == device]:
            return placed
    elif 0 <= device < len(tables.devices):
        return [int(device)]
    names = [info.name for info in tables.devices]
    near = difflib.get_close_matches(str(device), names, 1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
    raise UsageError(f"this trace has no device {device}; {hint}")


def find_device(tables: Tables, device: int | str, rows: pd.DataFrame) -> int:
    """The one number of a device that is meant: of several, the last that ``rows`` speak of, else the last.

    Raises
    ------
    UsageError
        The trace has no such device; the message names the nearest.
    """
    numbers = find_devices(tables, device)
    present = set(np.unique(rows["device"].to_numpy())) if len(numbers) > 1 else set()
    return max((number for number in numbers if number in present), default=numbers[-1])


def busiest_bar(rows: pd.DataFrame, device: int | None = None, bar: int | None = None) -> tuple[int, int] | None:
    """Device number and BAR with the most accesses, among those of ``device`` or ``bar`` where given; None if none."""
    numbers = rows["device"].to_numpy().astype(np.int64)
    bars = rows["bar"].to_numpy()
    chosen = of_kinds(kind_codes(rows), ACCESS_KINDS)
    if device is not None:
        chosen &= numbers == device
    if bar is not None:
        chosen &= bars == bar
    if not chosen.any():
        return None
    keys = numbers[chosen] * 8 + bars[chosen] + 1
    most = int(np.bincount(keys).argmax())
    return most // 8, most % 8 - 1


def device_name(tables: Tables, device: int) -> str:
    """A device's name; empty where rows belong to none that the trace knows."""
    return tables.devices[device].name if 0 <= device < len(tables.devices) else ""
