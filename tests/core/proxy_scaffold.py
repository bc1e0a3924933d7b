"""Proxies: a device host and a machine that are apart, in one process or over a socket, and raw messages."""

from __future__ import annotations

import os
import socket
import struct
import uuid
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.errors import HResult
from hdvlab.hdv.structures import guid

from .scaffold import BUS_MASTER, CLASS_ID, MEMORY, PLACE, S_OK, CallbackDevice, Machine, code

IID_UNKNOWN = uuid.UUID("00000000-0000-0000-c000-000000000046")
IID_HOST = uuid.UUID("78523d62-d919-47ca-9cd7-08139172d685")
IID_SUPPORT = uuid.UUID("e31aa49b-0914-465e-b145-1b9ba13efb10")
FOR_EVER = 0xFFFF_FFFF

#: struct wire_header
HEADER = struct.Struct("<IHHQQqiI5Q")
MAGIC = 0x31505648
INITIALIZE, SET_CONFIGURATION, GET_DETAILS, START, STOP, TEARDOWN, CONFIG_READ, CONFIG_WRITE, READ, WRITE = range(1, 11)
MAP, UNMAP, INTERRUPT, DENIED, HOST_END = range(32, 37)
HELLO, GET_INSTANCE, CONNECT, RELEASE = range(64, 68)
ANSWER = 1


def release(thing: Any) -> int:
    """IUnknown::Release."""
    return int(thing.lpVtbl.Release(thing))


class Support:
    """An application's IVmDeviceHostSupport that registers the host with a machine of this very process."""

    def __init__(self, machine: Machine | None, refuse: int = 0) -> None:
        self.machine, self.refuse = machine, refuse
        self.references = 1
        self.registered: list[tuple[int, int]] = []
        self._callbacks = (
            ffi.callback("HRESULT(IVmDeviceHostSupport *, const GUID *, void **)", self._query),
            ffi.callback("uint32_t(IVmDeviceHostSupport *)", lambda _: self._count(1)),
            ffi.callback("uint32_t(IVmDeviceHostSupport *)", lambda _: self._count(-1)),
            ffi.callback("HRESULT(IVmDeviceHostSupport *, IVmDeviceHost *, uint32_t, uint64_t *)", self._register),
        )
        self._table = ffi.new("IVmDeviceHostSupportVtbl *", self._callbacks)
        self.object = ffi.new("IVmDeviceHostSupport *", (self._table,))

    def _count(self, step: int) -> int:
        self.references += step
        return self.references

    def _query(self, this: Any, iid: Any, out: Any) -> int:
        asked = uuid.UUID(bytes_le=bytes(ffi.buffer(iid, 16)))
        if asked not in (IID_UNKNOWN, IID_SUPPORT):
            out[0] = ffi.NULL
            return HResult.E_NOINTERFACE.signed
        out[0] = this
        self._count(1)
        return 0

    def _register(self, this: Any, host: Any, pid: int, ipc: Any) -> int:
        if self.refuse:
            return self.refuse - (1 << 32)
        if self.machine is None:
            return 0
        unknown = ffi.new("void **")
        assert host.lpVtbl.QueryInterface(host, guid(IID_UNKNOWN), unknown) == 0
        hresult = int(lib.HdvProxyDeviceHost(self.machine.system, unknown[0], pid, ipc))
        release(ffi.cast("IUnknown *", unknown[0]))
        self.registered.append((pid, int(ipc[0])))
        return hresult


class ProxyHost:
    """The device's side: a host for a VM whose machine is elsewhere."""

    def __init__(self, support: Any, vm_id: uuid.UUID | None = None, expect: int = S_OK) -> None:
        self.vm_id = vm_id or uuid.uuid4()
        out = ffi.new("void **")
        self.result = code(lib.HdvInitializeDeviceHostForProxy(guid(self.vm_id), support, out))
        assert self.result == expect
        self.handle = out[0]
        self._devices: list[CallbackDevice] = []  # their callbacks are called until the host is torn down

    @classmethod
    def over(cls, end: socket.socket, vm_id: uuid.UUID | None = None, expect: int = S_OK) -> ProxyHost:
        """Over a socket, which it takes."""
        support = ffi.new("IVmDeviceHostSupport **")
        assert code(lib.hdvlab_proxy_support_from_socket(end.detach(), support)) == S_OK
        try:
            return cls(support[0], vm_id, expect)
        finally:
            release(support[0])

    @classmethod
    def at(cls, path: str) -> ProxyHost:
        """With whoever listens on ``path``."""
        support = ffi.new("IVmDeviceHostSupport **")
        assert code(lib.hdvlab_proxy_connect(path.encode(), support)) == S_OK
        host = cls(support[0])
        release(support[0])
        return host

    def create(self, device: CallbackDevice) -> CallbackDevice:
        assert device.create(self.handle) == S_OK
        self._devices.append(device)
        return device

    def wait_machine(self, timeout_ms: int = 0) -> int:
        return code(lib.hdvlab_proxy_wait_machine(self.handle, timeout_ms))

    def teardown(self) -> int:
        return code(lib.HdvTeardownDeviceHost(self.handle))


