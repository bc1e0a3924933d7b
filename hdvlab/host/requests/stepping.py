"""Breakpoints and stops. Conditions come as text and are asked here; every client is told of every stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdvlab.errors import UsageError
from hdvlab.host.requests import request
from hdvlab.host.stops import stepping_state
from hdvlab.stepping import Request
from hdvlab.stepping.control import ACTIONS

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host


@request
def stops(host: Host, call: Call) -> dict[str, Any]:
    """What is held and set."""
    return stepping_state(host)


@request
def add_breakpoint(host: Host, call: Call, *, asked: dict[str, Any]) -> dict[str, Any]:
    """Set one."""
    try:
        wanted = Request.from_dict(asked)
    except TypeError as error:
        raise UsageError(f"breakpoint: {error}") from None
    return host.lab.stepper.add(wanted).to_dict()


@request
def remove_breakpoint(host: Host, call: Call, *, number: int) -> None:
    """Take one out; what it holds stays held."""
    host.lab.stepper.remove(number)


@request
def remove_hidden(host: Host, call: Call) -> None:
    """Take out what was made for one step."""
    host.lab.stepper.remove_hidden()


@request
def enable_breakpoint(host: Host, call: Call, *, number: int, enabled: bool) -> None:
    """Have it match, or match nothing."""
    host.lab.stepper.set_enabled(number, enabled)


@request
def release_stop(host: Host, call: Call, *, ticket: int, action: str, value: int = 0) -> dict[str, Any]:
    """Let one go; what is held then."""
    if action not in ACTIONS:
        raise UsageError(f"a stop takes {', '.join(ACTIONS)}, not {action!r:.40}")
    host.lab.stepper.release(ticket, action, value)  # type: ignore[arg-type]  # it is one of them
    return stepping_state(host)


@request
def arm_step(host: Host, call: Call, *, count: int) -> None:
    """Hold the count-th next access."""
    host.lab.stepper.arm(count)


@request
def limit_holds(host: Host, call: Call, *, seconds: float | None) -> None:
    """The longest hold."""
    host.lab.stepper.set_limit(seconds)
