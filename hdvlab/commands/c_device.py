"""Devices in C: out of a shared object, out of a source file, out of a cell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hdvlab.errors import UsageError

if TYPE_CHECKING:
    from hdvlab.device import CompiledDevice
    from hdvlab.device.compiler import Compiled
    from hdvlab.lab import AnyLab, Plugged


def is_c_device(path: Path) -> bool:
    """Whether a file is a compiled device, or a source of one."""
    from hdvlab.device.compiler import SOURCES
    from hdvlab.device.shared_object import is_shared_object

    path = path.expanduser()
    return path.suffix in SOURCES or is_shared_object(path)


def open_device(path: Path, *, cc: str | None = None, flags: Sequence[str] = ()) -> CompiledDevice:
    """A device from a shared object, or from a source file, which is compiled first.

    What the compiler warned of is on stderr.
    """
    from hdvlab.device import CompiledDevice
    from hdvlab.device.compiler import SOURCES, compile_file

    path = path.expanduser()
    return _made(compile_file(path, cc=cc, flags=flags)) if path.suffix in SOURCES else CompiledDevice(path)


def _made(compiled: Compiled) -> CompiledDevice:
    from hdvlab.device import CompiledDevice

    if compiled.warnings:
        print(compiled.warnings, file=sys.stderr)
    device = CompiledDevice(compiled.library)
    device.compiled = compiled
    return device


def load_device(
    lab: AnyLab, path: str | Path, *, name: str | None = None, slot: int | None = None, config: Sequence[str] = ()
) -> Plugged:
    """Plug in a device that was compiled against ``hdvlab_device.h``, or a source of one, which is compiled first.

    Parameters
    ----------
    lab : Lab
        Where.
    path : path
        A shared object, or a ``.c``, ``.cc``, ``.cpp`` or ``.cxx`` file.
    name, slot, config
        As for :func:`hdvlab.commands.plug`; the name that the device gives itself when none is given.

    Raises
    ------
    CompileError
        The compiler's lines.
    DeviceError
        It is no device, or cannot be loaded; the message says what to do.
    """
    from hdvlab.commands.plugging import check_settings

    check_settings(config)
    return lab.plug(open_device(Path(path)), name=name, slot=slot, configuration=config)


def c(
    lab: AnyLab,
    source: str,
    *,
    name: str | None = None,
    slot: int | None = None,
    config: Sequence[str] = (),
    cc: str | None = None,
    flags: Sequence[str] = (),
) -> Plugged:
    """Compile a C source text with the system's compiler and plug the device in.

    A device that already has the name gives its place up; its code is unloaded once it has had its Teardown.

    Parameters
    ----------
    lab : Lab
        Where.
    source : str
        The text; lines in the compiler's messages are counted from its first.
    cc : str, optional
        The compiler; ``$CC``, cc, gcc or clang when not given.
    flags : sequence of str
        More for it, such as ``-O3`` or ``-lm``.
    name, slot, config
        As for :func:`load_device`.
    """
    from hdvlab.commands.plugging import check_settings
    from hdvlab.device.compiler import compile_source

    if not source.strip():
        raise UsageError("there is no source; put the device's C code below")
    check_settings(config)
    device = _made(compile_source(source, name or "cell", cc=cc, flags=flags))
    return lab.plug(device, name=name, slot=slot, configuration=config)
