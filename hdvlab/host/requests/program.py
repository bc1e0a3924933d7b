"""Guest programs: in the host, and what those of a client need of its machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hdvlab.errors import GuestInterrupted, StateError
from hdvlab.host.loading import load_function
from hdvlab.host.requests import request
from hdvlab.host.wire import described_error

if TYPE_CHECKING:
    from hdvlab.guest import RamAllocator, VectorAllocator
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host
    from hdvlab.lab import Run

_SLICE = 0.05


@request
def run(
    host: Host, call: Call, *, driver: dict[str, Any], arguments: list[Any], name: str = "", token: str
) -> dict[str, Any]:
    """Begin a guest program; its number, and the row it begins at."""
    function = load_function(host, driver)
    was_running = host.lab.running
    made = host.lab.run(function, *arguments, wait=False)
    if not was_running:
        host.changed()
    made.name = name or made.name
    number, is_given_up = host.programs.keep(made, token)
    if is_given_up and made.program is not None:
        made.program.stop()
    return {"number": number, "start": made.start, "name": made.name}


@request
def give_up_program(host: Host, call: Call, *, token: str) -> None:
    """Stop a program whose number the client was not told before its stop button was pressed."""
    made = host.programs.give_up(token)
    if made is not None and made.program is not None and made.program.running:
        made.program.stop()


@request
def wait_program(host: Host, call: Call, *, number: int, timeout: float | None = None) -> dict[str, Any]:
    """Wait for a guest program's end; the client's stop button stops the program."""
    made = host.programs[number]
    program = made.program
    assert program is not None
    left = timeout
    while not program.join(_SLICE if left is None else min(_SLICE, left)):
        if call.stopped.is_set():
            program.stop()
            raise GuestInterrupted(f"{program.name} was stopped")
        if left is not None and (left := left - _SLICE) <= 0:
            break
    return _told(number, made)


@request
def stop_program(host: Host, call: Call, *, number: int) -> dict[str, Any]:
    """Stop a guest program."""
    made = host.programs[number]
    assert made.program is not None
    if made.program.running:
        made.program.stop()
    return _told(number, made)


@request
def list_programs(host: Host, call: Call) -> list[dict[str, Any]]:
    """Those that run, and the last that have ended."""
    return [_told(number, made) for number, made in host.programs.items()]


def _told(number: int, made: Run) -> dict[str, Any]:
    program = made.program
    assert program is not None
    told: dict[str, Any] = {
        "number": number, "name": made.name, "start": made.start, "stop": made.stop, "running": program.running,
        "seconds": program.seconds, "function": program.name,
    }  # fmt: skip
    if not program.running:
        told["error"] = None if program.error is None else described_error(program.error)
        told["value"], told["shown"] = _portable(program.value)
    return told


def _portable(value: Any) -> tuple[Any, str]:
    """A value as JSON if it comes back as it is, and how it shows itself."""
    try:
        same = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    try:
        shown = repr(value)
    except Exception as error:  # an author's class, an author's __repr__
        shown = f"<its repr failed: {type(error).__name__}>"
    return (value if same else None), ("" if same else shown)


# ---- programs that run in the client, over this machine -------------------------------------------------------------


def _allocators(host: Host, call: Call, owner: int) -> tuple[RamAllocator, VectorAllocator, object]:
    allocators = host.lab.allocators
    if allocators is None:
        raise StateError("the machine is off; start it: lab.start() or %hdv start")
    return *allocators, call.session.owners.setdefault(owner, object())


@request
def take_memory(host: Host, call: Call, *, size: int, owner: int) -> int:
    """Guest RAM for a client's guest program; its address."""
    ram, _, who = _allocators(host, call, owner)
    return ram.take(size, who)


@request
def take_vectors(host: Host, call: Call, *, count: int, owner: int) -> list[int]:
    """Interrupt vectors for a client's guest program."""
    _, vectors, who = _allocators(host, call, owner)
    return vectors.take(count, who)


@request
def give_back(host: Host, call: Call, *, owner: int) -> None:
    """A client's guest program has ended."""
    who = call.session.owners.pop(owner, None)
    if who is not None and (allocators := host.lab.allocators) is not None:
        for one in allocators:
            one.give_back(who)