class RemoteHost:
    """The machine's side of a socket: accepted, and by :meth:`register` a host of the machine."""

    def __init__(self, end: socket.socket, expect: int = S_OK, timeout_ms: int = 20_000) -> None:
        self._vm_id, self._pid, out = ffi.new("GUID *"), ffi.new("uint32_t *"), ffi.new("IVmDeviceHost **")
        assert code(lib.hdvlab_proxy_accept(end.detach(), timeout_ms, self._vm_id, self._pid, out)) == expect
        self.object = out[0]
        self.ipc = 0

    @property
    def vm_id(self) -> uuid.UUID:
        return uuid.UUID(bytes_le=bytes(ffi.buffer(self._vm_id, 16)))

    @property
    def pid(self) -> int:
        return int(self._pid[0])

    def register(self, machine: Machine, expect: int = S_OK) -> RemoteHost:
        ipc = ffi.new("uint64_t *")
        assert code(lib.HdvProxyDeviceHost(machine.system, self.object, self.pid, ipc)) == expect
        self.ipc = int(ipc[0])
        return self

    def budget(self, milliseconds: int) -> None:
        assert code(lib.hdvlab_proxy_set_budget(self.object, milliseconds)) == S_OK

    def wait(self, known: int, timeout_ms: int = 20_000) -> tuple[int, int, int]:
        """HRESULT, state and reason once the state is another than ``known``."""
        state, why = ffi.new("uint32_t *"), ffi.new("HRESULT *")
        hresult = code(lib.hdvlab_proxy_wait(self.object, known, timeout_ms, state, why))
        return hresult, int(state[0]), code(why[0])

    def ended(self) -> int:
        """Why it ended; waits for it."""
        hresult, state, why = self.wait(lib.HDVLAB_PROXY_UP)
        while hresult == S_OK and state == lib.HDVLAB_PROXY_HUNG:
            hresult, state, why = self.wait(state)
        assert (hresult, state) == (S_OK, lib.HDVLAB_PROXY_ENDED)
        return why

    def release(self) -> None:
        release(self.object)


class RawPeer:
    """A device host made of bare messages, which a test may cut or spoil."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.end.settimeout(20)

    @staticmethod
    def message(
        operation: int,
        *,
        flags: int = 0,
        number: int = 0,
        target: int = 0,
        cause: int = -1,
        status: int = 0,
        arguments: tuple[int, ...] = (),
        data: bytes = b"",
        magic: int = MAGIC,
        length: int | None = None,
    ) -> bytes:
        five = (arguments + (0,) * 5)[:5]
        size = len(data) if length is None else length
        return HEADER.pack(magic, operation, flags, number, target, cause, status, size, *five) + data

    @staticmethod
    def parse(message: bytes) -> dict[str, Any]:
        magic, operation, flags, number, target, cause, status, size, *arguments = HEADER.unpack_from(message)
        assert magic == MAGIC
        return {
            "operation": operation, "flags": flags, "number": number, "target": target, "cause": cause,
            "status": status & 0xFFFFFFFF, "arguments": arguments, "data": message[HEADER.size : HEADER.size + size],
        }  # fmt: skip

    def send(self, operation: int, **parts: Any) -> None:
        self.end.send(self.message(operation, **parts))

    def receive(self) -> dict[str, Any] | None:
        try:
            message = self.end.recv(1 << 17)
        except ConnectionResetError:
            return None
        return self.parse(message) if message else None

    def hello(self) -> None:
        self.send(HELLO, number=1, arguments=(1,), data=uuid.uuid4().bytes_le)

    def answer(self, request: dict[str, Any], status: int = 0, **parts: Any) -> None:
        signed = status - (1 << 32) if status & 0x80000000 else status
        self.send(request["operation"], flags=ANSWER, number=request["number"], status=signed, **parts)

    def serve(self, request: dict[str, Any]) -> None:
        """The answer of a device with one BAR of a page."""
        operation = request["operation"]
        if operation == GET_DETAILS:
            self.answer(request, data=struct.pack("<HHBBBBHH6I", 0x1234, 1, 0, 0, 0, 0xFF, 0, 0, 0xFFFFF000, *[0] * 5))
        elif operation == GET_INSTANCE:
            self.answer(request, arguments=(7,))
        elif operation == READ:
            self.answer(request, arguments=(0x11223344,))
        elif operation != RELEASE:
            self.answer(request)


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def place(machine: Machine, slot: int = 0, address: int = PLACE) -> None:
    """A driver places BAR 0 and turns decoding and bus mastering on."""
    machine.config_write(slot, 0x10, 4, address)
    machine.config_write(slot, 4, 2, MEMORY | BUS_MASTER)


def add_slot(machine: Machine, instance_id: uuid.UUID, slot: int = 0) -> int:
    class_id, instance = guid(CLASS_ID), guid(instance_id)
    return code(lib.hdvlab_system_add_slot(machine.system, slot, class_id, instance, 0, ffi.NULL))


def slot_device(machine: Machine, slot: int = 0, index: int | None = None) -> Any:
    """HDV_DEVICE of a slot; its rows carry ``index`` from now on."""
    out = ffi.new("void **")
    assert code(lib.hdvlab_system_device(machine.system, slot, out)) == S_OK
    if index is not None:
        assert code(lib.hdvlab_device_set_index(out[0], index)) == S_OK
    return out[0]


def memfd(size: int = 4096) -> int:
    fd = os.memfd_create("proxy-test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd
