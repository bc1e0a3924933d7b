"""Device hosts and device instances under HDV's own names."""

# ruff: noqa: N802, N803 - HDV's names

from __future__ import annotations

import uuid
from typing import Any

from hdvlab._core import ffi
from hdvlab.errors import AccessError, HResult, check
from hdvlab.hdv.callbacks import reraise_interrupt
from hdvlab.hdv.constants import DeviceType
from hdvlab.hdv.raw.arguments import com_object, enumerator, function, handle, identifier, unsigned
from hdvlab.hdv.raw.interface import HDV_PCI_DEVICE_INTERFACE, SLOTS, Instance
from hdvlab.hdv.raw.types import HCS_SYSTEM, HDV_DEVICE, HDV_HOST

__all__ = [
    "HdvCreateDeviceInstance",
    "HdvInitializeDeviceHost",
    "HdvInitializeDeviceHostEx",
    "HdvInitializeDeviceHostForProxy",
    "HdvInitializeDeviceHostForProxyEx",
    "HdvProxyDeviceHost",
    "HdvTeardownDeviceHost",
]


def HdvInitializeDeviceHost(computeSystem: HCS_SYSTEM) -> HDV_HOST:
    """Make a device host in this process and tie it to a compute system.

    Call it before the system starts, or on a running one before the hot-add of a slot. A slot whose device no host has
    registered fails the start. Any thread; end it with :func:`HdvTeardownDeviceHost`.

    Parameters
    ----------
    computeSystem : HCS_SYSTEM
        The machine, for example ``lab.machine.handle``.

    Returns
    -------
    HDV_HOST
        Handle of the host.

    Raises
    ------
    HandleError
        Not a live compute system (``E_HANDLE``).

    Notes
    -----
    HDV API, HdvInitializeDeviceHost. Windows asks for teardown on the same thread; here any thread will do.
    """
    host = ffi.new("void **")
    check(function("HdvInitializeDeviceHost")(handle(computeSystem), host), "HdvInitializeDeviceHost")
    return host[0]


def HdvInitializeDeviceHostEx(computeSystem: HCS_SYSTEM, flags: int) -> HDV_HOST:
    """:func:`HdvInitializeDeviceHost` with flags.

    Parameters
    ----------
    computeSystem : HCS_SYSTEM
        The machine.
    flags : DeviceHostFlags
        ``HdvDeviceHostFlagNone``, or ``HdvDeviceHostFlagInitializeComSecurity``, which means nothing outside Windows.

    Returns
    -------
    HDV_HOST
        Handle of the host.

    Raises
    ------
    AccessError
        Another flag (``E_INVALIDARG``).
    HandleError
        Not a live compute system (``E_HANDLE``).

    Notes
    -----
    In the SDK's header, without a page. Windows: COM security can be set once per process; again is ``RPC_E_TOO_LATE``.
    """
    host = ffi.new("void **")
    number = enumerator(flags, "flags")
    check(function("HdvInitializeDeviceHostEx")(handle(computeSystem), number, host), "HdvInitializeDeviceHostEx")
    return host[0]


def HdvInitializeDeviceHostForProxy(VmId: uuid.UUID | str, ProxyInterface_IUnknown: Any) -> HDV_HOST:
    """Make a device host whose tie to the compute system, in another process, is the proxy's business.

    During the call the host registers itself with the proxy (``IVmDeviceHostSupport::RegisterDeviceHost``).

    Parameters
    ----------
    VmId : uuid.UUID or str
        Id of the compute system.
    ProxyInterface_IUnknown : cdata
        A COM object that answers for ``IVmDeviceHostSupport``.

    Returns
    -------
    HDV_HOST
        Handle of the host, used like any other.

    Raises
    ------
    HdvError
        What RegisterDeviceHost failed with; ``E_POINTER`` where an argument is None.
    BackendUnavailableError
        The library does not export the function (``E_NOTIMPL``).

    Notes
    -----
    HDV API, HdvInitializeDeviceHostForProxy.
    """
    host = ffi.new("void **")
    vm, proxy = identifier(VmId, "VmId"), com_object(ProxyInterface_IUnknown, "ProxyInterface_IUnknown")
    check(function("HdvInitializeDeviceHostForProxy")(vm, proxy, host), "HdvInitializeDeviceHostForProxy")
    return host[0]


def HdvInitializeDeviceHostForProxyEx(VmId: uuid.UUID | str, ProxyInterface_IUnknown: Any, flags: int) -> HDV_HOST:
    """:func:`HdvInitializeDeviceHostForProxy` with the flags of :func:`HdvInitializeDeviceHostEx`, third.

    Parameters
    ----------
    VmId : uuid.UUID or str
        Id of the compute system.
    ProxyInterface_IUnknown : cdata
        A COM object that answers for ``IVmDeviceHostSupport``.
    flags : DeviceHostFlags
        As of :func:`HdvInitializeDeviceHostEx`.

    Returns
    -------
    HDV_HOST
        Handle of the host.

    Raises
    ------
    AccessError
        Another flag (``E_INVALIDARG``), or None for an argument (``E_POINTER``).
    BackendUnavailableError
        The library does not export the function (``E_NOTIMPL``).

    Notes
    -----
    Exported by Windows, in no header and on no page.
    """
    host = ffi.new("void **")
    vm, proxy = identifier(VmId, "VmId"), com_object(ProxyInterface_IUnknown, "ProxyInterface_IUnknown")
    number = enumerator(flags, "flags")
    check(function("HdvInitializeDeviceHostForProxyEx")(vm, proxy, number, host), "HdvInitializeDeviceHostForProxyEx")
    return host[0]


