"""The machine's power, and the host itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdvlab.host.requests import request

if TYPE_CHECKING:
    from hdvlab.host.call import Call
    from hdvlab.host.process import Host


@request
def start(host: Host, call: Call) -> None:
    """Power on."""
    try:
        host.lab.start()
    finally:
        host.changed()


@request
def stop(host: Host, call: Call) -> None:
    """Power off."""
    try:
        host.lab.stop()
    finally:
        host.changed()


@request
def shut_down(host: Host, call: Call) -> None:
    """End the host: power off, end the recording, leave log and trace."""
    host.end("a client asked for it")
