"""A VM's side of vfio-user, by hand: messages over a socket pair that the library serves."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from hdvlab._core import ffi, lib
from hdvlab.hdv.structures import guid

from .scaffold import CLASS_ID, DEADLINE, S_OK, Recording, code

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET = range(9, 14)
CONFIG = 7
NO_REPLY, ERROR = 0x10, 0x20
MIB = 1 << 20


def ram(size: int = MIB) -> int:
    """A memfd as QEMU makes them: sealed."""
    fd = os.memfd_create("guest-ram", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


class Refused(Exception):
    """An error reply; its argument is the errno."""


class VM:
    """A machine of the library whose slot 0 has a device, and the connected end of a VM that this class plays."""

    def __init__(self, device: Any, recording: Recording | None, **options: int) -> None:
        self.device = device
        out = ffi.new("void **")
        assert code(lib.hdvlab_vfio_user_create(0, ffi.NULL if recording is None else recording.handle, out)) == S_OK
        self.system = out[0]
        assert code(lib.HdvInitializeDeviceHost(self.system, out)) == S_OK
        self.host, instance = out[0], uuid.uuid4()
        if hasattr(device, "file"):
            hresult = lib.hdvlab_register_file_instance(device.file, self.host, guid(CLASS_ID), guid(instance), out)
        else:
            hresult = lib.HdvCreateDeviceInstance(
                self.host, 1, guid(CLASS_ID), guid(instance), device.interface, ffi.NULL, out
            )
        assert code(hresult) == S_OK
        self.handle = device.handle = out[0]
        assert code(lib.hdvlab_system_add_slot(self.system, 0, guid(CLASS_ID), guid(instance), 0, ffi.NULL)) == S_OK
        assert code(lib.hdvlab_system_start(self.system)) == S_OK
        self.options = {"size": ffi.sizeof("HDVLAB_VFIO_USER_OPTIONS"), "poll_us": 0} | options
        self.next_id = 0
        self.later: list[tuple[int, int, int, int, bytes]] = []
        self.connect()

    def connect(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE)
        options = ffi.new("HDVLAB_VFIO_USER_OPTIONS *", self.options)
        assert code(lib.hdvlab_vfio_user_attach(self.system, 0, theirs.detach(), options)) == S_OK
        version = self.call(VERSION, struct.pack("<HH", 0, 0) + b'{"capabilities": {"max_msg_fds": 16}}\0')
        assert version[:4] == bytes(4)

    # ---- messages ----------------------------------------------------------------------------------------------

    def send(self, command: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> int:
        self.next_id = (self.next_id + 1) & 0xFFFF
        message = struct.pack("<HHIII", self.next_id, command, 16 + len(payload), flags, 0) + payload
        socket.send_fds(self.socket, [message], list(fds))
        return self.next_id

    def receive(self) -> tuple[int, int, int, int, bytes]:
        """Id, command, flags, error and payload of the next message."""
        header = self._bytes(16)
        number, command, size, flags, error = struct.unpack("<HHIII", header)
        return number, command, flags, error, self._bytes(size - 16)

    def _bytes(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def reply(self, number: int) -> bytes:
        """The reply to a command; commands of the device that come before are kept in ``later``."""
        while True:
            message = self.receive()
            if message[2] & 0xF == 1 and message[0] == number:
                break
            self.later.append(message)
        if message[2] & ERROR:
            raise Refused(message[3])
        return message[4]

    def call(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> bytes:
        return self.reply(self.send(command, payload, fds))

    def map(self, gpa: int, size: int, fd: int | None, offset: int = 0, flags: int = 3) -> None:
        self.call(DMA_MAP, struct.pack("<IIQQQ", 32, flags, offset, gpa, size), [] if fd is None else [fd])

    def unmap(self, gpa: int, size: int) -> None:
        assert len(self.call(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, gpa, size))) == 24

    def read(self, region: int, offset: int, size: int = 4) -> int:
        reply = self.call(REGION_READ, struct.pack("<QII", offset, region, size))
        return int.from_bytes(reply[16:], "little")

    def write(self, region: int, offset: int, value: int, size: int = 4, posted: bool = False) -> None:
        payload = struct.pack("<QII", offset, region, size) + value.to_bytes(size, "little")
        number = self.send(REGION_WRITE, payload, flags=NO_REPLY if posted else 0)
        if not posted:
            self.reply(number)

    def set_irqs(self, index: int, flags: int, start: int = 0, count: int = 0, fds: Sequence[int] = ()) -> None:
        self.call(SET_IRQS, struct.pack("<IIIII", 20, flags, index, start, count), fds)

    def state(self) -> Any:
        state = ffi.new("HDVLAB_VFIO_USER_STATE *")
        assert code(lib.hdvlab_vfio_user_state(self.system, 0, state)) == S_OK
        return state

    def wait_for(self, condition: Any) -> Any:
        """The state, once the condition is true of it."""
        state = self.state()
        while not condition(state):
            hresult = code(lib.hdvlab_vfio_user_wait(self.system, 0, state.changes, int(DEADLINE * 1000), state))
            assert hresult == S_OK
        return state

    def close(self) -> None:
        self.socket.close()
        assert code(lib.hdvlab_system_close(self.system)) == S_OK
        code(lib.HdvTeardownDeviceHost(self.host))
        if hasattr(self.device, "file"):
            self.device.close()

    def __enter__(self) -> VM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def eventfd(flags: int = os.EFD_NONBLOCK | os.EFD_CLOEXEC) -> int:
    return os.eventfd(0, flags)


def signals(fd: int, timeout: float = DEADLINE) -> int:
    """Waits for an eventfd; how often it was signalled, 0 after the time-out."""
    return os.eventfd_read(fd) if select.select([fd], [], [], timeout)[0] else 0
