"""Compilers, the installed library, and the Windows library cross-built from these sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

import hdvlab._core
from hdvlab._core import _native

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "hdvlab/_core"
#: Of the package as it is installed, as an author of a device has them.
INCLUDE = Path(hdvlab._core.__file__).parent / "include"
LIBRARY = Path(_native.__file__).parent / "libvmdevicehost.so"

MINGW = "x86_64-w64-mingw32-"
MINGW_PACKAGE = "gcc-mingw-w64-x86-64-posix"
#: Where Debian puts a wine64 that no package links into the path.
WINE = shutil.which("wine64", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/lib/wine"]))
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def plain_environment() -> dict[str, str]:
    """The environment without what a sanitizer's run preloads."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def needed(tool: str, packages: str) -> str:
    """The tool's path; skips the test, saying what to type, where there is none."""
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is missing: apt-get install {packages}")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What the command prints; fails the test with all of it when the command fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=plain_environment(), cwd=cwd, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def sources() -> list[Path]:
    return sorted(HERE.glob("*.c"))


def build_native(program: Path) -> Path:
    """The C tests, linked to the installed library."""
    compiler = needed("cc", "gcc libc6-dev")
    link = [f"-I{INCLUDE}", LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}", "-pthread"]
    run(compiler, "-std=c11", *WARNINGS, *sources(), *link, "-o", program)
    return program


def build_dll(folder: Path) -> Path:
    """``vmdevicehost.dll``, without a warning."""
    needed("cmake", "cmake make")
    needed(f"{MINGW}gcc", MINGW_PACKAGE)
    run("cmake", "-S", CORE, "-B", folder, f"-DCMAKE_TOOLCHAIN_FILE={CORE / 'mingw.cmake'}", "-DCMAKE_C_FLAGS=-Werror")
    run("cmake", "--build", folder, "--parallel", "2")
    return folder / "vmdevicehost.dll"


def build_for_windows(program: Path, dll: Path) -> Path:
    """The same C tests, linked to the DLL, which must lie beside the program when it runs."""
    compiler = needed(f"{MINGW}gcc", MINGW_PACKAGE)
    run(compiler, "-std=c11", *WARNINGS, *sources(), f"-I{INCLUDE}", dll, "-static", "-pthread", "-o", program)
    return program


def cxx_for_windows() -> list[str]:
    """mingw-w64's own, or clang with its headers."""
    if (found := shutil.which(f"{MINGW}g++")) is not None:
        return [found]
    needed(f"{MINGW}gcc", MINGW_PACKAGE)
    return [needed("clang", "clang"), "--target=x86_64-w64-mingw32"]


class Wine:
    """Runs Windows programs in a Windows of their own, which is deleted in the end."""

    def __init__(self, prefix: Path) -> None:
        if WINE is None:
            pytest.skip("wine64 is missing: apt-get install wine64")
        self.prefix = prefix
        dropped = {"DISPLAY", "WAYLAND_DISPLAY"}
        self.environment = {k: v for k, v in plain_environment().items() if k not in dropped} | {
            "WINEPREFIX": str(prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",  # offer no downloads, write no menus
        }

    def run(self, program: Path, arguments: Iterable[str] = (), timeout: float = 400) -> tuple[int | None, str]:
        """Exit status, ``None`` for a program that did not end in time, and what it printed."""
        command = [str(WINE), str(program), *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, env=self.environment, cwd=program.parent, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            return None, (error.stdout or b"").decode(errors="replace").replace("\r", "")
        return done.returncode, done.stdout.decode(errors="replace").replace("\r", "")

    def close(self) -> None:
        """Ends what serves this Windows (its own server only, by its prefix) and removes it: it is half a gigabyte."""
        for server in ("wineserver", "wineserver64"):
            path = shutil.which(server, path=os.path.dirname(str(WINE)))
            if path is not None:
                subprocess.run([path, "--kill", "--wait"], env=self.environment, capture_output=True, check=False)
                break
        shutil.rmtree(self.prefix, ignore_errors=True)
