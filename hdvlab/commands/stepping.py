"""Breakpoints, tracepoints and triggers, and what is done with a stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hdvlab.commands.number import parse_number
from hdvlab.commands.text import Text
from hdvlab.errors import UsageError
from hdvlab.stepping import Breakpoint, Breakpoints
from hdvlab.stepping.typed_value import parse_value

if TYPE_CHECKING:
    from hdvlab.lab import AnyLab


def _access(read: bool, write: bool) -> str | None:
    return "r" if read and not write else "w" if write and not read else None


def break_(
    lab: AnyLab,
    location: Sequence[str] = (),
    *,
    read: bool = False,
    write: bool = False,
    when: str | None = None,
    device: str | None = None,
    kind: str | None = None,
    changed: bool = False,
    ignore: int = 0,
    once: bool = False,
    after: bool = False,
) -> Breakpoint:
    """Stop the guest, or a device, at an access; see :meth:`hdvlab.Lab.break_at`."""
    return lab.break_at(
        " ".join(location), _access(read, write), when, device, kind, changed, ignore, once, after,
    )  # fmt: skip


def breaks(lab: AnyLab) -> Breakpoints:
    """Breakpoints, tracepoints and triggers with their counts."""
    return lab.breakpoints


def unbreak(lab: AnyLab, numbers: Sequence[str] = (), *, off: bool = False, on: bool = False) -> Breakpoints:
    """Take breakpoints out, or only switch them off or on.

    Parameters
    ----------
    lab : Lab
        Where.
    numbers : sequence of str
        Which; ``all`` for all.
    off, on : bool
        Keep them, but have them match nothing; have them match again.
    """
    if not numbers:
        raise UsageError("unbreak: say which, such as %hdv unbreak 1, or %hdv unbreak all; %hdv breaks lists them")
    known = lab.breakpoints
    chosen = list(known) if list(numbers) == ["all"] else [known[_number(text)] for text in numbers]
    for one in chosen:
        if off:
            one.disable()
        elif on:
            one.enable()
        else:
            one.remove()
    return lab.breakpoints


def _number(text: str) -> int:
    if not text.isdigit():
        raise UsageError(f"{text} is no breakpoint's number; write 1, or all")
    return int(text)


def log(
    lab: AnyLab,
    location: str,
    message: Sequence[str] = (),
    *,
    read: bool = False,
    write: bool = False,
    when: str | None = None,
    changed: bool = False,
    once: bool = False,
    after: bool = False,
) -> Breakpoint:
    """Set a tracepoint: a message at each access, printed and put into the trace; nobody is stopped.

    Parameters
    ----------
    lab : Lab
        Where.
    location : str
        As for ``break``.
    message : sequence of str
        Words of the message; ``{value:#x}`` and other expressions in braces are replaced.
    read, write, when, changed, once, after
        As for ``break``.
    """
    text = " ".join(message) or "{action}"
    return lab.break_at(location, _access(read, write), when, changed=changed, once=once, after=after, log=text)


def trigger(
    lab: AnyLab,
    location: Sequence[str],
    *,
    record: str | None = None,
    keep: tuple[int, int] | None = None,
    read: bool = False,
    write: bool = False,
    when: str | None = None,
    once: bool = False,
    after: bool = False,
) -> Breakpoint:
    """Have an access start or stop the recording, or keep the rows around it as a named run; nobody is stopped.

    Parameters
    ----------
    lab : Lab
        Where.
    location : sequence of str
        As for ``break``.
    record : {"start", "stop"}, optional
        ``start``: recording pauses now and goes on from the access; ``stop``: it pauses from the access on.
    keep : (int, int), optional
        Rows before and behind it to keep in ``lab.runs``.
    read, write, when, once, after
        As for ``break``.
    """
    if record is None and keep is None:
        keep = (100, 100)
    where = " ".join(location)
    return lab.break_at(where, _access(read, write), when, once=once, after=after, record=record, keep=keep)


# ---- with a stop -----------------------------------------------------------------------------------------------------


def continue_(lab: AnyLab) -> Any:
    """Let what is held go on, and wait for the next stop or the end of the program."""
    if not lab.stops and not lab.stepper.pending:
        return Text("nothing is held; the guest goes on as it is")
    return _told(lab.resume(), "the guest goes on")


def step(lab: AnyLab, count: int = 1) -> Any:
    """Go on until the next access of any kind, of the guest or a device, or the ``count``-th."""
    return _told(lab.step(count), "nothing has made an access yet; the next one stops")


def next_(lab: AnyLab, location: Sequence[str], *, read: bool = False, write: bool = False) -> Any:
    """Go on until the next access to a place."""
    found = lab.next(" ".join(location), access=_access(read, write))
    return _told(found, f"{' '.join(location)} was not accessed; %hdv break waits for longer")


def override(lab: AnyLab, value: str) -> Any:
    """Let the oldest stop go on with another value."""
    return _told(lab.override(_value(lab, value)), "the guest goes on with it")


def _value(lab: AnyLab, text: str) -> int:
    stops = lab.stops
    return parse_value(text, stops[0], lambda name: lab[name].maps, parse_number) if stops else parse_number(text)


def skip(lab: AnyLab) -> Any:
    """Let the oldest stop go on without the device being asked."""
    return _told(lab.skip(), "the guest goes on; the device was not asked")


def retry(lab: AnyLab) -> Any:
    """Have the device serve the access again, with its code as it is now."""
    return _told(lab.retry(), "the guest goes on")


def _told(found: Any, otherwise: str) -> Any:
    return Text(otherwise) if found is None else found
