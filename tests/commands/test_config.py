"""``hdvlab config``: what it says is enough for a compiler, and for the program to run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hdvlab import commands
from hdvlab.device.compiler import find_compiler
from hdvlab.errors import UsageError

from ..c.building import needed

PROGRAM = r"""
#include <hdvlab.h>
#include <stdio.h>

int main(void) {
    HCS_SYSTEM system;
    HDV_HOST host;
    if (hdvlab_embedded_create(1 << 20, 0, NULL, &system) != S_OK || HdvInitializeDeviceHost(system, &host) != S_OK)
        return 1;
    HRESULT ended = HdvTeardownDeviceHost(host), again = HdvTeardownDeviceHost(host);
    hdvlab_system_close(system);
    printf("%08x %08x\n", (unsigned)ended, (unsigned)again);
    return 0;
}
"""


def config(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from hdvlab.cli import main; sys.exit(main(['config', *sys.argv[1:]]))"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("compiler", ["c", "c++"])
def test_a_program_is_compiled_with_it_and_runs(tmp_path: Path, compiler: str) -> None:
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(PROGRAM, "utf-8")
    cflags, libs = shlex.split(config("--cflags").stdout), shlex.split(config("--libs").stdout)
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic-errors", f"-std={'c11' if compiler == 'c' else 'c++17'}"]
    with_it = find_compiler() if compiler == "c" else needed("c++", "g++")
    command = [with_it, "-x", compiler, *strict, *cflags, source, "-x", "none", *libs, "-o", program]
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "00000000 80070006\n")


def test_it_is_one_line_for_a_shell() -> None:
    done = config("--cflags", "--libs")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    include, folder, library, path = shlex.split(done.stdout)
    assert (include[:2], folder[:2], library, path[:11]) == ("-I", "-L", "-lvmdevicehost", "-Wl,-rpath,")
    assert (Path(include[2:]) / "HyperVDeviceVirtualization.h").is_file()
    assert (Path(include[2:]) / "hdvlab_device.h").is_file()
    assert (Path(folder[2:]) / "libvmdevicehost.so").is_file()
    assert folder[2:] == path[11:]


def test_the_folders_and_the_version_are_told() -> None:
    version, include, folder = repr(commands.config(version=True, includedir=True, libdir=True)).split()
    assert version.startswith("0.")
    assert (Path(include) / "hdvlab.h").is_file()
    assert (Path(folder) / "libvmdevicehost.so").is_file()


def test_asked_for_nothing_it_says_what_can_be_asked() -> None:
    with pytest.raises(UsageError, match="say what: hdvlab config --cflags --libs"):
        commands.config()
    done = config()
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)


def test_a_package_that_the_library_needs_is_named() -> None:
    code = (
        "import sys; sys.modules['_cffi_backend'] = None\n"
        "from hdvlab.cli import main; sys.exit(main(['config', '--cflags']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs the package cffi" in done.stderr
    assert "is missing. Install" not in done.stderr
