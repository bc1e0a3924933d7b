"""A C source to a static program, and that program run in the guest."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hdvlab.device.compiler import find_compiler
from hdvlab.errors import UsageError
from hdvlab.systems.qemu.agent import Completed
from hdvlab.systems.qemu.agent.binary import FLAGS, compile_static
from hdvlab.systems.qemu.guest_c.transfer import Runner, bring
from hdvlab.systems.qemu.setup.cache import cache_directory

#: The guest library: ``hdvlab_guest.h`` and what is behind it.
LIBRARY = Path(__file__).resolve().parent / "library"
_OPTIONS = ("-Wall", "-s", "-pthread")
#: The cell comes last in the program, with room behind it: when it changes, nothing before it moves, and the guest gets
#: the difference only.
_LAST = ("-Wl,--build-id=none,-z,max-page-size=0x10000",)
_LIBC = ("-Wl,--start-group", "-lc", "-lgcc", "-lgcc_eh", "-Wl,--end-group")
#: Programs that the cache keeps.
_KEPT = 50


@dataclass(frozen=True)
class GuestProgram:
    """A program for the guest.

    Attributes
    ----------
    path : Path
        Here, in the cache.
    warnings : str
        What the compiler said all the same.
    """

    path: Path
    warnings: str = ""


def compile_guest_program(
    source: str, name: str = "cell", *, cc: str | None = None, flags: Sequence[str] = (), cache: Path | None = None
) -> GuestProgram:
    """Compile a C source text, and the guest library with it, into a static program for the guest.

    Parameters
    ----------
    source : str
        With a ``main``; it includes ``hdvlab_guest.h``.
    name : str
        What the compiler's messages call it, with ``.c`` behind it.
    cc : str, optional
        Compiler; see :func:`hdvlab.device.compiler.find_compiler`.
    flags : sequence of str
        More for it.
    cache : Path, optional
        Folder of hdvlab's cache, where the program is found the next time.

    Raises
    ------
    UsageError
        There is no source.
    CompileError
        The compiler's lines; they are counted from the source's first.
    BackendUnavailableError
        There is no compiler, or no static C library.
    """
    if not source.strip():
        raise UsageError("there is no source; put the driver's C code below, with a main")
    compiler = find_compiler(cc)
    parts = [one.read_bytes() for one in sorted(LIBRARY.iterdir()) if one.suffix in (".c", ".h")]
    settings = repr((compiler, FLAGS, _OPTIONS, _LAST, name, tuple(flags))).encode()
    digest = hashlib.sha256(b"\0".join([settings, source.encode(), *parts])).hexdigest()[:16]
    folder = (cache or cache_directory()) / "guest"
    target, said = folder / f"{name}-{digest}", folder / f"{name}-{digest}.warnings"
    if not target.exists() or not said.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            (Path(work) / f"{name}.c").write_text(source, encoding="utf-8")
            sources = [*(str(one) for one in sorted(LIBRARY.glob("*.c"))), *_LIBC, f"{name}.c"]
            made = Path(work) / "program"
            more = [*_OPTIONS, *_LAST, *_in_order(compiler), f"-I{LIBRARY}", *flags]
            (Path(work) / "warnings").write_text(compile_static(compiler, sources, made, Path(work), more))
            (Path(work) / "warnings").replace(said)
            made.replace(target)  # whole or not at all, also when two compile at once
        _thin_out(folder)
    return GuestProgram(target, said.read_text())


@lru_cache
def _in_order(compiler: str) -> tuple[str, ...]:
    """What keeps ``main`` with the rest of the cell: gcc puts it first in the program, clang does not."""
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, errors="replace", check=False)
    return () if "clang" in said.stdout else ("-fno-reorder-functions",)


def run_guest_program(
    agent: Runner,
    program: GuestProgram | Path,
    arguments: Sequence[str] = (),
    *,
    devices: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run a static program in the guest, as root. It is copied there the first time.

    Parameters
    ----------
    agent : Agent, Vm or RemoteVm
        The guest.
    program : GuestProgram or Path
        What :func:`compile_guest_program` made, or any static program.
    arguments : sequence of str
        Of its command line.
    devices : mapping of str to str, optional
        Names that ``hdvlab_open_at`` takes, with where Linux has each device: ``{"edu": "0000:00:03.0"}``.
    stdin, timeout, on_output
        As for :meth:`Agent.run`.

    Raises
    ------
    BackendError
        The guest cannot take it.
    """
    command = guest_command(agent, program, arguments, devices=devices, timeout=timeout)
    return agent.run(command, stdin=stdin, timeout=timeout, on_output=on_output)


def guest_command(
    agent: Runner,
    program: GuestProgram | Path,
    arguments: Sequence[str] = (),
    *,
    devices: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """The shell command that runs a static program in the guest, where it is now; see :func:`run_guest_program`."""
    path = program.path if isinstance(program, GuestProgram) else program
    content = path.read_bytes()
    there = bring(agent, content, timeout=timeout)
    settings = [shlex.quote(f"HDVLAB_DEVICE_{name}={place}") for name, place in (devices or {}).items()]
    command = ["exec", "env", *settings, there, *(shlex.quote(one) for one in arguments)]
    return " ".join(command)


def _thin_out(folder: Path) -> None:
    """Leave the last programs only."""
    programs = [one for one in folder.iterdir() if one.is_file() and one.suffix != ".warnings"]
    for one in sorted(programs, key=lambda program: program.stat().st_mtime)[:-_KEPT]:
        one.unlink(missing_ok=True)
        one.with_name(one.name + ".warnings").unlink(missing_ok=True)
