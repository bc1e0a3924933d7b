"""A stop: an access that is held, with everything a person asks of it first."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from hdvlab.errors import StateError

if TYPE_CHECKING:
    from hdvlab.trace.frame import Rows
    from hdvlab.trace.trace import Trace

#: Rows that a stop shows before its own.
LAST_ROWS = 8
_COLUMNS = ("t_ns", "kind", "origin", "name", "register", "address", "size", "value", "fields", "status", "source")


@dataclass(frozen=True)
class Stop:
    """One access that is held, as it was when it was stopped.

    Attributes
    ----------
    ticket : int
        Counts the stops of one power-on of the machine.
    breakpoint : int
        Number of the breakpoint; 0 = a step.
    reason : str
        What was asked for, or "step".
    phase : {"before", "after"}
        Whether the device has answered.
    row : int
        Row of the access; -1 where recording is paused.
    kind, origin, device, place, action : str
        What it is: ``"mmio_write"``, ``"guest"``, ``"blink"``, ``"blink.CTRL"``, ``"blink.CTRL write 0x3"``.
    bar, address, size : int
        Where, and bytes; bar is -1 outside of BARs.
    register : str
        Name; empty where nothing describes the place.
    value : int
        What is written, or was answered. Before a read it is not known: then it is what is stored.
    fields : str
        The value's fields, ``"EN=1 RATE=3"``.
    stored : int or None
        What the device stored at the place when it was stopped; None where it cannot be looked at.
    stored_fields : str
        Its fields.
    status : int
        HRESULT, signed, behind the answer.
    source, file, line : str, str, int
        The driver's line, where it is known.
    posted : bool
        A write that the guest does not wait for: it has gone on.
    is_inside : bool
        A device's own access, or a step of its life: the device is inside its callback and cannot be reloaded or poked.
    error : str
        Why its condition could not be asked; then it stops for that.
    """

    ticket: int
    breakpoint: int
    reason: str
    phase: str
    row: int
    kind: str
    origin: str
    device: str
    place: str
    action: str
    bar: int
    address: int
    size: int
    register: str
    value: int
    fields: str = ""
    stored: int | None = None
    stored_fields: str = ""
    status: int = 0
    source: str = ""
    file: str = ""
    line: int = 0
    posted: bool = False
    is_inside: bool = False
    error: str = ""
    trace: Trace | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "trace"}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], trace: Trace | None = None) -> Stop:
        """What :meth:`to_dict` wrote."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known and name != "trace"}, trace=trace)

    @property
    def where(self) -> str:
        """Which breakpoint, or that it is a step."""
        return f"breakpoint {self.breakpoint}" if self.breakpoint else "a step"

    @property
    def short(self) -> str:
        """One line: ``breakpoint 1: blink.CTRL write 0x3, before the device``."""
        behind = f", {self.phase} the device" if self.kind in _ANSWERED else ""
        return f"{self.where}: {self.action}{behind}"

    def frame(self, rows: int = LAST_ROWS) -> Rows:
        """The last rows up to this one, decoded.

        Raises
        ------
        StateError
            It was read from a description, without a trace.
        """
        if self.trace is None:
            raise StateError("this stop has no trace with it; lab.trace.frame(decode=True) has the rows")
        end = len(self.trace) if self.row < 0 else self.row + 1
        frame = self.trace[max(0, end - rows) : end].frame(decode=True)
        return frame[[name for name in _COLUMNS if name in frame.columns]]

    @property
    def actions(self) -> tuple[str, ...]:
        """What can be done with it."""
        if self.kind not in _ANSWERED and self.kind not in ("dma_read", "dma_write", "interrupt"):
            return ("continue", "step") + (("skip",) if self.kind == "doorbell" else ())
        does = ["continue", "step"]
        if not self.kind.startswith("dma") or self.size <= 8:
            does.append("override")
        if self.phase == "before":
            does.append("skip")
        elif self.kind in _ANSWERED:
            does.append("retry")
        return tuple(does)

    def _lines(self) -> list[tuple[str, str]]:
        row = f"row {self.row:,}" if self.row >= 0 else "no row: recording is paused"
        lines = [("held at", f"{self.short} ({row})")]
        if self.breakpoint:
            lines.append(("because", self.reason))
        if self.error:
            lines.append(("condition", f"failed, so it stopped: {self.error}"))
        is_read = self.kind.endswith("_read")
        if self.fields and not (is_read and self.phase == "before"):
            lines.append(("value", f"{self.value:#x}  {self.fields}"))
        if self.stored is not None:
            lines.append(("stored", f"{self.stored:#x}  {self.stored_fields}".rstrip()))
        if self.status < 0:
            from hdvlab.errors import HResult

            lines.append(("status", HResult.symbol_of(self.status)))
        if self.source:
            lines.append(("driver", f"{self.source}  ({self.file})" if self.file else self.source))
        if self.posted:
            lines.append(("posted", "the guest does not wait for this write and has gone on; "
                                    "boot with --no-posted-writes to stop it here"))  # fmt: skip
        if self.is_inside:
            lines.append(("inside", f"{self.device or 'the device'} is in its own callback: it can be looked at, "
                                    "not reloaded or poked"))  # fmt: skip
        lines.append(("next", " | ".join(f"%hdv {_USES.get(action, action)}" for action in self.actions)))
        return lines

    def __repr__(self) -> str:
        lines = self._lines()
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th style="text-align:left;vertical-align:top">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in self._lines()
        )
        rows = ""
        if self.trace is not None:
            rows = self.frame()._repr_html_() or ""
        return f"<table>{cells}</table>{rows}"


_ANSWERED = ("mmio_read", "mmio_write", "config_read", "config_write", "doorbell")
_USES = {"override": "override VALUE"}
