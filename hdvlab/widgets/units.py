"""Counts and lengths of time as people read them."""

from __future__ import annotations

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


def counted(number: int) -> str:
    """Groups of three digits: 1,234,567."""
    return f"{number:,}"


def duration(ns: float) -> str:
    """``ns`` nanoseconds as a length of time, three digits: ``"1.23 µs"``."""
    for factor, unit in _UNITS:
        if abs(ns) >= factor * 0.9995 or unit == "ns":
            return f"{float(f'{ns / factor:.3g}'):g} {unit}"
    raise AssertionError("the last unit fits everything")
