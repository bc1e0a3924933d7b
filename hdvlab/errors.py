"""Every error hdvlab raises, in one tree, and the one place that reads an ``HRESULT``.

::

    HdvError(Exception)                      .hresult .symbol .operation
    ├── AccessError(…, ValueError)           width, offset, BAR that is not implemented
    ├── GuestMemoryError(…, LookupError)     DMA outside guest RAM, or not permitted
    ├── GuestTimeoutError(…, TimeoutError)   the guest waited for an interrupt that did not come
    ├── GuestInterrupted(…)                  the guest program was stopped from outside
    ├── HandleError(…, ValueError)           a handle that is stale, forged or of another kind
    ├── StateError(…, RuntimeError)          the right call at the wrong moment
    ├── DeviceError(…, RuntimeError)         a device callback failed
    ├── DocumentError(…, ValueError)         a JSON document that HCS cannot take; the message names the field
    ├── RegisterError(…, TypeError)          a bad description; raised when the class is made
    ├── BackendError(…, OSError)             the carrier failed in the operation
    │   └── BackendUnavailableError          something is missing; the message says what to do
    ├── TraceError(…, OSError)               a recording that cannot be read or written
    │   └── TraceFormatError(…, ValueError)  not a trace, or of a schema this version cannot read
    └── UsageError(…, ValueError)            a command that was typed wrongly
    TraceLossWarning(UserWarning)            rows are missing; how many is in the message
    AccessWarning(UserWarning)               a person's access was not served; why is in the message

The values are Windows' own (``winerror.h``, ``HCSHResult.md``). HDV documents none for bad arguments, so the choice
which of them stands for what is hdvlab's; it is the table of :class:`HResult`.
"""

from __future__ import annotations

import enum
from typing import Any


class HResult(enum.IntEnum):
    """The HRESULTs hdvlab uses, unsigned 32-bit as Windows prints them."""

    S_OK = 0x00000000
    E_PENDING = 0x8000000A
    E_NOTIMPL = 0x80004001
    E_NOINTERFACE = 0x80004002
    E_POINTER = 0x80004003
    E_ABORT = 0x80004004
    E_FAIL = 0x80004005
    E_UNEXPECTED = 0x8000FFFF
    E_ACCESSDENIED = 0x80070005
    E_HANDLE = 0x80070006
    E_OUTOFMEMORY = 0x8007000E
    E_INVALIDARG = 0x80070057
    ERROR_TOO_MANY_OPEN_FILES = 0x80070004
    ERROR_NOT_SUPPORTED = 0x80070032
    ERROR_DISK_FULL = 0x80070070
    ERROR_BUSY = 0x800700AA
    ERROR_ALREADY_EXISTS = 0x800700B7
    ERROR_ARITHMETIC_OVERFLOW = 0x80070216
    ERROR_NOACCESS = 0x800703E6
    ERROR_POSSIBLE_DEADLOCK = 0x8007046B
    ERROR_NOT_FOUND = 0x80070490
    ERROR_CANCELLED = 0x800704C7
    ERROR_TIMEOUT = 0x800705B4
    ERROR_NOT_ENOUGH_QUOTA = 0x80070718
    ERROR_INVALID_STATE = 0x8007139F
    HCS_E_TERMINATED_DURING_START = 0x80370100
    HCS_E_INVALID_STATE = 0x80370105
    HCS_E_UNEXPECTED_EXIT = 0x80370106
    HCS_E_TERMINATED = 0x80370107
    HCS_E_CONNECT_FAILED = 0x80370108
    HCS_E_CONNECTION_CLOSED = 0x8037010A
    HCS_E_INVALID_JSON = 0x8037010D
    HCS_E_SYSTEM_NOT_FOUND = 0x8037010E
    HCS_E_SYSTEM_ALREADY_EXISTS = 0x8037010F
    HCS_E_SYSTEM_ALREADY_STOPPED = 0x80370110
    HCS_E_PROTOCOL_ERROR = 0x80370111
    HCS_E_OPERATION_NOT_STARTED = 0x80370115
    HCS_E_OPERATION_ALREADY_STARTED = 0x80370116
    HCS_E_OPERATION_PENDING = 0x80370117
    HCS_E_OPERATION_TIMEOUT = 0x80370118
    HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET = 0x80370119
    HCS_E_OPERATION_RESULT_ALLOCATION_FAILED = 0x8037011A
    HCS_E_SERVICE_DISCONNECT = 0x8037011E

    @classmethod
    def symbol_of(cls, hresult: int) -> str:
        """The name of an HRESULT given signed or unsigned, or its hexadecimal form where it has none here."""
        try:
            return cls(hresult & 0xFFFFFFFF).name
        except ValueError:
            return f"0x{hresult & 0xFFFFFFFF:08X}"

    @property
    def signed(self) -> int:
        """The value as the signed 32-bit integer that C functions return and traces store."""
        return self.value - (1 << 32) if self.value & 0x80000000 else self.value


