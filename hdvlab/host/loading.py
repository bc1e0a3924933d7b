"""Devices and guest programs out of what a client sends: a module's name, source texts, or a compiled file.

Source is run as a module of its own would be: with the lines and file names that it has in the notebook, so that
tracebacks show the cell.
"""

from __future__ import annotations

import importlib
import linecache
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hdvlab.device import CompiledDevice, Device
from hdvlab.errors import DeviceError, UsageError
from hdvlab.host.pieces import Program, execute

if TYPE_CHECKING:
    from hdvlab.host.process import Host

#: Modules that were imported for a client, with the state of their file then.
_imported: dict[str, tuple[int, int]] = {}


def load_device(host: Host, told: dict[str, Any]) -> type[Device] | CompiledDevice:
    """The class, or the compiled device, that a client means.

    Raises
    ------
    DeviceError
        Its code failed; the message has the traceback.
    UsageError
        It is no device.
    """
    if told.get("kind") == "compiled":
        return _compiled(host, str(told["path"]))
    found = _load(host, told)
    if not isinstance(found, type) or not issubclass(found, Device):
        raise UsageError(f"{told.get('name')} is no device in the host; derive it from hdvlab.Device")
    return found


def load_function(host: Host, told: dict[str, Any]) -> Callable[..., Any]:
    """The guest program that a client means."""
    found = _load(host, told)
    if not callable(found):
        raise UsageError(f"{told.get('name')} is no function in the host")
    return found  # type: ignore[no-any-return]


def _load(host: Host, told: dict[str, Any]) -> Any:
    kind, name = told.get("kind"), str(told.get("name"))
    try:
        if kind == "module":
            return _from_module(name, told.get("path"))
        if kind == "source":
            return execute(Program.from_dict(told["program"]))[name]
    except (Exception, SystemExit) as error:
        raise DeviceError(f"{name} could not be made in the host\n{_own_traceback(error)}") from error
    raise UsageError(f"a device comes as a module, as source or compiled, not as {kind!r}")


def _own_traceback(error: BaseException) -> str:
    """The traceback from the author's own code on."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("hdvlab.host."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _from_module(name: str, path: str | None) -> Any:
    module_name, _, qualname = name.partition(":")
    if path and path not in sys.path:
        sys.path.append(path)
        importlib.invalidate_caches()
    module = sys.modules.get(module_name)
    if module is None:
        module = importlib.import_module(module_name)
        _imported[module_name] = _state_of(module)
    elif not module_name.startswith("hdvlab.") and _state_of(module) != _imported.get(module_name, _state_of(module)):
        linecache.checkcache()
        module = importlib.reload(module)
        _imported[module_name] = _state_of(module)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _state_of(module: ModuleType) -> tuple[int, int]:
    try:
        status = Path(str(module.__file__)).stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _compiled(host: Host, path: str) -> CompiledDevice:
    """A compiled device from a copy of its file: the client's may be gone tomorrow, or be written over."""
    source = Path(path)
    if not source.is_file():
        raise UsageError(f"{path} is not there")
    home = Path(tempfile.mkdtemp(prefix="device-", dir=host.record.directory))
    return CompiledDevice(shutil.copy2(source, home / source.name))
