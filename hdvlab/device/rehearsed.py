"""What came out of a rehearsal, as data that shows itself."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hdvlab.device.stage import Effect
from hdvlab.errors import HResult


@dataclass(frozen=True)
class RegisterChange:
    """A register's stored value before and after, with its fields as text."""

    bar: int
    name: str
    before: int
    after: int
    fields_before: str = ""
    fields_after: str = ""

    def __str__(self) -> str:
        return f"{_value(self.before, self.fields_before)} → {_value(self.after, self.fields_after)}"


@dataclass(frozen=True)
class AttributeChange:
    """An attribute of the device's before and after, as text; "" where there is none."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{_short(self.before) or 'none'} → {_short(self.after) or 'gone'}"


@dataclass(frozen=True)
class Rehearsal:
    """What an access would do.

    Attributes
    ----------
    device : str
        Its name.
    bar, offset, size : int
        The place.
    value : int or None
        What would be written; None for a read.
    answer : int
        What a read would be answered; all ones where it fails.
    hresult : int
        How it would end, signed.
    registers : tuple of RegisterChange
        Those whose stored value would be another, the one accessed among them.
    effects : tuple of Effect
        DMA, interrupts, timers and so on, in their order.
    attributes : tuple of AttributeChange
        What else the device would keep.
    faults : tuple of (operation, message, traceback)
        What its code would raise.
    notes : tuple of str
        What else there is to say.
    place, fields : str
        What the place is called, and the fields of the answer or of what is written, where that is known.
    """

    device: str
    bar: int
    offset: int
    size: int
    value: int | None
    answer: int
    hresult: int = 0
    registers: tuple[RegisterChange, ...] = ()
    effects: tuple[Effect, ...] = ()
    attributes: tuple[AttributeChange, ...] = ()
    faults: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    place: str = ""
    fields: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it is a write."""
        return self.value is not None

    @property
    def changes(self) -> bool:
        """Whether the access would leave anything different, in the device or around it."""
        return bool(self.registers or self.effects or self.attributes or self.faults)

    def _lines(self) -> list[tuple[str, str]]:
        lines = []
        if self.value is None:
            lines.append(("answer", _value(self.answer, self.fields)))
        if self.hresult:
            lines.append(("status", HResult.symbol_of(self.hresult)))
        lines += [(one.name, str(one)) for one in self.registers]
        lines += [(one.kind, _effect(one)) for one in self.effects]
        lines += [(f"self.{one.name}", str(one)) for one in self.attributes]
        lines += [("fault", f"{operation}: {message}") for operation, message, _ in self.faults]
        lines += [("note", text) for text in self.notes]
        if not self.changes and not self.notes:
            lines.append(("", "no effect besides"))
        return lines

    @property
    def heading(self) -> str:
        """The access in a few words."""
        place = self.place or f"bar{self.bar}+{self.offset:#x}"
        if self.value is None:
            return f"a read of {self.device}.{place} would do this; nothing has changed"
        written = _value(self.value, self.fields)
        return f"writing {written} to {self.device}.{place} would do this; nothing has changed"

    def __repr__(self) -> str:
        lines = self._lines()
        width = max(len(name) for name, _ in lines)
        return "\n".join([self.heading, *(f"  {name:<{width}}  {text}" for name, text in lines)])

    def _repr_html_(self) -> str:
        def cell(tag: str, text: str) -> str:
            return f'<{tag} style="text-align:left;vertical-align:top">{html.escape(text)}</{tag}>'

        rows = "".join(f"<tr>{cell('th', name)}{cell('td', text)}</tr>" for name, text in self._lines())
        return f"<div><p>{html.escape(self.heading)}</p><table>{rows}</table></div>"

    def to_dict(self) -> dict[str, Any]:
        """A JSON form that :meth:`from_dict` reads back."""
        told = asdict(self)
        told["effects"] = [asdict(one) | {"data": base64.b64encode(one.data).decode()} for one in self.effects]
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Rehearsal:
        """The rehearsal that :meth:`to_dict` wrote."""
        effects = tuple(Effect(**{**one, "data": base64.b64decode(one["data"])}) for one in told["effects"])
        faults = tuple((operation, message, text) for operation, message, text in told["faults"])
        made = {
            "registers": tuple(RegisterChange(**one) for one in told["registers"]),
            "attributes": tuple(AttributeChange(**one) for one in told["attributes"]),
            "effects": effects, "faults": faults, "notes": tuple(told["notes"]),
        }  # fmt: skip
        return cls(**{**told, **made})


def _value(number: int, fields: str) -> str:
    return f"{number:#x} ({fields})" if fields else f"{number:#x}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _effect(effect: Effect) -> str:
    where = "" if effect.address is None else f"{effect.address:#x}: "
    if not effect.kind.startswith("dma"):
        return f"{where}{effect.text}"
    shown = effect.data[:16].hex(" ")
    more = f" … {len(effect.data) - 16:,} more" if len(effect.data) > 16 else ""
    return f"{where}{effect.text}: {shown}{more}"
