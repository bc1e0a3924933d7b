"""What becomes of a guest program, wherever it runs."""

from __future__ import annotations

from typing import Any


class Outcome:
    """``value`` is what the program returned, ``error`` what it raised, ``seconds`` how long it ran.

    They are known when it has ended.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: Any = None
        self.error: BaseException | None = None
        self.seconds = 0.0

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        raise NotImplementedError

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, ``timeout`` seconds at most; whether it has ended."""
        raise NotImplementedError

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.value

    def __repr__(self) -> str:
        if self.running:
            return f"<{self.name} is running>"
        end = f"raised {type(self.error).__name__}" if self.error is not None else f"returned {self.value!r}"
        return f"<{self.name} {end} after {self.seconds * 1e3:.1f} ms>"
