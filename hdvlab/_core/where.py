"""Where the headers and the library are, in a wheel and in an editable install: what a C compiler is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path

LIBRARY = "vmdevicehost"


def include_folder() -> Path:
    """The folder of the headers."""
    return Path(__file__).resolve().parent / "include"


def library_folder() -> Path:
    """The folder of the library: beside the extension, which an editable install keeps elsewhere.

    Raises
    ------
    ImportError
        The library was not built.
    """
    spec = importlib.util.find_spec("hdvlab._core._native")
    if spec is None or spec.origin is None:
        raise ImportError("hdvlab's compiled library is missing; install the package: pip install -e .")
    return Path(spec.origin).resolve().parent


def compile_flags() -> list[str]:
    """For the compiler, before the sources."""
    return [f"-I{include_folder()}"]


def link_flags() -> list[str]:
    """For the compiler, behind the sources: what it links finds the library again when it runs."""
    folder = library_folder()
    return [f"-L{folder}", f"-l{LIBRARY}", f"-Wl,-rpath,{folder}"]
