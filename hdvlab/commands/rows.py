"""Rows as a frame: ``trace``, and the choice of rows; ``mark`` puts one in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hdvlab.commands.importing import import_whole
from hdvlab.commands.nearest import nearest
from hdvlab.commands.number import parse_number
from hdvlab.commands.progress import late_bar
from hdvlab.commands.runs import trace_of
from hdvlab.commands.text import Text
from hdvlab.errors import UsageError
from hdvlab.trace.decode import df_decoded
from hdvlab.trace.schema import KIND_GROUPS, Kind, Origin
from hdvlab.trace.tables import Tables
from hdvlab.trace.trace import Trace

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab
    from hdvlab.trace.frame import Rows

Array = np.ndarray[Any, Any]

#: Columns of a decoded frame, in reading order: numbers that have a name beside them (device, pc) are left to ``raw``.
SHOWN = (
    "t_ns", "dur_ns", "kind", "origin", "name", "bar", "register", "address", "size", "value", "fields", "status",
    "cause", "source",
)  # fmt: skip

#: Words for ``kind``: single kinds and groups of them.
KIND_WORDS = tuple(dict.fromkeys([*KIND_GROUPS, *(kind.name for kind in Kind if kind)]))

_PLACE = re.compile(r"(?:(?P<device>\w+)\.)?bar(?P<bar>\d)\s*\+\s*(?P<offset>\w+)", re.IGNORECASE)
_TEXTS = (Kind.mark, Kind.fault, Kind.lost)
_ON_BAR = KIND_GROUPS["mmio"] | KIND_GROUPS["doorbell"]


def trace(
    source: AnyLab | Trace,
    *,
    last: int | None = None,
    kind: Sequence[str] = (),
    device: str | None = None,
    register: str | None = None,
    origin: str | None = None,
    since: str | None = None,
    failed: bool = False,
    raw: bool = False,
    run: str | None = None,
    namespace: Mapping[str, Any] | None = None,
) -> Rows:
    """Rows of the trace as a DataFrame; their numbers are its index, whatever is chosen.

    Parameters
    ----------
    source : Lab or Trace
        Where from.
    last : int, optional
        Only the last so many of the rows chosen.
    kind : sequence of str
        Kinds (``mmio_read``) or groups of them (``mmio``, ``config``, ``dma``, ``lifecycle`` …).
    device : str, optional
        Name of a device.
    register : str, optional
        ``CTRL``, ``blink.CTRL`` or ``bar0+0x10``: accesses that touch it; in the middle of a register, those that
        begin there.
    origin : str, optional
        ``guest``, ``user``, ``device`` …
    since : str, optional
        Text of a mark (the last one that has it), or a row number: rows from there on.
    failed : bool
        Only faults, and accesses that ended with a failure.
    raw : bool
        The columns as recorded; else with the names that the numbers stand for (:data:`SHOWN`).
    run : str, optional
        A named run, a loaded trace, or a variable that holds one.
    namespace : mapping, optional
        The person's variables.
    """
    with late_bar("reading rows"):
        import_whole("pandas")
        return _chosen(trace_of(source, run, namespace), last, kind, device, register, origin, since, failed, raw)


def _chosen(
    whole: Trace,
    last: int | None,
    kind: Sequence[str],
    device: str | None,
    register: str | None,
    origin: str | None,
    since: str | None,
    failed: bool,
    raw: bool,
) -> Rows:
    if since is not None:
        view = whole.view()
        whole = whole[int(np.searchsorted(np.asarray(view.rows), _first_row(whole, since))) :]
    frame = whole.frame()
    chosen = np.ones(len(frame), dtype=bool)
    codes = frame["kind"].cat.codes.to_numpy()
    if kind:
        chosen &= np.isin(codes, [int(one) for one in _kinds(kind)])
    if origin is not None:
        chosen &= (frame["origin"] == _origin(origin)).to_numpy()
    if device is not None:
        chosen &= np.isin(frame["device"].to_numpy(), _devices(whole.tables, device))
    if register is not None:
        chosen &= np.isin(codes, [int(one) for one in _ON_BAR]) & _touches(frame, whole.tables, register)
    if failed:
        from hdvlab.analysis.selection import failed as failures

        chosen &= failures(frame)
    if not chosen.all():
        frame = frame[chosen]
    if last is not None:
        frame = frame.iloc[max(len(frame) - last, 0) :]
    if raw:
        return frame
    decoded = df_decoded(frame, whole.tables)[list(SHOWN)]
    texts = np.isin(decoded["kind"].cat.codes.to_numpy(), [int(one) for one in _TEXTS])
    for row in decoded.index[texts]:
        decoded.at[row, "fields"] = _in_short(whole.text(int(row)))
    return decoded  # type: ignore[return-value]


def _in_short(text: str) -> str:
    """What a mark says, or the last line of a traceback."""
    return text.strip().rpartition("\n")[2]


def _kinds(words: Sequence[str]) -> set[Kind]:
    kinds: set[Kind] = set()
    for word in (part for text in words for part in text.split(",") if part):
        if word in KIND_GROUPS:
            kinds |= KIND_GROUPS[word]
        elif word in KIND_WORDS:
            kinds.add(Kind[word])
        else:
            raise UsageError(f"no kind {word}; {nearest(word, KIND_WORDS)}")
    return kinds


def _origin(word: str) -> str:
    names = [origin.name for origin in Origin]
    if word not in names:
        raise UsageError(f"no origin {word}; {nearest(word, names)}")
    return word


def _devices(tables: Tables, name: str) -> list[int]:
    """The numbers of a device: one for each description it had."""
    numbers = [number for number, info in enumerate(tables.devices) if name in (info.name, info.address)]
    if not numbers:
        raise UsageError(f"the trace has no device {name}; {nearest(name, (info.name for info in tables.devices))}")
    return numbers


def _touches(frame: Rows, tables: Tables, text: str) -> Array:
    """Which rows touch a register."""
    device, bar = frame["device"].to_numpy(), frame["bar"].to_numpy()
    first = frame["address"].to_numpy().astype(np.int64)
    after = first + frame["size"].to_numpy()
    touched = np.zeros(len(frame), dtype=bool)
    if (match := _PLACE.fullmatch(text)) and (inside := _holder(tables, match)):
        # The middle of a register: only accesses that begin there were meant.
        index, offset = int(match["bar"]), parse_number(match["offset"])
        touched |= (bar == index) & (first == offset)
        if match["device"]:
            touched &= np.isin(device, _devices(tables, match["device"]))
        if not touched.any():
            raise UsageError(f"{text}: nothing begins at bar{index}+{offset:#x}; it is inside {inside}, write that")
        return touched
    for number, index, start, stop in _places(tables, text):
        mine = np.ones(len(frame), dtype=bool) if number is None else device == number
        touched |= mine & (bar == index) & (first < stop) & (after > start)
    return touched


def _holder(tables: Tables, match: re.Match[str]) -> str:
    """The register that a place lies in the middle of; empty if it is where one begins, or in none."""
    numbers = _devices(tables, match["device"]) if match["device"] else range(len(tables.devices))
    offset, name = parse_number(match["offset"]), ""
    for number in numbers:
        bar = tables.devices[number].bars.get(int(match["bar"]))
        for register in (bar.registers if bar is not None else None) or ():
            if register.offset == offset:
                return ""
            if register.offset < offset < register.end:
                name = register.name
    return name


def _places(tables: Tables, text: str) -> list[tuple[int | None, int, int, int]]:
    """Device, BAR and byte range of what ``text`` means."""
    if match := _PLACE.fullmatch(text):
        numbers: list[int | None] = list(_devices(tables, match["device"])) if match["device"] else [None]
        offset = parse_number(match["offset"])
        return [(number, int(match["bar"]), offset, offset + 1) for number in numbers]
    known: dict[str, list[tuple[int | None, int, int, int]]] = {}
    for number, info in enumerate(tables.devices):
        for index, bar in info.bars.items():
            for register in bar.registers or ():
                place = (number, index, register.offset, register.end)
                for written in (register.name, f"{info.name}.{register.name}"):
                    known.setdefault(written, []).append(place)
                    for field in register.fields:
                        known.setdefault(f"{written}.{field}", []).append(place)
    if text not in known:
        raise UsageError(f"the trace has no register {text}; {nearest(text, known)}")
    return known[text]


def _first_row(whole: Trace, since: str) -> int:
    marks = whole.marks()
    rows = marks.index[marks["text"] == since]
    if len(rows):
        return int(rows[-1])
    if since.isdigit():
        return int(since)
    hint = nearest(since, marks["text"]) if len(marks) else "%hdv mark TEXT makes one"
    raise UsageError(f"no mark {since!r}; {hint}")


def mark(lab: AnyLab, text: str) -> Text:
    """Put a line of text into the trace; ``trace --since TEXT`` finds it, and timelines show it."""
    if not text.strip():
        raise UsageError("a mark needs a text: %hdv mark before the reset")
    row = lab.mark(text)
    if row < 0:
        lab.trace.check()
    return Text(f"row {row:,}: {text}")
