"""What a host tells its clients of stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdvlab.host.process import Host


def stepping_state(host: Host) -> dict[str, Any]:
    """What is held and set now. ``changes`` counts up, so that a client knows which of two is newer."""
    stepper = host.lab.stepper
    with host.stepping_guard:
        host.stepping_changes += 1
        return {
            "changes": host.stepping_changes,
            "stops": [stop.to_dict() for stop in stepper.read_stops()],
            "breakpoints": [one.to_dict() for one in stepper.list_breakpoints()],
        }


def tell_stops(host: Host) -> None:
    """Something was held, let go, set or taken out: tell every client."""
    if host.clients:
        host.tell({"event": "stops", "state": stepping_state(host)})
