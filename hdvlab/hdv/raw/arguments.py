"""Arguments of the functions with HDV's own names: Python values as C takes them, refused before C would cut them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, BackendUnavailableError, HandleError
from hdvlab.hdv.structures import guid


def function(name: str) -> Callable[..., int]:
    """A function of the library, looked up when it is called.

    Raises
    ------
    BackendUnavailableError
        This library does not have it (``E_NOTIMPL``).
    """
    found: Callable[..., int] | None = getattr(lib, name, None)
    if found is None:
        raise BackendUnavailableError("the library that is loaded does not export it", None, name)
    return found


def handle(value: Any) -> Any:
    """A handle, or the one in an object's ``.handle``; None is NULL, which C refuses with ``E_HANDLE``."""
    value = getattr(value, "handle", value)
    if value is None:
        return ffi.NULL
    if isinstance(value, ffi.CData) and ffi.typeof(value).kind == "pointer":
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return ffi.cast("void *", value)
    raise HandleError(f"{value!r} is no handle")


def unsigned(value: int, bits: int, name: str) -> int:
    """An integer that fits an unsigned C type.

    Raises
    ------
    AccessError
        It does not (``E_INVALIDARG``).
    """
    number = int(value)
    if not 0 <= number < 1 << bits:
        raise AccessError(f"{name} is {number:#x}; it is a UINT{bits}")
    return number


def enumerator(value: int, name: str) -> int:
    """An integer that fits a C enum of 32 bits; whether it names anything is C's to say."""
    number = int(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise AccessError(f"{name} is {number:#x}; it has 32 bits")
    return number


def identifier(value: uuid.UUID | str | None) -> Any:
    """A ``GUID *``; None is NULL, which C refuses with ``E_POINTER``."""
    if value is None:
        return ffi.NULL
    return guid(value if isinstance(value, uuid.UUID) else uuid.UUID(value))


def descriptor(value: Any, name: str) -> Any:
    """A ``HANDLE``: a file descriptor, or that of an object with ``fileno()``."""
    if isinstance(value, ffi.CData):
        return value
    number = value if isinstance(value, int) else value.fileno()
    if isinstance(number, bool) or not 0 <= number < 1 << 31:
        raise HandleError(f"{name} is {number!r}, which is no file descriptor")
    return ffi.cast("void *", number)
