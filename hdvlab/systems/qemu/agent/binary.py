"""The agent as a program for the guest: compiled once for each version of its source, static."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hdvlab.device.compiler import CompileError, find_compiler
from hdvlab.errors import BackendUnavailableError
from hdvlab.systems.qemu.setup.cache import cache_directory

FOLDER = Path(__file__).resolve().parent
#: Static: the guest has no libraries.
FLAGS = ("-std=gnu11", "-O2", "-g0", "-static")
_STATIC_LIBC = "Debian, Ubuntu: apt install libc6-dev; Fedora: dnf install glibc-static"


def agent_binary(cache: Path | None = None) -> Path:
    """The agent, compiled by the system's compiler if this source was not compiled before.

    Raises
    ------
    BackendUnavailableError
        There is no compiler, or no static libc; the message says what to install.
    """
    compiler = find_compiler()
    sources = sorted(FOLDER.glob("*.[ch]"))
    digest = hashlib.sha256(repr((compiler, FLAGS)).encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = (cache or cache_directory()) / "agent"
    target = folder / f"agent-{digest.hexdigest()[:16]}"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        made = Path(work) / "agent"
        compile_static(compiler, [one.name for one in sources if one.suffix == ".c"], made, FOLDER)
        made.replace(target)  # whole or not at all, also when two compile at once
    return target


def compile_static(compiler: str, sources: Sequence[str], target: Path, folder: Path, flags: Sequence[str] = ()) -> str:
    """Compile and link a static program; returns the compiler's warnings.

    Raises
    ------
    CompileError
        The compiler's lines.
    BackendUnavailableError
        There is no static libc.
    """
    command = [compiler, *FLAGS, *sources, *flags, "-o", str(target)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    said = done.stderr.strip()
    if done.returncode:
        if "cannot find -lc" in said or "unable to find library -lc" in said:
            raise BackendUnavailableError(f"{compiler} finds no static C library; install one ({_STATIC_LIBC})")
        raise CompileError(f"{compiler} refused {sources[-1]}:\n{said or f'exit code {done.returncode}'}")
    return said
