"""Properties that devices and drivers are asked for often, ready made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdvlab.analysis.selection import of_kinds
from hdvlab.analysis.temporal import NOWHERE, Breach, Judged
from hdvlab.checks.evidence import Evidence, plain, shown
from hdvlab.checks.property import Property, count
from hdvlab.errors import UsageError
from hdvlab.trace.schema import KIND_GROUPS


def reads_as(
    register: str, *values: int, points: float | None = None, partial: bool = False, text: str = ""
) -> Property:
    """The reads of a register or field answered these values, in this order; later reads may be anything.

    ``reads_as("COUNT", 0, 1, 1)`` judges the first three reads. Reads that failed are reads as well: of all ones.

    Raises
    ------
    UsageError
        No value is given.
    """
    if not values:
        raise UsageError(f"reads_as({register!r}): which values? reads_as({register!r}, 0)")

    def judge(e: Evidence) -> Judged:
        reads = np.flatnonzero(e.holds(f"read {register}"))
        breaches = []
        for place, value in enumerate(values):
            which = f"{register} reads {value:#x}"
            if place >= len(reads):
                last = int(reads[-1]) if len(reads) else NOWHERE
                breaches.append(Breach(last, which, f"it was read {_times(len(reads))}"))
                break
            row = int(reads[place])
            if not e.holds(f"read {register} == {value}")[row]:
                breaches.append(Breach(row, which, _value(e, register, row)))
        missing = max(len(values) - len(reads) - 1, 0)
        return Judged(len(values), [*breaches, *breaches[-1:] * missing])

    amount = ", then ".join(f"{value:#x}" for value in values)
    return Property(text or f"{register} reads {amount}", judge, points, partial)


def _value(e: Evidence, register: str, row: int) -> str:
    value, status = int(e.columns["value"][row]), int(e.columns["status"][row])
    failed = ", because the read failed" if status < 0 else ""
    frame = e.frame(row, row + 1)
    fields = str(frame["fields"].iloc[0])
    named = f" ({fields})" if fields and "." in register else ""
    return f"{value:#x}{named}{failed}"


def interrupts(number: int, *, points: float | None = None, text: str = "") -> Property:
    """So many interrupts, no more and no fewer."""
    said = text or ("no interrupt" if number == 0 else f"{number} interrupt{'' if number == 1 else 's'}")
    return count("interrupt", number, points=points, text=said)


def dma_only_within(*regions: str, points: float | None = None, text: str = "") -> Property:
    """The device touches guest memory only in regions that the exercise named.

    The exercise returns a dict; ``dma_only_within("source")`` looks for its entry ``source``, an address and a size in
    bytes.

    Raises
    ------
    UsageError
        No region is named.
    """
    if not regions:
        raise UsageError("dma_only_within('source', 'target'): name the regions that the exercise returns")

    def judge(e: Evidence) -> Judged:
        facts = e.ending.value if isinstance(e.ending.value, dict) else {}
        dma = of_kinds(e.columns["kind"], KIND_GROUPS["dma"])
        inside = np.zeros(len(e), dtype=bool)
        first = e.columns["address"]
        last = first + e.columns["size"].astype(np.uint64)
        for name in regions:
            if name in facts:
                address, size = (int(number) for number in facts[name])
                inside |= (first >= np.uint64(address)) & (last <= np.uint64(address + size))
        named = ", ".join(regions)
        broken = [Breach(int(row), f"DMA within {named}", _range(e, int(row))) for row in np.flatnonzero(dma & ~inside)]
        return Judged(int(dma.sum()), broken)

    return Property(text or f"DMA only within {', '.join(regions)}", judge, points, is_quiet=True)


def _range(e: Evidence, row: int) -> str:
    address, size = int(e.columns["address"][row]), int(e.columns["size"][row])
    return f"{address:#x} to {address + max(size, 1) - 1:#x}"


def no_access_outside(*, points: float | None = None, text: str = "") -> Property:
    """The driver touches registers only: never a place of a BAR that none claims."""

    def judge(e: Evidence) -> Judged:
        frame = e.frame()
        outside = of_kinds(e.columns["kind"], KIND_GROUPS["mmio"]) & (frame["register"] == "").to_numpy()
        broken = [
            Breach(int(row), "a register", f"bar{int(e.columns['bar'][row])}+{int(e.columns['address'][row]):#x}")
            for row in np.flatnonzero(outside)
        ]
        return Judged(len(e), broken)

    return Property(text or "no access outside the registers", judge, points, is_quiet=True)


def returns(value: Any, *, points: float | None = None, text: str = "") -> Property:
    """The exercise returned this value: numbers, texts, bytes, lists, dicts."""
    wanted = plain(value)

    def judge(e: Evidence) -> Judged:
        if e.ending.error:
            return Judged(1, [Breach(NOWHERE, shown(wanted), e.ending.error)])
        got = e.ending.value
        same = type(got) is type(wanted) and got == wanted
        return Judged(1, () if same else [Breach(NOWHERE, shown(wanted), shown(got))])

    return Property(text or f"returns {shown(wanted)}", judge, points)


def raises(*kinds: type[BaseException], points: float | None = None, text: str = "") -> Property:
    """The exercise ended with one of these exceptions, or one derived from them."""
    names = tuple(kind.__name__ for kind in kinds)

    def judge(e: Evidence) -> Judged:
        if set(names) & set(e.ending.kinds):
            return Judged(1)
        return Judged(1, [Breach(len(e) - 1, _either(names), e.ending.error or "it returned as if all were well")])

    return Property(text or f"raises {_either(names)}", judge, points, ends_with=names)


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
