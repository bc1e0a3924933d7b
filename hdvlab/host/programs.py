"""Guest programs that run in the host: they go on when the client that began them is gone."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.lab import Run

#: Ended programs whose results are still there to be asked for.
MOST_KEPT = 100


class Programs:
    """By number, the newest last."""

    def __init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._numbers = itertools.count(1)
        self._guard = threading.Lock()

    def keep(self, run: Run) -> int:
        """Remember a program; its number."""
        with self._guard:
            number = next(self._numbers)
            self._runs[number] = run
            ended = [known for known, one in self._runs.items() if one.program is None or not one.program.running]
            for known in ended[:-MOST_KEPT]:
                del self._runs[known]
        return number

    def __getitem__(self, number: int) -> Run:
        with self._guard:
            if number not in self._runs:
                raise UsageError(f"there is no guest program {number}; {len(self._runs)} are known")
            return self._runs[number]

    def items(self) -> list[tuple[int, Run]]:
        """Number and run of each."""
        with self._guard:
            return list(self._runs.items())
