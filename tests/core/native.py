"""A second, separate instance of the library, as "the other HDV" that a machine of this one may be forwarded to.

It is a copy of the file under another name: its handles, locks and recordings are its own.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hdvlab._core._native
from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.systems.hyperv import NativeLibraries

from .scaffold import S_OK, Machine, code


@functools.cache
def native_library() -> str:
    """Path of the copy, loaded for good: libraries are never unloaded."""
    original = Path(str(hdvlab._core._native.__file__)).with_name("libvmdevicehost.so")
    with tempfile.TemporaryDirectory() as folder:
        copy = str(shutil.copy(original, Path(folder, "libnativehost.so")))
        # Both handles name one instance, which outlives its file.
        Native.library = ctypes.CDLL(copy)
        Native.bound = NativeLibraries([copy])
    return copy


def own_functions() -> Any:
    """The HDV functions of this very library, as another's."""
    table = ffi.new("HDVLAB_HDV_FUNCTIONS *", {"size": ffi.sizeof("HDVLAB_HDV_FUNCTIONS")})
    for name, _ in ffi.typeof("HDVLAB_HDV_FUNCTIONS").fields:
        if name != "size" and hasattr(lib, name):
            setattr(table, name, ffi.addressof(lib, name))
    return table


class Native:
    """The copy's functions, with the types of this library's."""

    library: ctypes.CDLL
    bound: NativeLibraries

    def __getattr__(self, name: str) -> Any:
        native_library()
        address = ctypes.cast(getattr(self.library, name), ctypes.c_void_p).value
        function = ffi.cast(ffi.typeof(getattr(lib, name)), address)
        setattr(self, name, function)
        return function


class ForwardedMachine(Machine):
    """The other library's machine, whose devices are instances of this one's: everything passes both."""

    name = "forwarded"
    library = Native()
    forwarded = True
    gone = HResult.ERROR_INVALID_STATE  # its handle ends with the host, as on Windows

    def _machine_trace(self, trace: Any) -> Any:
        return ffi.NULL  # rows are the tap's, which is here

    def _device_system(self, trace: Any) -> Any:
        out = ffi.new("void **")
        native_library()
        functions = Native.bound.hdv_functions()
        assert code(lib.hdvlab_forward_create(functions, self.system, trace, out)) == S_OK
        for name in dir(functions):  # the table is copied
            setattr(functions, name, 0 if name == "size" else ffi.NULL)
        return out[0]
