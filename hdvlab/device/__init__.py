"""What a device author uses: :class:`Device`, and the registers and capabilities it is described with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdvlab.device.device import Device
from hdvlab.device.fault import Fault
from hdvlab.device.interrupt import InterruptState
from hdvlab.device.pluggable import CannotPeekError, Pluggable
from hdvlab.device.remote import RemoteDevice, serve
from hdvlab.device.work import current_cause, set_cause

if TYPE_CHECKING:
    from hdvlab.device.compiled import CompiledDevice

__all__ = [
    "CannotPeekError",
    "CompiledDevice",
    "Device",
    "Fault",
    "InterruptState",
    "Pluggable",
    "RemoteDevice",
    "current_cause",
    "serve",
    "set_cause",
]


def __getattr__(name: str) -> Any:
    """What loads and compiles C comes when it is asked for."""
    if name != "CompiledDevice":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hdvlab.device.compiled import CompiledDevice

    return CompiledDevice
