"""Arguments of the functions with HDV's own names: Python values as C takes them, refused before C would cut them."""

from __future__ import annotations

import operator
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


def _integer(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise AccessError(f"{name} is {value!r:.60}; it is an integer") from None


def unsigned(value: int, bits: int, name: str) -> int:
    """An integer that fits an unsigned C type.

    Raises
    ------
    AccessError
        It does not (``E_INVALIDARG``).
    """
    number = _integer(value, name)
    if not 0 <= number < 1 << bits:
        raise AccessError(f"{name} is {number:#x}; it is a UINT{bits}")
    return number


def enumerator(value: int, name: str) -> int:
    """An integer that fits a C enum of 32 bits; whether it names anything is C's to say."""
    number = _integer(value, name)
    if not -(1 << 31) <= number < 1 << 31:
        raise AccessError(f"{name} is {number:#x}; it has 32 bits")
    return number


def identifier(value: uuid.UUID | str | None, name: str) -> Any:
    """A ``GUID *``; None is NULL, which C refuses with ``E_POINTER``.

    Raises
    ------
    AccessError
        It is no UUID and no text of one (``E_INVALIDARG``).
    """
    if value is None:
        return ffi.NULL
    try:
        return guid(value if isinstance(value, uuid.UUID) else uuid.UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise AccessError(f"{name} is {value!r:.60}; it is a uuid.UUID, or the text of one") from None


def com_object(value: Any, name: str) -> Any:
    """A pointer to a COM object; None is NULL, which C refuses with ``E_POINTER``.

    Raises
    ------
    HandleError
        It cannot be one; calling it would end the process (``E_HANDLE``).
    """
    if value is None:
        return ffi.NULL
    kind = ffi.typeof(value) if isinstance(value, ffi.CData) else None
    if kind is not None and kind.kind == "pointer" and kind.item.kind == "struct":
        return value
    raise HandleError(f"{name} is {value!r:.60}; it is a cdata pointer to a COM object, such as IUnknown *")


def descriptor(value: Any, name: str) -> Any:
    """A ``HANDLE``: a file descriptor, or that of an object with ``fileno()``."""
    if isinstance(value, ffi.CData):
        return value
    number = value if isinstance(value, int) or not hasattr(value, "fileno") else value.fileno()
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 31:
        raise HandleError(f"{name} is {number!r}, which is no file descriptor")
    return ffi.cast("void *", number)
