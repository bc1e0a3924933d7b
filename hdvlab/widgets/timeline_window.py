"""Which stretch of a trace a panel shows, and how it follows a trace that grows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from hdvlab.widgets.bins import Bins

Mode = Literal["whole", "fixed", "follow"]


@dataclass(frozen=True)
class Window:
    """A stretch of time in ns, or of row numbers; ``mode`` says what it becomes when rows come.

    "whole" is the whole trace, "follow" the last ``stop - first`` of it, "fixed" stays where it is.
    """

    first: int = 0
    stop: int = 1
    by_row: bool = False
    mode: Mode = "whole"

    @property
    def span(self) -> int:
        """Its length, at least 1."""
        return max(self.stop - self.first, 1)

    def placed(self, bins: Bins) -> Window:
        """The stretch as it is now."""
        low, high = bins.extent(by_row=self.by_row)
        if self.mode == "whole":
            return replace(self, first=low, stop=high)
        if self.mode == "follow":
            return replace(self, first=high - self.span, stop=high)
        return self

    def width(self, bins: int) -> int:
        """Length of each of at most ``bins`` equal stretches that cover it."""
        return -(-self.span // max(bins, 1))

    @classmethod
    def from_request(cls, content: dict[str, Any], origin: int) -> Window:
        """What a browser asks for; its times count from ``origin``. Nonsense becomes the nearest sense."""
        by_row = bool(content.get("by_row"))
        base = 0 if by_row else origin
        first, stop = (_whole_number(content.get(name)) for name in ("first", "stop"))
        mode = content.get("mode")
        return cls(
            base + first, base + max(stop, first + 1), by_row, mode if mode in ("whole", "follow") else "fixed"
        )


def _whole_number(value: Any) -> int:
    usable = isinstance(value, int | float) and abs(value) < 1 << 62
    return int(value) if usable else 0
