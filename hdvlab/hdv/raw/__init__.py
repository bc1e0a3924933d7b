"""HDV under its own names, for whoever reads Microsoft's pages: same names, same order of arguments.

What differs from C, and nothing else does:

* An out parameter is the return value. The count of an array that is passed in is its own length.
* A failed HRESULT is raised as an :class:`hdvlab.errors.HdvError` that carries it (``.hresult``, ``.symbol``).
* GUIDs are :class:`uuid.UUID`, strings ``str``, bytes ``bytes``; events and sections are file descriptors, or objects
  with a ``fileno()``. Where a handle is asked for, an object that has one in ``.handle`` will do.
* A device's ten callbacks are Python callables in a :class:`HDV_PCI_DEVICE_INTERFACE`.

:class:`hdvlab.Device` is the comfortable way to write a device; this is the literal one.
"""

# ruff: noqa: F403 - each module lists its names

from hdvlab.hdv.raw import doorbell, host, interface, memory, section, types
from hdvlab.hdv.raw.doorbell import *
from hdvlab.hdv.raw.host import *
from hdvlab.hdv.raw.interface import *
from hdvlab.hdv.raw.memory import *
from hdvlab.hdv.raw.section import *
from hdvlab.hdv.raw.types import *

__all__: list[str] = []
__all__ += doorbell.__all__
__all__ += host.__all__
__all__ += interface.__all__
__all__ += memory.__all__
__all__ += section.__all__
__all__ += types.__all__
