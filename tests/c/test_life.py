"""A program written from the headers alone lives a device's whole life: here, as C++, and as a Windows program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hdvlab
from hdvlab.errors import TraceLossWarning

from .building import HERE, INCLUDE, MINGW, MINGW_PACKAGE, WARNINGS, Wine, cxx_for_windows, needed, run

LIFE = HERE / "life"
SOURCES = sorted(LIFE.glob("*.c"))
STEPS = """\
a machine with a slot, and a trace
a device host with an instance
started: the device is on
the guest placed the BARs and programmed the MSI
registers, and writes that ring nothing
a ring, a copy in, a copy out, an interrupt
an aperture shows what the guest wrote meanwhile
a page of memory, shared without callbacks
paused, an access waited, resumed
a hot plug without a device fails, the machine goes on
a second device, plugged into the running machine
what a device may not do gives its code
shut down in good order
the host torn down, the machine closed
the trace has {rows} rows
a slot without a device fails the start
a device that refuses its configuration fails the start
a slip in the document is named
terminated: the guest that waited is let go
nothing is left
"""


PROXY = [LIFE / "proxy.cpp", LIFE / "machine.c", LIFE / "summer.c"]
PROXY_STEPS = """\
a host, registered by a broker
started, and used by the guest
a doorbell that the owner made for the device
a section that the owner made for the device
a second device, plugged into the running machine
paused, resumed, shut down
torn down; nobody holds the broker
nothing is left
"""
#: What a C++ library would bring, for abstract classes: nobody calls it.
PURE = "void __cxa_pure_virtual(void) { __builtin_trap(); }\n"


def _flags() -> list[str]:
    """What ``hdvlab config`` of the installed package says."""
    code = "import sys; from hdvlab.cli import main; sys.exit(main(['config', '--cflags', '--libs']))"
    return run(sys.executable, "-c", code).split()


def _agree(output: str, trace: Path) -> None:
    """Every step was said, and the trace that the program left has the rows that it says."""
    with pytest.warns(TraceLossWarning, match=r"trace\.json is missing; rows do not depend on it$"):
        frame = hdvlab.read_trace(trace).frame()  # there was no lab that could have written it
    assert output == STEPS.format(rows=len(frame))
    kinds = frame["kind"].value_counts()
    used = {"dma_read", "dma_write", "interrupt", "doorbell", "aperture_map", "aperture_unmap", "section_map", "pause"}
    assert used <= set(kinds.index)
    assert kinds["initialize"] == kinds["start"] == kinds["stop"] == kinds["teardown"] == 2


@pytest.mark.parametrize(("compiler", "language"), [("cc", ["-std=c11"]), ("c++", ["-x", "c++", "-std=c++17"])])
def test_a_program_linked_to_the_installed_package_lives(compiler: str, language: list[str], tmp_path: Path) -> None:
    program, trace = tmp_path / "life", tmp_path / "trace"
    needed(compiler, "gcc g++ libc6-dev")
    run(compiler, *language, "-pedantic", *WARNINGS, *SOURCES, "-x", "none", *_flags(), "-pthread", "-o", program)
    _agree(run(program, trace), trace)
    again = subprocess.run([program, trace], capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stdout.count("\n")) == (1, 1)  # the folder has a trace: not as documented, the end
    assert re.match(r"FAILED, \S+life\.c:\d+: hdvlab_trace_create", again.stdout)


def test_the_same_sources_live_on_windows(dll: Path, wine: Wine, tmp_path: Path) -> None:
    compiler = needed(f"{MINGW}gcc", MINGW_PACKAGE)
    program, trace = dll.with_name("life.exe"), tmp_path / "trace"
    run(compiler, "-std=c11", *WARNINGS, *SOURCES, f"-I{INCLUDE}", dll, "-static", "-pthread", "-o", program)
    status, output = wine.run(program, ["Z:" + str(trace).replace("/", "\\")], timeout=120)
    assert (status, output) == (0, output)
    _agree(output, trace)


def test_a_cxx_class_is_the_broker_of_a_proxied_host(tmp_path: Path) -> None:
    compiler, program = needed("c++", "g++"), tmp_path / "proxy"
    strict = ["-std=c++17", "-pedantic", *WARNINGS]
    run(compiler, *strict, "-x", "c++", *PROXY, "-x", "none", *_flags(), "-pthread", "-o", program)
    assert run(program) == PROXY_STEPS


def test_a_cxx_class_is_the_broker_on_windows(dll: Path, wine: Wine, tmp_path: Path) -> None:
    """Its interfaces are those of Windows' own ``unknwn.h`` there."""
    compiler, program = cxx_for_windows(), dll.with_name("proxy.exe")
    lean = ["-std=c++17", "-O1", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", *WARNINGS]
    for source in PROXY:
        run(*compiler, "-x", "c++", *lean, f"-I{INCLUDE}", "-c", source, "-o", tmp_path / f"{source.stem}.o")
    pure = tmp_path / "pure.c"
    pure.write_text(PURE, "utf-8")
    objects = sorted(tmp_path.glob("*.o"))
    run(needed(f"{MINGW}gcc", MINGW_PACKAGE), pure, *objects, dll, "-static", "-pthread", "-luuid", "-o", program)
    assert wine.run(program, timeout=120) == (0, PROXY_STEPS)


@pytest.mark.parametrize("source", [path.name for path in SOURCES])
def test_the_same_sources_are_cxx_on_windows(source: str) -> None:
    run(*cxx_for_windows(), "-x", "c++", "-std=c++17", *WARNINGS, "-fsyntax-only", f"-I{INCLUDE}", LIFE / source)


def test_the_platform_is_named_in_one_file_only() -> None:
    for path in sorted(LIFE.iterdir()):
        words = re.findall(r"\b_WIN32|__linux__|#include <(?:windows|unistd|pthread|sys/\w+)\.h>", path.read_text())
        assert bool(words) == (path.name == "platform.h"), path.name
