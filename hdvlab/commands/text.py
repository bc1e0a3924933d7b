"""Text that a notebook and a terminal show as it is."""

from __future__ import annotations


class Text(str):
    """A str that shows itself without quotes and escapes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self.rstrip("\n")


def count(number: int, what: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
