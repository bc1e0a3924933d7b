"""What the register, config and memory panels need of a lab, wherever its machine is."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from hdvlab.errors import StateError, UsageError
from hdvlab.trace.trace import Trace
from hdvlab.widgets.bench import Bench


class Targets(Bench, Protocol):
    """A lab whose machine can be looked at in one go, here or in a device host."""

    @property
    def machine(self) -> Any: ...
    def peek_many(self, places: Sequence[tuple[str, int, int, int]]) -> list[int | str]: ...
    def ram_peek(self, address: int, size: int) -> list[tuple[int, bytes | str]]: ...


class OfLab:
    """Something that looks at a lab and does not keep it alive."""

    def __init__(self, lab: Targets) -> None:
        if not hasattr(lab, "peek_many"):
            raise UsageError(f"this panel shows a machine: give it the lab, not {type(lab).__name__}")
        self._lab_ref = weakref.ref(lab)

    @property
    def _lab(self) -> Targets:
        lab = self._lab_ref()
        if lab is None:
            raise StateError("the lab of this panel is gone; make a panel of the one that there is")
        return lab


def numbers_of(trace: Trace, name: str) -> Collection[int]:
    """All numbers that a device of this name has had in the trace's ``device`` column."""
    return [number for number, info in enumerate(trace.devices) if info.name == name]
