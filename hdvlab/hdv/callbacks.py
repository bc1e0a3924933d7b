"""Where C calls Python. No exception crosses: each becomes an HRESULT, is kept by the device and shows in the trace."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Protocol

from hdvlab._core import ffi, lib
from hdvlab.errors import GuestInterrupted, HResult
from hdvlab.hdv.structures import wide_string


class DeviceCallbacks(Protocol):
    """What a register file asks of its author, on the thread that carries the access, with the device entered."""

    def on_initialize(self) -> None: ...
    def on_teardown(self) -> None: ...
    def on_set_configuration(self, values: list[str]) -> None: ...
    def on_start(self) -> None: ...
    def on_stop(self) -> None: ...
    def on_reset(self) -> None: ...
    def on_register_read(self, index: int, stored: int) -> int: ...
    def on_register_write(self, index: int, value: int, old: int) -> None: ...
    def on_bar_read(self, bar: int, offset: int, size: int) -> int: ...
    def on_bar_write(self, bar: int, offset: int, size: int, value: int) -> None: ...
    def on_config_written(self, offset: int, value: int) -> None: ...
    def on_failure(self, operation: str, error: BaseException) -> int:
        """Keep the error; return the HRESULT the access ends with (signed)."""


class _Interrupted(threading.local):
    error: BaseException | None = None
    failure: tuple[int, str] = (0, "")
    """HRESULT and text of what a device's code raised in the last access that it failed on this thread; not the
    exception, which would keep the device alive."""


_interrupted = _Interrupted()
_ACCESSES = ("ReadInterceptedMemory", "WriteInterceptedMemory", "ReadConfigSpace", "WriteConfigSpace")


def take_failure(hresult: int) -> str:
    """What a device's code raised on this thread, if that is why an access just ended with ``hresult``."""
    (known, text), _interrupted.failure = _interrupted.failure, (0, "")
    return text if known == hresult else ""


def note_failure(hresult: int, text: str) -> None:
    """A device's code in another process raised this in an access of this thread; see :func:`take_failure`."""
    _interrupted.failure = (hresult, text)


def reraise_interrupt() -> None:
    """Raise what stopped a callback on this thread from outside (Ctrl-C, the end of a guest program), if anything did.

    Called by whoever called into C, once C has returned.
    """
    error = _interrupted.error
    if error is not None:
        _interrupted.error = None
        raise error


def _failed(context: Any, operation: str, error: BaseException) -> int:
    from_outside = isinstance(error, GuestInterrupted) or (
        isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
    )
    if from_outside:
        _interrupted.error = error
        return HResult.E_ABORT.signed
    owner: DeviceCallbacks = ffi.from_handle(context)
    hresult = owner.on_failure(operation, error)
    if operation in _ACCESSES:
        with contextlib.suppress(Exception):  # its text is its author's
            _interrupted.failure = (hresult, f"{type(error).__name__}: {error}")
    return hresult


