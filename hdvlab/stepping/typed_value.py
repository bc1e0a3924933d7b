"""The value that a held access goes on with, as a person types it: a number, or a field of the register."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.registers import RegisterMap
    from hdvlab.stepping.stop import Stop


def parse_value(
    text: str, stop: Stop, maps: Callable[[str], Mapping[int, RegisterMap]], number: Callable[[str], int]
) -> int:
    """``0x1f``, or ``EN=1`` and ``MODE=fast``: the other bits as they are.

    Parameters
    ----------
    text : str
        What was typed.
    stop : Stop
        What is held.
    maps : callable
        The register maps of a device by its name.
    number : callable
        Reads a number; raises UsageError where it is none.
    """
    name, equals, part = (word.strip() for word in text.partition("="))
    if not equals:
        return number(name)
    if not stop.register:
        raise UsageError(f"override {text}: the access is to no register with fields; write a number")
    register = maps(stop.device)[stop.bar][stop.register]
    field = register.fields.get(name)
    if field is None:
        raise UsageError(f"override {text}: {stop.register} has {', '.join(register.fields) or 'no fields'}")
    meanings = {meaning: value for value, meaning in field.meanings.items()}
    return field.insert(stop.value, meanings[part] if part in meanings else number(part))


def check_value(value: int, stop: Stop) -> None:
    """Refuse what does not fit the access that is held.

    Raises
    ------
    UsageError
        It is no number, or too wide; both widths are told.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"override takes a number, not {value!r}")
    size = 4 if stop.kind == "interrupt" else min(stop.size, 8)
    if not 0 <= value < 1 << 8 * size:
        width = f"{size} byte{'s' if size > 1 else ''} wide"
        raise UsageError(f"{stop.place or stop.kind} is {width}; {value:#x} does not fit")
