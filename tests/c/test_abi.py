"""The exported names and the headers, for Linux and for Windows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .building import INCLUDE, LIBRARY, MINGW, MINGW_PACKAGE, WARNINGS, cxx_for_windows, needed, run

#: What every Windows has.
WINDOWS_OWN = {"kernel32.dll", "msvcrt.dll", "ntdll.dll", "advapi32.dll", "ucrtbase.dll", "ws2_32.dll"}
INTERFACE = (
    ("Version", 0),
    ("Initialize", 8),
    ("Teardown", 16),
    ("SetConfiguration", 24),
    ("GetDetails", 32),
    ("Start", 40),
    ("Stop", 48),
    ("ReadConfigSpace", 56),
    ("WriteConfigSpace", 64),
    ("ReadInterceptedMemory", 72),
    ("WriteInterceptedMemory", 80),
)
PROMISES = [
    "sizeof(HDV_PCI_PNP_ID) == 12",
    "sizeof(HDV_PCI_DEVICE_INTERFACE) == 88",
    *(f"offsetof(HDV_PCI_DEVICE_INTERFACE, {name}) == {offset}" for name, offset in INTERFACE),
    *(
        f"sizeof({name}) == 4"
        for name in (
            "HDV_DEVICE_TYPE",
            "HDV_DEVICE_HOST_FLAGS",
            "HDV_PCI_BAR_SELECTOR",
            "HDV_PCI_INTERFACE_VERSION",
            "HDV_DOORBELL_FLAGS",
            "HDV_MMIO_MAPPING_FLAGS",
            "HRESULT",
            "BOOL",
        )
    ),
    "sizeof(WCHAR) == 2",
    "sizeof(GUID) == 16",
    "(uint32_t)(UINT64)HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE == 0x80000000u",
    "(UINT64)HDV_DOORBELL_FLAG_TRIGGER_ANY_VALUE == 0xFFFFFFFF80000000ull",
    "S_OK == 0 && E_POINTER < 0 && HRESULT_FROM_WIN32(ERROR_INVALID_STATE) == (HRESULT)0x8007139F",
]


def _of_shared_object() -> set[str]:
    table = run(needed("nm", "binutils"), "-D", "--defined-only", LIBRARY)
    return {line.split()[-1] for line in table.splitlines() if " T " in line}


def _of_dll(dll: Path) -> set[str]:
    table = run(f"{MINGW}objdump", "-p", dll)
    return set(re.findall(r"^\t\[ *\d+\] (?:\+base\[ *\d+\] +[0-9a-f]+ )?(\w+)$", table, re.M))


def _declared() -> set[str]:
    """Functions that the public headers declare."""
    names: set[str] = set()
    for header in INCLUDE.glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text("utf-8"), flags=re.S)
        for start, name in re.findall(r"^([A-Za-z_][\w *]*?)\b((?:Hdv|Hcs|hdvlab_)\w+)\(", text, re.M):
            if not start.startswith(("typedef", "static", "HDVLAB_EXPORT")):  # the last: of a device
                names.add(name)
    return names


def test_the_shared_object_is_never_unloaded_from_under_its_threads() -> None:
    assert "NODELETE" in run(needed("readelf", "binutils"), "-d", LIBRARY)


def test_the_shared_object_exports_what_the_headers_declare() -> None:
    assert _of_shared_object() == _declared()
    assert {"HdvInitializeDeviceHost", "hdvlab_embedded_create"} <= _declared()


def test_the_dll_exports_the_same_names(dll: Path) -> None:
    assert _of_dll(dll) == _of_shared_object()


def test_the_dll_needs_nothing_but_windows(dll: Path) -> None:
    needs = re.findall(r"DLL Name: (\S+)", run(f"{MINGW}objdump", "-p", dll))
    assert needs
    assert {name.lower() for name in needs} <= WINDOWS_OWN


@pytest.mark.parametrize("header", sorted(path.name for path in INCLUDE.glob("*.h")))
@pytest.mark.parametrize("language", ["c11", "c++17"])
@pytest.mark.parametrize("system", ["linux", "windows"])
def test_each_header_compiles_by_itself(tmp_path: Path, system: str, language: str, header: str) -> None:
    _compile(tmp_path, system, language, f"#include <{header}>\nint nothing;\n")


@pytest.mark.parametrize("language", ["c11", "c++17"])
@pytest.mark.parametrize("system", ["linux", "windows"])
def test_the_headers_keep_the_abi(tmp_path: Path, system: str, language: str) -> None:
    check = "static_assert" if language == "c++17" else "_Static_assert"
    lines = [f'{check}({promise}, "{promise}");' for promise in PROMISES]
    _compile(tmp_path, system, language, "#include <stddef.h>\n#include <hdvlab.h>\n" + "\n".join(lines) + "\n")


def test_a_promise_that_is_not_kept_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="kept"):
        _compile(tmp_path, "linux", "c11", '#include <hdvlab.h>\n_Static_assert(sizeof(GUID) == 15, "kept");\n')


def _compile(folder: Path, system: str, language: str, text: str) -> None:
    if language == "c11":
        compiler = [needed(f"{MINGW}gcc", MINGW_PACKAGE) if system == "windows" else needed("gcc", "gcc libc6-dev")]
        options = ["-x", "c", "-std=c11", "-pedantic", "-Wstrict-prototypes"]
    else:
        compiler = cxx_for_windows() if system == "windows" else [needed("g++", "g++")]
        options = ["-x", "c++", "-std=c++17"]
    source = folder / "client.c"
    source.write_text(text, "utf-8")
    run(*compiler, *options, *WARNINGS, "-fsyntax-only", f"-I{INCLUDE}", source)
