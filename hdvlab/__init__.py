"""hdvlab: write a virtual PCI device in a notebook, drive it, and see every access as a row of a pandas frame.

::

    %load_ext hdvlab            # the %hdv magic; %hdv alone lists what it can do

    from hdvlab import Bar, Device, Lab, Register

The names of ``__all__`` are found when they are first used, so that importing hdvlab is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdvlab import plots
    from hdvlab.commands import current_lab
    from hdvlab.device import Device
    from hdvlab.formats import read_trace
    from hdvlab.lab import Lab
    from hdvlab.pci import MsiCapability, MsixCapability
    from hdvlab.registers import Bar, Field, Register
    from hdvlab.trace.trace import Trace

    __version__: str

__all__ = [
    "Bar",
    "Device",
    "Field",
    "Lab",
    "MsiCapability",
    "MsixCapability",
    "Register",
    "Trace",
    "__version__",
    "current_lab",
    "load_ipython_extension",
    "plots",
    "read_trace",
    "unload_ipython_extension",
]

_HOMES = {
    "Bar": "hdvlab.registers",
    "Device": "hdvlab.device",
    "Field": "hdvlab.registers",
    "Lab": "hdvlab.lab",
    "MsiCapability": "hdvlab.pci",
    "MsixCapability": "hdvlab.pci",
    "Register": "hdvlab.registers",
    "Trace": "hdvlab.trace.trace",
    "current_lab": "hdvlab.commands",
    "read_trace": "hdvlab.formats",
}


def __getattr__(name: str) -> Any:
    value: Any
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name == "plots":
        value = importlib.import_module("hdvlab.plots")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("hdvlab")
    else:
        raise AttributeError(f"module 'hdvlab' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext hdvlab``: the magics ``%hdv`` and ``%%hdv``."""
    # By name: the layers below may import this package, and it would drag the top layer in.
    importlib.import_module("hdvlab.magics").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext hdvlab``: closes the lab of ``%hdv`` and takes the magics away."""
    importlib.import_module("hdvlab.magics").unload(shell)
