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
        self._tokens: dict[str, int] = {}
        self._given_up: set[str] = set()
        self._numbers = itertools.count(1)
        self._guard = threading.Lock()

    def keep(self, run: Run, token: str) -> tuple[int, bool]:
        """Remember a program that a client calls ``token``; its number, and whether the client has given it up."""
        with self._guard:
            number = next(self._numbers)
            self._runs[number] = run
            self._tokens[token] = number
            is_given_up = token in self._given_up
            self._given_up.discard(token)
            ended = [known for known, one in self._runs.items() if one.program is None or not one.program.running]
            for known in ended[:-MOST_KEPT]:
                del self._runs[known]
                self._tokens = {known: one for known, one in self._tokens.items() if one in self._runs}
        return number, is_given_up

    def give_up(self, token: str) -> Run | None:
        """The program that a client wants no more; None where it has not begun: then it ends as it begins."""
        with self._guard:
            number = self._tokens.get(token)
            if number is not None:
                return self._runs.get(number)
            if len(self._given_up) < MOST_KEPT:
                self._given_up.add(token)
            return None

    def __getitem__(self, number: int) -> Run:
        with self._guard:
            if number not in self._runs:
                raise UsageError(f"there is no guest program {number}; {len(self._runs)} are known")
            return self._runs[number]

    def items(self) -> list[tuple[int, Run]]:
        """Number and run of each."""
        with self._guard:
            return list(self._runs.items())
