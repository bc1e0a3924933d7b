"""The device-host process, and its client: a lab that lives on, whatever becomes of the notebook.

::

    lab = hdvlab.host.start("lab1")       # a process of its own; lab is used as a Lab is
    lab.plug(Blink)                       # the class goes there as source
    lab = hdvlab.host.attach("lab1")      # from any other process, later
    hdvlab.host.hosts()                   # which there are
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdvlab.host.finding import attach, hosts, start, stop_host
    from hdvlab.host.remote_lab import RemoteLab

__all__ = ["RemoteLab", "attach", "hosts", "start", "stop_host"]

_HOMES = {
    "RemoteLab": "remote_lab",
    "attach": "finding",
    "hosts": "finding",
    "start": "finding",
    "stop_host": "finding",
}


def __getattr__(name: str) -> Any:
    """What it is made of comes when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