class HdvError(Exception):
    """Base of all hdvlab errors.

    Parameters
    ----------
    message : str
        What happened and what to do about it.
    hresult : int, optional
        HRESULT, signed or unsigned; kept unsigned. Each class has its own default.
    operation : str, optional
        The call or access that failed, for example ``"ReadInterceptedMemory BAR2+0x1004/4"``.
    """

    default_hresult: int = HResult.E_FAIL

    def __init__(self, message: str = "", hresult: int | None = None, operation: str = "") -> None:
        self.message = message
        self.hresult = (self.default_hresult if hresult is None else hresult) & 0xFFFFFFFF
        self.operation = operation
        super().__init__(message)

    @property
    def symbol(self) -> str:
        """Name of the HRESULT, for example ``"E_INVALIDARG"``."""
        return HResult.symbol_of(self.hresult)

    def __str__(self) -> str:
        return f"{self.operation}: {self.message}" if self.operation else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.hresult, self.operation))


class AccessError(HdvError, ValueError):
    """An access that cannot be made: width, offset, or a BAR that is not implemented (``E_INVALIDARG``)."""

    default_hresult = HResult.E_INVALIDARG


class GuestMemoryError(HdvError, LookupError):
    """A guest-physical range that is not wholly RAM, wraps, or may not be touched (``ERROR_NOACCESS``)."""

    default_hresult = HResult.ERROR_NOACCESS


class GuestTimeoutError(HdvError, TimeoutError):
    """A guest program waited for an interrupt that did not come (``ERROR_TIMEOUT``)."""

    default_hresult = HResult.ERROR_TIMEOUT


class GuestInterrupted(HdvError):
    """A guest program was stopped from outside, by Ctrl-C or by powering the machine off (``E_ABORT``)."""

    default_hresult = HResult.E_ABORT


class HandleError(HdvError, ValueError):
    """A handle that is stale, forged or of another kind (``E_HANDLE``)."""

    default_hresult = HResult.E_HANDLE


class StateError(HdvError, RuntimeError):
    """The right call at the wrong moment (``ERROR_INVALID_STATE``)."""

    default_hresult = HResult.ERROR_INVALID_STATE


class DeviceError(HdvError, RuntimeError):
    """A device callback failed (the callback's own HRESULT, else ``E_UNEXPECTED``)."""

    default_hresult = HResult.E_UNEXPECTED


class DocumentError(HdvError, ValueError):
    """A JSON document that HCS cannot take (``HCS_E_INVALID_JSON``); the message names the field by its path."""

    default_hresult = HResult.HCS_E_INVALID_JSON


class RegisterError(HdvError, TypeError):
    """A register, BAR, field or handler description that contradicts itself (``E_INVALIDARG``)."""

    default_hresult = HResult.E_INVALIDARG


class BackendError(HdvError, OSError):
    """The carrier of the accesses (machine, socket, system library) failed."""

    default_hresult = HResult.E_FAIL


class BackendUnavailableError(BackendError):
    """A carrier or an optional package that is not there; the message says how to get it (``E_NOTIMPL``)."""

    default_hresult = HResult.E_NOTIMPL


class TraceError(HdvError, OSError):
    """A recording that cannot be written or read."""

    default_hresult = HResult.E_FAIL


class TraceFormatError(TraceError, ValueError):
    """Not a trace, damaged beyond reading, or of a schema this version cannot read (``E_INVALIDARG``)."""

    default_hresult = HResult.E_INVALIDARG


class UsageError(HdvError, ValueError):
    """A command typed wrongly: unknown verb, device or register, bad number (``E_INVALIDARG``)."""

    default_hresult = HResult.E_INVALIDARG


class TraceLossWarning(UserWarning):
    """Rows are missing from a trace; the message says how many and why."""


class AccessWarning(UserWarning):
    """An access that a person made was answered with all ones, or dropped; the message says why."""


_BY_HRESULT: dict[int, type[HdvError]] = {
    HResult.E_HANDLE: HandleError,
    HResult.E_INVALIDARG: AccessError,
    HResult.E_POINTER: AccessError,
    HResult.ERROR_NOACCESS: GuestMemoryError,
    HResult.ERROR_ARITHMETIC_OVERFLOW: GuestMemoryError,
    HResult.ERROR_INVALID_STATE: StateError,
    HResult.HCS_E_INVALID_STATE: StateError,
    HResult.HCS_E_SYSTEM_ALREADY_STOPPED: StateError,
    HResult.HCS_E_INVALID_JSON: DocumentError,
    HResult.ERROR_TIMEOUT: GuestTimeoutError,
    HResult.E_ABORT: GuestInterrupted,
    HResult.ERROR_DISK_FULL: TraceError,
    HResult.E_UNEXPECTED: DeviceError,
}


def check(hresult: int, operation: str, message: str = "") -> None:
    """Raise the exception that fits a failed HRESULT; return on success.

    Parameters
    ----------
    hresult : int
        HRESULT as a C function returned it (signed) or unsigned. Any value with bit 31 set is a failure.
    operation : str
        What was attempted; becomes ``.operation`` of the exception.
    message : str, optional
        What to do about it; the HRESULT's name stands in where there is none.
    """
    code = hresult & 0xFFFFFFFF
    if code & 0x80000000:
        symbol = HResult.symbol_of(code)
        cls = _BY_HRESULT.get(code, HdvError)
        raise cls(f"{message} ({symbol})" if message else symbol, code, operation)