def _outside_try(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """An exception that came before a callback's own ``try`` began: Ctrl-C, or the end of a guest program."""
    _interrupted.error = error


def _teardown_outside_try(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """The same, in the callback that must not be missed: there is no other after it."""
    _interrupted.error = error
    context = trace.tb_frame.f_locals.get("context")
    if context is not None:
        ffi.from_handle(context).on_teardown()


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_register_write(context: Any, index: int, value: int, old: int) -> int:
    try:
        ffi.from_handle(context).on_register_write(index, value, old)
    except BaseException as error:
        return _failed(context, "WriteInterceptedMemory", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_register_read(context: Any, index: int, stored: int, value: Any) -> int:
    try:
        value[0] = ffi.from_handle(context).on_register_read(index, stored)
    except BaseException as error:
        return _failed(context, "ReadInterceptedMemory", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_bar_read(context: Any, bar: int, offset: int, size: int, value: Any) -> int:
    try:
        value[0] = ffi.from_handle(context).on_bar_read(bar, offset, size)
    except BaseException as error:
        return _failed(context, "ReadInterceptedMemory", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_bar_write(context: Any, bar: int, offset: int, size: int, value: int) -> int:
    try:
        ffi.from_handle(context).on_bar_write(bar, offset, size, value)
    except BaseException as error:
        return _failed(context, "WriteInterceptedMemory", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_config_written(context: Any, offset: int, value: int) -> int:
    try:
        ffi.from_handle(context).on_config_written(offset, value)
    except BaseException as error:
        return _failed(context, "WriteConfigSpace", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_initialize(context: Any) -> int:
    try:
        ffi.from_handle(context).on_initialize()
    except BaseException as error:
        return _failed(context, "Initialize", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_set_configuration(context: Any, count: int, values: Any) -> int:
    try:
        ffi.from_handle(context).on_set_configuration([wide_string(values[i]) for i in range(count)])
    except BaseException as error:
        return _failed(context, "SetConfiguration", error)
    return 0


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_start(context: Any) -> int:
    try:
        ffi.from_handle(context).on_start()
    except BaseException as error:
        return _failed(context, "Start", error)
    return 0


@ffi.def_extern(onerror=_outside_try)
def hdvlab_py_stop(context: Any) -> None:
    try:
        ffi.from_handle(context).on_stop()
    except BaseException as error:
        _failed(context, "Stop", error)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_py_reset(context: Any) -> int:
    try:
        ffi.from_handle(context).on_reset()
    except BaseException as error:
        return _failed(context, "Reset", error)
    return 0


@ffi.def_extern(onerror=_teardown_outside_try)
def hdvlab_py_teardown(context: Any) -> None:
    try:
        ffi.from_handle(context).on_teardown()
    except BaseException as error:
        _failed(context, "Teardown", error)


def callback_table(handles_config: bool) -> Any:
    """The C table of the functions above; ``handles_config``: also told of config space writes."""
    table = ffi.new("HDVLAB_DEVICE_CALLBACKS *")
    for name in ("initialize", "teardown", "set_configuration", "start", "stop", "reset"):
        setattr(table, name, getattr(lib, f"hdvlab_py_{name}"))
    for name in ("register_read", "register_write", "bar_read", "bar_write"):
        setattr(table, name, getattr(lib, f"hdvlab_py_{name}"))
    if handles_config:
        table.config_written = lib.hdvlab_py_config_written
    return table


# ---- the ten callbacks of HDV itself, for devices that are written to them (hdv/raw/interface.py) --------------------


def _raw_teardown_outside_try(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    _interrupted.error = error
    context = trace.tb_frame.f_locals.get("context")
    if context is not None:
        ffi.from_handle(context).teardown()


def _served(context: Any, operation: str, method: str, *arguments: Any) -> int:
    try:
        answer: int = getattr(ffi.from_handle(context), method)(*arguments)
    except BaseException as error:
        return _failed(context, operation, error)
    return answer


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_initialize(context: Any) -> int:
    return _served(context, "Initialize", "step", "Initialize")


@ffi.def_extern(onerror=_raw_teardown_outside_try)
def hdvlab_hdv_teardown(context: Any) -> None:
    try:
        ffi.from_handle(context).teardown()
    except BaseException as error:
        _failed(context, "Teardown", error)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_set_configuration(context: Any, count: int, values: Any) -> int:
    try:
        texts = [wide_string(values[i]) for i in range(count)]
    except BaseException as error:
        return _failed(context, "SetConfiguration", error)
    return _served(context, "SetConfiguration", "step", "SetConfiguration", texts)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_get_details(context: Any, pnp_id: Any, count: int, probed_bars: Any) -> int:
    return _served(context, "GetDetails", "get_details", pnp_id, count, probed_bars)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_start(context: Any) -> int:
    return _served(context, "Start", "step", "Start")


@ffi.def_extern(onerror=_outside_try)
def hdvlab_hdv_stop(context: Any) -> None:
    _served(context, "Stop", "step", "Stop")


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_read_config(context: Any, offset: int, value: Any) -> int:
    return _served(context, "ReadConfigSpace", "read_config_space", offset, value)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_write_config(context: Any, offset: int, value: int) -> int:
    return _served(context, "WriteConfigSpace", "step", "WriteConfigSpace", offset, value)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_read(context: Any, bar: int, offset: int, length: int, value: Any) -> int:
    return _served(context, "ReadInterceptedMemory", "read_intercepted_memory", bar, offset, length, value)


@ffi.def_extern(error=HResult.E_ABORT.signed, onerror=_outside_try)
def hdvlab_hdv_write(context: Any, bar: int, offset: int, length: int, value: Any) -> int:
    return _served(context, "WriteInterceptedMemory", "write_intercepted_memory", bar, offset, length, value)


def interface_slots() -> dict[str, Any]:
    """The C functions above by their slots in ``HDV_PCI_DEVICE_INTERFACE``."""
    return {
        "Initialize": lib.hdvlab_hdv_initialize,
        "Teardown": lib.hdvlab_hdv_teardown,
        "SetConfiguration": lib.hdvlab_hdv_set_configuration,
        "GetDetails": lib.hdvlab_hdv_get_details,
        "Start": lib.hdvlab_hdv_start,
        "Stop": lib.hdvlab_hdv_stop,
        "ReadConfigSpace": lib.hdvlab_hdv_read_config,
        "WriteConfigSpace": lib.hdvlab_hdv_write_config,
        "ReadInterceptedMemory": lib.hdvlab_hdv_read,
        "WriteInterceptedMemory": lib.hdvlab_hdv_write,
    }


# ---- what the gate asks (stepping/gate.py) ---------------------------------------------------------------------------


def _ask_outside_try(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    _interrupted.error = error


@ffi.def_extern(error=0, onerror=_ask_outside_try)
def hdvlab_py_gate_ask(context: Any, number: int, hit: Any) -> int:
    try:
        return int(ffi.from_handle(context).on_ask(number, hit))
    except BaseException as error:  # from outside: what fails in a condition is dealt with there
        _interrupted.error = error
    return 0


@ffi.def_extern(error=1, onerror=_ask_outside_try)
def hdvlab_py_gate_idle(context: Any, ticket: int) -> int:
    try:
        ffi.from_handle(context).on_idle(ticket)
    except BaseException as error:  # Ctrl-C, or the end of a guest program: the access is skipped
        _interrupted.error = error
        return 1
    return 0
