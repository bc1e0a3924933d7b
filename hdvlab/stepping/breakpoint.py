"""A breakpoint, tracepoint or trigger as data: what was asked for, and how it stands."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.stepping.hit import Hit

#: Most accesses that can be counted: rows of a trace are signed 64-bit numbers.
MOST = (1 << 63) - 1


@dataclass
class Request:
    """What a person asked for.

    Attributes
    ----------
    where : str
        See :mod:`hdvlab.stepping.place`.
    access : {"r", "w", "rw"}, optional
        Only reads, or only writes.
    when : str or callable, optional
        A condition, see :mod:`hdvlab.stepping.condition`; functions only where the devices are in this process.
    device, kind : str, optional
        Only this device; only rows of this kind, or group of kinds.
    changed : bool
        Only where the value differs from the last one at that address (for a field: the field's).
    ignore : int
        Accesses that match to let pass first.
    once : bool
        Gone after the first.
    after : bool
        Behind the device's answer instead of before it. Where a value is asked for, or logged, reads are met behind it
        anyway: they have one only then.
    log : str, optional
        A tracepoint: print this, as an f-string, and put it into the trace; nobody is stopped.
    record : {"start", "stop"}, optional
        A trigger: recording goes on, or pauses, from here on; nobody is stopped.
    keep : (int, int), optional
        A trigger: keep so many rows before and behind it as a named run; nobody is stopped.
    hidden : bool
        Made for one step; in no list.
    """

    where: str = ""
    access: str | None = None
    when: str | Callable[[Hit], Any] | None = None
    device: str | None = None
    kind: str | None = None
    changed: bool = False
    ignore: int = 0
    once: bool = False
    after: bool = False
    log: str | None = None
    record: str | None = None
    keep: tuple[int, int] | None = None
    hidden: bool = False

    def __post_init__(self) -> None:
        if not (self.where or self.kind or self.device):
            raise UsageError("a breakpoint needs a place: CTRL, CTRL.EN==1, bar0+0x10, config+0x4, dma, interrupt")
        if self.record not in (None, "start", "stop"):
            raise UsageError(f"record is 'start' or 'stop', not {self.record!r}")
        if isinstance(self.ignore, bool) or not isinstance(self.ignore, int) or not 0 <= self.ignore <= MOST:
            raise UsageError(f"ignore is how many accesses to let pass, 0 or more, not {self.ignore!r}")
        if self.keep is not None:
            self.keep = _kept(self.keep)
        if self.log is not None and self.is_trigger:
            raise UsageError("a breakpoint logs, or it is a trigger; set two")

    @property
    def is_trigger(self) -> bool:
        """Whether it starts, stops or keeps a recording."""
        return self.record is not None or self.keep is not None

    @property
    def stops(self) -> bool:
        """Whether it stops anybody."""
        return self.log is None and not self.is_trigger

    @property
    def text(self) -> str:
        """What was asked for, in one line."""
        parts = [self.where or self.kind or self.device or ""]
        if self.where and self.kind:
            parts.append(self.kind)
        if self.device and self.where and not self.where.startswith(f"{self.device}."):
            parts.append(f"of {self.device}")
        parts += [{"r": "reads", "w": "writes"}[self.access]] if self.access in ("r", "w") else []
        parts += [word for word, wanted in (("changed", self.changed), ("after", self.after), ("once", self.once))
                  if wanted]  # fmt: skip
        if self.when is not None:
            shown = self.when if isinstance(self.when, str) else getattr(self.when, "__name__", repr(self.when))
            parts.append(f"when {shown}")
        if self.ignore:
            parts.append(f"ignore {self.ignore:,}")
        if self.log is not None:
            parts.append(f"log {self.log!r}")
        if self.record is not None:
            parts.append(f"record {self.record}")
        if self.keep is not None:
            parts.append(f"keep {self.keep[0]:,} before and {self.keep[1]:,} after")
        return " ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back.

        Raises
        ------
        UsageError
            Its condition is a function, which JSON cannot carry.
        """
        if self.when is not None and not isinstance(self.when, str):
            raise UsageError(
                "the devices are in another process, where this function is not; write the condition as text: "
                "when='value & 1'"
            )
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return told | {"keep": None if self.keep is None else list(self.keep)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Request:
        """What :meth:`to_dict` wrote."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


def _kept(keep: Sequence[int]) -> tuple[int, int]:
    try:
        before, after = (int(rows) for rows in keep)
    except (TypeError, ValueError, OverflowError):
        before = after = -1
    if not (0 <= before <= MOST // 4 and 0 <= after <= MOST // 4):
        raise UsageError(f"keep is (rows before, rows after), such as (100, 100), not {keep!r}")
    return before, after


class Owner(Protocol):
    """Who can change a breakpoint: the lab's stepper."""

    def remove(self, number: int) -> None: ...
    def set_enabled(self, number: int, enabled: bool) -> None: ...


@dataclass
class Breakpoint:
    """One that is set. ``hits`` counts accesses that matched, ``stops`` those that were held.

    ``note`` says why it is not armed, or what failed: a register that is gone, a device that is not plugged in.
    """

    number: int
    request: Request
    hits: int = 0
    stops: int = 0
    enabled: bool = True
    note: str = ""
    _owner: Owner | None = field(default=None, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """``breakpoint``, ``tracepoint`` or ``trigger``."""
        return "breakpoint" if self.request.stops else "tracepoint" if self.request.log is not None else "trigger"

    @property
    def text(self) -> str:
        """What was asked for."""
        return self.request.text

    def remove(self) -> None:
        """Take it out; what it holds stays held."""
        self._owned().remove(self.number)

    def disable(self) -> None:
        """Keep it, but have it match nothing."""
        self._owned().set_enabled(self.number, False)

    def enable(self) -> None:
        """Have it match again."""
        self._owned().set_enabled(self.number, True)

    def _owned(self) -> Owner:
        if self._owner is None:
            raise UsageError(f"breakpoint {self.number} is only a description")
        return self._owner

    @property
    def state(self) -> str:
        """How it stands, in few words."""
        counts = f"{self.hits:,} hit{'' if self.hits == 1 else 's'}"
        if self.request.stops:
            counts += f", {self.stops:,} stop{'' if self.stops == 1 else 's'}"
        return "; ".join(word for word in ("" if self.enabled else "off", counts, self.note) if word)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        return {
            "number": self.number, "request": self.request.to_dict(), "hits": self.hits, "stops": self.stops,
            "enabled": self.enabled, "note": self.note,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], owner: Owner | None = None) -> Breakpoint:
        """What :meth:`to_dict` wrote."""
        rest = {name: value for name, value in data.items() if name != "request"}
        return cls(request=Request.from_dict(data["request"]), _owner=owner, **rest)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.number}: {self.text}; {self.state}>"


class Breakpoints:
    """Those that are set: iterable, ``[number]``, ``len``; shows itself as a table.

    ``read`` gives them as they stand now.
    """

    def __init__(
        self,
        read: Callable[[], list[Breakpoint]],
        remove: Callable[[int], None],
        remove_hidden: Callable[[], None] = lambda: None,
    ) -> None:
        self._read = read
        self._remove = remove
        self._remove_hidden = remove_hidden

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __getitem__(self, number: int) -> Breakpoint:
        known = self._read()
        for one in known:
            if one.number == number:
                return one
        there = ", ".join(str(one.number) for one in known) or "none"
        raise UsageError(f"there is no breakpoint {number}; there is {there}")

    def clear(self) -> None:
        """Take all out; what they hold stays held."""
        for one in self._read():
            self._remove(one.number)
        self._remove_hidden()

    def rows(self) -> list[tuple[str, str, str, str]]:
        """What a table shows: number, what it is, what was asked for, how it stands."""
        return [(str(one.number), one.kind, one.text, one.state) for one in self._read()]

    def __repr__(self) -> str:
        rows = self.rows()
        if not rows:
            return "no breakpoints; %hdv break CTRL sets one"
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{row[0]:>{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}".rstrip() for row in rows
        )

    def _repr_html_(self) -> str:
        rows = self.rows()
        if not rows:
            return f"<p>{html.escape(repr(self))}</p>"
        cells = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row) + "</tr>"
            for row in rows
        )
        return f"<table><tr><th></th><th></th><th>where and when</th><th>state</th></tr>{cells}</table>"
