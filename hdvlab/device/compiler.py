"""C sources to shared objects, with the system's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from hdvlab._core.where import compile_flags, link_flags
from hdvlab.errors import BackendUnavailableError, DeviceError, UsageError

COMPILERS = ("cc", "gcc", "clang")
SOURCES = (".c", ".cc", ".cpp", ".cxx")
FLAGS = ("-shared", "-fPIC", "-O1", "-g", "-Wall")


class CompileError(DeviceError):
    """The compiler refused a source; the message is what it said, line by line."""


def find_compiler(name: str | None = None) -> str:
    """The compiler ``name``, else ``$CC``, else the first of :data:`COMPILERS` that is there.

    Raises
    ------
    BackendUnavailableError
        There is none; the message says what to install.
    """
    wanted = name or os.environ.get("CC")
    for one in (wanted,) if wanted else COMPILERS:
        if shutil.which(one):
            return one
    missing = f"no compiler {wanted} here" if wanted else "no C compiler here"
    raise BackendUnavailableError(f"{missing}; install one (Debian, Ubuntu: apt install gcc; Fedora: dnf install gcc)")


class Compiled:
    """A compiled source.

    Attributes
    ----------
    library : Path
        The shared object, in a temporary folder that goes with this object; the source stands beside it.
    warnings : str
        What the compiler said all the same.
    """

    def __init__(self, library: Path, warnings: str) -> None:
        self.library = library
        self.warnings = warnings
        weakref.finalize(self, shutil.rmtree, library.parent, ignore_errors=True)


def compile_source(
    text: str, name: str = "cell", *, ending: str = ".c", cc: str | None = None, flags: Sequence[str] = ()
) -> Compiled:
    """Compile a source text into a shared object, against hdvlab's headers.

    Parameters
    ----------
    text : str
        The source.
    name : str
        What the compiler's messages call it, with ``ending`` behind it.
    cc : str, optional
        Compiler; see :func:`find_compiler`.
    flags : sequence of str
        More for it.

    Raises
    ------
    CompileError
        The compiler's lines.
    BackendUnavailableError
        There is no compiler.
    """
    folder = Path(tempfile.mkdtemp(prefix="hdvlab-c-"))
    source = folder / f"{name}{ending}"
    source.write_text(text, encoding="utf-8")
    return _compile(source, folder, cc, flags)


def compile_file(path: Path, *, cc: str | None = None, flags: Sequence[str] = ()) -> Compiled:
    """Compile a source file as :func:`compile_source` does a text; it is compiled where it is, for its own headers."""
    if not path.is_file():
        raise UsageError(f"no file {path}; check the path")
    return _compile(path, Path(tempfile.mkdtemp(prefix="hdvlab-c-")), cc, flags)


def _compile(source: Path, folder: Path, cc: str | None, flags: Sequence[str]) -> Compiled:
    compiled = Compiled(folder / f"{source.stem}.so", "")
    compiler, library = find_compiler(cc), compiled.library
    command = [compiler, *FLAGS, *compile_flags(), source.name, *flags, *link_flags(), "-pthread", "-o", str(library)]
    done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, errors="replace", check=False)
    said = done.stderr.strip()
    if done.returncode:
        raise CompileError(f"{compiler} refused {source.name}:\n{said or f'exit code {done.returncode}'}")
    compiled.warnings = said
    return compiled
