"""What stepping needs of a lab."""

from __future__ import annotations

from typing import Any, Protocol

from hdvlab.trace.recorder import Recorder
from hdvlab.trace.schema import Kind


class Bench(Protocol):
    """A lab, as far as stepping needs one."""

    trace: Recorder

    def slots(self) -> list[Any]:
        """What is plugged in: :class:`~hdvlab.stepping.place.Slot` each."""

    def keep_rows(self, name: str, start: int, stop: int) -> None:
        """Rows ``start`` up to ``stop``, which may not all be there yet, are a named run from now on."""

    def is_posted(self, kind: Kind) -> bool:
        """Whether the guest does not wait for accesses of a kind."""
