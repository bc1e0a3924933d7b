"""The code of a device or a guest program, as it goes to a host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hdvlab.device import CompiledDevice, Device
from hdvlab.errors import UsageError


def describe_code(what: Any) -> dict[str, Any]:
    """A class, a function or a compiled device, in JSON."""
    if isinstance(what, CompiledDevice):
        return {"kind": "compiled", "path": str(what.path.resolve())}
    if isinstance(what, Device):
        name = type(what).__name__
        raise UsageError(f"a device host makes its devices itself; plug the class: {name}, not {name}()")
    module = sys.modules.get(what.__module__)
    if what.__module__ != "__main__" and module is not None:
        return {"kind": "module", "name": f"{what.__module__}:{what.__qualname__}", "path": _root(module)}
    raise UsageError("not yet")


def _root(module: Any) -> str | None:
    """The directory that an import finds a module in."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    depth = module.__name__.count(".") + (1 if Path(file).name == "__init__.py" else 0)
    return str(Path(file).resolve().parents[depth])
