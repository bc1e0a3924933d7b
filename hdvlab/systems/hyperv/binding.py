"""Windows' HDV and HCS by name: the public headers, read by cffi, and whatever libraries have those functions.

Ref: Windows SDK, HyperVDeviceVirtualization.h, ComputeCore.h. The declarations are the headers that C programs include,
so there is one source; the libraries are found at run time, so nothing of Windows is needed to build or import this.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Any

from cffi import FFI

from hdvlab._core import ffi
from hdvlab.errors import BackendUnavailableError

#: Where Windows has the functions.
LIBRARIES = ("vmdevicehost.dll", "computecore.dll")
#: What it takes; the floor is that of the HCS document's FlexibleIov.
REQUIREMENTS = (
    "Hyper-V machines need Windows 10 1809 or later, or Windows 11, with Hyper-V enabled, "
    "its vmdevicehost.dll and computecore.dll, and administrator rights"
)
_HEADERS = ("ComputeDefs.h", "ComputeCore.h", "HyperVDeviceVirtualization.h")
#: The Windows types that the headers use, as 64-bit Windows has them.
_TYPES = """
typedef int32_t HRESULT;
typedef int32_t BOOL;
typedef uint8_t BYTE, UINT8, BOOLEAN;
typedef uint16_t UINT16, USHORT, WCHAR;
typedef uint32_t UINT32, DWORD, ULONG;
typedef uint64_t UINT64;
typedef void VOID, *PVOID, *HANDLE, SECURITY_DESCRIPTOR, IUnknown;
typedef WCHAR *PWSTR, *LPWSTR;
typedef const WCHAR *PCWSTR, *LPCWSTR;
typedef struct _GUID { uint32_t Data1; uint16_t Data2; uint16_t Data3; uint8_t Data4[8]; } GUID;
void *LocalFree(void *);
void free(void *);
"""
_COINIT_MULTITHREADED = 0


def declarations() -> str:
    """The public headers as cffi reads them: no preprocessor, no calling conventions, no annotations."""
    folder = resources.files("hdvlab._core") / "include"
    text = "".join((folder / name).read_text(encoding="utf-8") for name in _HEADERS if (folder / name).is_file())
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    text = text.replace("\\\n", " ")
    text = re.sub(r"^#\s*ifdef __cplusplus.*?#\s*endif", "", text, flags=re.S | re.M)
    # The one constant among the macros; cffi wants it where a type uses it.
    text = re.sub(r"^#\s*define (?!\w+ \d+$)[^\n]*|^#(?!\s*define)[^\n]*", "", text, flags=re.M)
    text = re.sub(r"^[A-Z_]*(ASSERT|_assert)\(.*?\);", "", text, flags=re.S | re.M)
    text = re.sub(r"^static inline .*?^}", "", text, flags=re.S | re.M)
    text = re.sub(r"\b(WINAPI|CALLBACK|STDAPICALLTYPE|WINAPI_INLINE)\b", "", text)
    text = re.sub(r"\b_(In|Out|Inout|Outptr|Ret|Reserved|COM)\w*_(\([^()]*\))?", "", text)
    return _TYPES + text.replace("(int)0x80000000", "-0x80000000")


def _place(name: str) -> str:
    """Windows' own library of a name that hdvlab's has too: by its path, for a name alone finds what is loaded."""
    if sys.platform == "win32" and name in LIBRARIES:
        return os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", name)
    return name


class NativeLibraries:
    """The libraries of the names, bound.

    Parameters
    ----------
    names : sequence of str
        As the system's loader finds them. A function is that of the first library that has it.

    Raises
    ------
    BackendUnavailableError
        One of them is not there; the message says what it takes.
    """

    def __init__(self, names: Sequence[str] = LIBRARIES) -> None:
        if sys.platform != "win32" and tuple(names) == LIBRARIES:
            raise BackendUnavailableError(f"{REQUIREMENTS}; this is {sys.platform}", None, "load vmdevicehost.dll")
        #: Types and memory of the calls through :meth:`call`.
        self.ffi: Any = FFI()
        self.ffi.cdef(declarations())
        self._libraries: list[Any] = []
        for name in names:
            try:
                self._libraries.append(self.ffi.dlopen(_place(name)))
            except OSError as error:
                raise BackendUnavailableError(f"{REQUIREMENTS}; {error}", None, f"load {name}") from error
        if sys.platform != "win32":
            self._c = self.ffi.dlopen(None)
        else:
            self._libraries.append(self.ffi.dlopen("kernel32.dll"))
            com = FFI()
            com.cdef("int32_t CoInitializeEx(void *, uint32_t);")
            # Windows' device hosts are called over COM, on its threads; in another apartment already is as good.
            com.dlopen("ole32.dll").CoInitializeEx(com.NULL, _COINIT_MULTITHREADED)

    def function(self, name: str) -> Any:
        """The function of a name, or None where no library has it: an older Windows."""
        for library in self._libraries:
            try:
                return getattr(library, name)
            except AttributeError:
                continue
        return None

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function; returns its HRESULT (signed).

        Raises
        ------
        BackendUnavailableError
            No library has it.
        """
        function = self.function(name)
        if function is None:
            raise BackendUnavailableError(f"{name} is in none of the libraries; {REQUIREMENTS}", None, name)
        return int(function(*arguments))

    def free(self, memory: Any) -> None:
        """Give back a result document: LocalFree on Windows, what the headers have in its place elsewhere."""
        free = self.function("LocalFree") or self._c.free
        free(memory)

    def hdv_functions(self) -> Any:
        """The ``HDVLAB_HDV_FUNCTIONS`` of these libraries; functions that they lack are NULL.

        Raises
        ------
        BackendUnavailableError
            Not even a device host can be made: this is no HDV.
        """
        table = ffi.new("HDVLAB_HDV_FUNCTIONS *")
        table.size = ffi.sizeof("HDVLAB_HDV_FUNCTIONS")
        for name, field in ffi.typeof("HDVLAB_HDV_FUNCTIONS").fields:
            function = self.function(name) if name != "size" else None
            if function is not None:
                setattr(table, name, ffi.cast(field.type, int(self.ffi.cast("uintptr_t", function))))
        for name in ("HdvInitializeDeviceHost", "HdvTeardownDeviceHost", "HdvCreateDeviceInstance"):
            if not getattr(table, name):
                raise BackendUnavailableError(f"{name} is in none of the libraries; {REQUIREMENTS}", None, name)
        return table
