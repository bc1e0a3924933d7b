"""``hdvlab doctor``: what is here, what is missing, and how to get it.

Imports nothing of hdvlab that needs the compiled library, because that may be what is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ENOUGH_SPACE = 1 << 30
_INSTALL = "pip install -e '.[notebooks]' in hdvlab's folder"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked for, what was found, and what to do where ``state`` is not ``ok``.

    ``state`` is ``ok``, ``missing`` (nothing works without it), ``absent`` (something works less well) or ``note``.
    """

    what: str
    state: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything."""
    return [
        _python(),
        _system(),
        _library(),
        _compiler(),
        _clock(),
        _space(),
        *_packages(),
        _kernel(),
        *_vm(),
        _hyperv(),
    ]


def _python() -> Finding:
    found = f"{platform.python_version()}, {sys.executable}"
    if _parts(platform.python_version()) < (3, 11):
        return Finding("Python", "missing", found, "hdvlab needs Python 3.11 or later")
    return Finding("Python", "ok", found)


def _system() -> Finding:
    found = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if platform.system() != "Linux":
        return Finding("system", "missing", found, "the machine in this process needs Linux")
    return Finding("system", "ok", found)


def _library() -> Finding:
    try:
        native = importlib.import_module("hdvlab._core._native")
    except ImportError as error:
        where = sorted(Path(__file__).parent.glob("_core/_native*.so"))
        found = f"cannot be loaded: {error}" if where else "not built"
        return Finding("compiled library", "missing", found, f"{_INSTALL}; this needs a C compiler")
    return Finding("compiled library", "ok", str(native.__file__))


def _compiler() -> Finding:
    wanted = [os.environ.get("CC", "").split(" ")[0], "cc", "gcc", "clang"]
    found = next((path for name in wanted if name and (path := shutil.which(name))), None)
    if found is None:
        return Finding("C compiler", "absent", "none", "needed to build hdvlab: apt install gcc, or dnf install gcc")
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.exists():
        return Finding("C compiler", "absent", f"{found}, but no Python.h", "apt install python3-dev")
    return Finding("C compiler", "ok", found)


def _clock() -> Finding:
    try:
        from hdvlab.trace.recorder import Recorder

        with Recorder.create() as recorder:
            name = str(recorder.tables.facts.get("clock", "unknown"))
    except Exception as error:
        return Finding("clock of traces", "missing", f"a trace cannot be recorded: {error}", "see the lines above")
    if name == "tsc":
        return Finding("clock of traces", "ok", "invariant TSC")
    return Finding("clock of traces", "note", f"CLOCK_{name.upper()}", "no invariant TSC here; rows cost a little more")


def _space() -> Finding:
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    found = f"{free / (1 << 30):.1f} GiB free in {place}"
    if free < _ENOUGH_SPACE:
        return Finding("space for traces", "note", found, "a million rows take 60 MB; set TMPDIR to a roomier place")
    return Finding("space for traces", "ok", found)


def _requirements() -> Iterator[tuple[str, str, str]]:
    """Name, version wanted and extra (empty for what is always needed), as the installed package declares them."""
    try:
        declared = importlib.metadata.requires("hdvlab") or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    for line in declared:
        match = re.match(r"([\w.-]+)\s*([^;\s]*)\s*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?", line)
        if match and match[3] not in ("test", "check"):
            yield match[1], match[2], match[3] or ""


def _packages() -> Iterator[Finding]:
    for name, wanted, extra in _requirements():
        missing = "absent" if extra else "missing"
        advice = f"pip install '{name}{wanted}'"
        if extra:
            advice += f", or hdvlab with [{extra}]"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, missing, f"not installed, {wanted} wanted", advice)
            continue
        if not _is_within(version, wanted):
            yield Finding(name, missing, f"{version}, {wanted} wanted", advice)
        else:
            yield Finding(name, "ok", version)


def _is_within(version: str, wanted: str) -> bool:
    """Whether a version keeps every bound of ``>=1.2,<2``; there is no library for it before all are installed."""
    parts = _parts(version)
    return all((parts < _parts(bound)) == (sign == "<") for sign, bound in re.findall(r"(>=|<)\s*([\d.]+)", wanted))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _kernel() -> Finding:
    advice = f"{sys.executable} -m ipykernel install --sys-prefix"
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        specs = KernelSpecManager().get_all_specs()
    except Exception as error:
        return Finding("Jupyter kernel", "absent", f"cannot be asked for: {error}", advice)
    for name, spec in specs.items():
        command = (json.loads(json.dumps(spec["spec"])).get("argv") or [""])[0]
        if command in ("python", "python3") or Path(command).absolute() == Path(sys.executable).absolute():
            return Finding("Jupyter kernel", "ok", f"{name}, {spec['resource_dir']}")
    found = "none of this Python" + (f", only {', '.join(specs)}" if specs else "")
    return Finding("Jupyter kernel", "absent", found, advice)


def _vm() -> Iterator[Finding]:
    """The parts of a VM; machines in this process need none of them."""
    try:
        from hdvlab.systems.qemu.setup import part_states
    except ImportError as error:
        yield Finding("virtual machine", "note", f"not looked for: {error}", "see the lines above")
        return
    for part in part_states():
        if part.problem:
            yield Finding(part.what, "absent", part.problem, "for %hdv boot: hdvlab vm setup, which boot does too")
        else:
            yield Finding(part.what, "ok", f"{part.version}, {part.place}")


def _hyperv() -> Finding:
    """Nothing needs it, so its absence is only noted."""
    try:
        binding = importlib.import_module("hdvlab.systems.hyperv.binding")
    except ImportError as error:
        return Finding("Hyper-V", "note", f"not looked for: {error}", "see the lines above")
    try:
        binding.NativeLibraries().hdv_functions()
    except Exception:
        found = f"not on this {platform.system()}; only the HyperVMachine is without it"
        return Finding("Hyper-V", "note", found, binding.REQUIREMENTS)
    return Finding("Hyper-V", "ok", "vmdevicehost.dll has HDV's device hosts")


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; 1 if something is missing that nothing works without."""
    findings = examine()
    width = max(len(one.what) for one in findings)
    for one in findings:
        print(f"{one.state:<7} {one.what:<{width}}  {one.found}")
        if one.advice:
            print(f"{'':7} {'':<{width}}  → {one.advice}")
    missing = [one.what for one in findings if one.state == "missing"]
    absent = [one.what for one in findings if one.state == "absent"]
    if missing:
        print(f"\nhdvlab does not work here yet: {', '.join(missing)}")
    elif absent:
        print(f"\nhdvlab works here, without {', '.join(absent)}")
    else:
        print("\nhdvlab works here")
    return 1 if missing else 0