def HdvProxyDeviceHost(ComputeSystem: HCS_SYSTEM, DeviceHost_IUnknown: Any, TargetProcessId: int) -> int:
    """Register a device host that lives in another process; called by the machine's process.

    Parameters
    ----------
    ComputeSystem : HCS_SYSTEM
        The machine.
    DeviceHost_IUnknown : cdata
        ``IUnknown`` of the remote ``IVmDeviceHost``.
    TargetProcessId : int
        Process that the host is in, 32 bits; may be this one.

    Returns
    -------
    int
        ``IpcSectionHandle``, 64 bits: what RegisterDeviceHost hands back to that process.

    Raises
    ------
    HandleError
        Not a live compute system (``E_HANDLE``).
    BackendUnavailableError
        The library does not export the function (``E_NOTIMPL``).

    Notes
    -----
    HDV API, HdvProxyDeviceHost.
    """
    section = ffi.new("uint64_t *")
    process = unsigned(TargetProcessId, 32, "TargetProcessId")
    remote = com_object(DeviceHost_IUnknown, "DeviceHost_IUnknown")
    hresult = function("HdvProxyDeviceHost")(handle(ComputeSystem), remote, process, section)
    check(hresult, "HdvProxyDeviceHost")
    return int(section[0])


def HdvTeardownDeviceHost(deviceHostHandle: HDV_HOST) -> None:
    """End a host: waits for callbacks that run, then every instance gets Stop, if it runs, and Teardown, once.

    Handles of its devices, apertures, doorbells and sections end with it.

    Parameters
    ----------
    deviceHostHandle : HDV_HOST
        The host.

    Raises
    ------
    HandleError
        Torn down already (``E_HANDLE``).
    StateError
        Called from a callback (``ERROR_INVALID_STATE``).

    Notes
    -----
    HDV API, HdvTeardownDeviceHost. Windows: on the thread that made the host.
    """
    hresult = function("HdvTeardownDeviceHost")(handle(deviceHostHandle))
    reraise_interrupt()
    check(hresult, "HdvTeardownDeviceHost")


def HdvCreateDeviceInstance(
    deviceHostHandle: HDV_HOST,
    deviceType: int,
    deviceClassId: uuid.UUID | str,
    deviceInstanceId: uuid.UUID | str,
    deviceInterface: HDV_PCI_DEVICE_INTERFACE | Any,
    deviceContext: Any = None,
) -> HDV_DEVICE:
    """Make a device known to its host; callbacks begin when a slot that names it gets power.

    The table and the ids are copied. No callback is made during the call.

    Parameters
    ----------
    deviceHostHandle : HDV_HOST
        The host.
    deviceType : DeviceType
        ``HdvDeviceTypePCI``.
    deviceClassId, deviceInstanceId : uuid.UUID or str
        What the machine's slot says: its emulator id and its key.
    deviceInterface : HDV_PCI_DEVICE_INTERFACE
        Ten Python callables; or a C table (cdata), whose ``deviceContext`` is then a C pointer or None.
    deviceContext : object, optional
        First argument of every callback; kept until Teardown.

    Returns
    -------
    HDV_DEVICE
        Handle of the instance.

    Raises
    ------
    AccessError
        A device type, version or slot that cannot be (``E_INVALIDARG``); None for an id (``E_POINTER``).
    HandleError
        Not a live host (``E_HANDLE``).
    HdvError
        The pair of ids is in use (``ERROR_ALREADY_EXISTS``).

    Notes
    -----
    HDV API, HdvCreateDeviceInstance. There is no call that ends a single instance; it ends with its host or its slot.
    """
    device = ffi.new("void **")
    create = function("HdvCreateDeviceInstance")
    host, kind = handle(deviceHostHandle), enumerator(deviceType, "deviceType")
    class_id, instance_id = identifier(deviceClassId, "deviceClassId"), identifier(deviceInstanceId, "deviceInstanceId")
    if deviceInterface is None or isinstance(deviceInterface, ffi.CData):
        table = ffi.NULL if deviceInterface is None else deviceInterface
        check(
            create(host, kind, class_id, instance_id, table, handle(deviceContext), device), "HdvCreateDeviceInstance"
        )
        return device[0]
    if not isinstance(deviceInterface, HDV_PCI_DEVICE_INTERFACE):
        raise AccessError(f"{deviceInterface!r} is no HDV_PCI_DEVICE_INTERFACE", None, "HdvCreateDeviceInstance")
    instance = Instance(deviceInterface, deviceContext)
    instance.keep()  # before the library has the pointer, whatever happens in between
    hresult = create(host, kind, class_id, instance_id, instance.table(), instance.pointer, device)
    if hresult < 0:
        instance.forget()
    check(hresult, "HdvCreateDeviceInstance", _advice(hresult, kind, deviceInterface))
    return device[0]


def _advice(hresult: int, kind: int, interface: HDV_PCI_DEVICE_INTERFACE) -> str:
    """What to do about a refused instance; "" where the code says it all."""
    if hresult == HResult.ERROR_ALREADY_EXISTS.signed:
        return "a device with this class and instance id lives; take another deviceInstanceId"
    if hresult != HResult.E_INVALIDARG.signed:
        return ""
    empty = [name for name in SLOTS if getattr(interface, name) is None]
    if kind != DeviceType.PCI:
        return "deviceType is HdvDeviceTypePCI"
    return f"the table has no {', '.join(empty)}" if empty else "Version is HdvPciDeviceInterfaceVersion1"
