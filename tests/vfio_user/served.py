"""A machine whose guest is in a VM, with devices of Python functions, and the wire that a VM would hold."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hdvlab._core import ffi, lib

from ..core.register_scaffold import RegisterDevice, register
from ..core.scaffold import DEADLINE, S_OK, CallbackDevice, Machine, Recording, code
from .client import QEMU, Client

#: BAR sizes as GetDetails gives them.
PAGE, FOUR_PAGES, IN_64_BITS = 0xFFFFF000, 0xFFFFC000, 0xFFFFF00C
NEVER = 0xFFFFFFFF


class Vm(Machine):
    """The system of hdvlab_vfio_user_create. Guest accesses come over the wire only."""

    name = "vfio-user"

    def __init__(self, recording: Recording | None = None, record_sections: bool = False) -> None:
        trace = ffi.NULL if recording is None else recording.handle
        out = ffi.new("void **")
        assert code(lib.hdvlab_vfio_user_create(record_sections, trace, out)) == S_OK
        self.system = self.device_system = out[0]
        assert code(lib.HdvInitializeDeviceHost(self.system, out)) == S_OK
        self.host = out[0]
        self.devices: list[CallbackDevice] = []
        self.clients: list[Client] = []

    @staticmethod
    def options(flags: int = 0, budget_ms: int = 0, poll_us: int = 0) -> Any:
        size = ffi.sizeof("HDVLAB_VFIO_USER_OPTIONS")
        return ffi.new(
            "HDVLAB_VFIO_USER_OPTIONS *", {"size": size, "flags": flags, "budget_ms": budget_ms, "poll_us": poll_us}
        )

    def wire(self, slot: int = 0, **options: int) -> Client:
        """A connection that nothing has been said on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        hresult = code(lib.hdvlab_vfio_user_attach(self.system, slot, theirs.detach(), self.options(**options)))
        client = Client(ours)
        self.clients.append(client)
        assert hresult == S_OK
        return client

    def connect(self, slot: int = 0, capabilities: Any = QEMU, **options: int) -> Client:
        """A connection after VERSION."""
        client = self.wire(slot, **options)
        client.version(capabilities)
        return client

    def serve(self, *devices: CallbackDevice, **options: int) -> Client:
        """Plug the devices into slots 0 and up, power on, connect to the first."""
        self.running(*devices, place=False)
        return self.connect(0, **options)

    def listen(self, path: str | Path, slot: int = 0, **options: int) -> int:
        return code(lib.hdvlab_vfio_user_listen(self.system, slot, os.fsencode(path), self.options(**options)))

    def dial(self, path: str | Path) -> Client:
        """Connect to a socket as a VM does."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.connect(os.fspath(path))  # blocking: it waits where the queue is full
        client = Client(connected)
        self.clients.append(client)
        return client

    def end(self, slot: int = 0) -> int:
        return code(lib.hdvlab_vfio_user_end(self.system, slot))

    def state(self, slot: int = 0) -> Any:
        state = ffi.new("HDVLAB_VFIO_USER_STATE *")
        assert code(lib.hdvlab_vfio_user_state(self.system, slot, state)) == S_OK
        return state

    def until(self, enough: Callable[[Any], bool], slot: int = 0) -> Any:
        """Wait until the state of a slot's connection is enough."""
        state, deadline = self.state(slot), time.monotonic() + DEADLINE
        while not enough(state):
            left = deadline - time.monotonic()
            assert left > 0, f"it did not come: state {state.state}, hung {state.hung}, resets {state.resets}"
            lib.hdvlab_vfio_user_wait(self.system, slot, state.changes, int(left * 1000) + 1, state)
        return state

    def close(self) -> None:
        for client in self.clients:
            client.close()
        try:
            super().close()
        finally:
            for device in self.devices:
                if isinstance(device, RegisterDevice):
                    device.close()


class MessageDevice(RegisterDevice):
    """BAR 0 with two registers; MSI with four vectors at 0x40, MSI-X with five at 0x60 whose table is in BAR 2."""

    MSI, MSIX = 0x40, 0x60

    def __init__(self, bars: Sequence[int] = (4096, 0, 0x2000), pin: int = 0) -> None:
        config = {
            0x04: (0x0010_0000, 0, 0),
            0x34: (self.MSI, 0, 0),
            0x3C: (pin << 8, 0, 0),
            self.MSI: (0x0084_0005 | self.MSIX << 8, 0x0071_0000, 0),  # 64 bits, 4 vectors
            self.MSI + 4: (0, 0xFFFFFFFC, 0),
            self.MSI + 8: (0, 0xFFFFFFFF, 0),
            self.MSI + 12: (0, 0xFFFF, 0),
            self.MSIX: (0x0004_0011, 0xC000_0000, 0),  # 5 vectors
            self.MSIX + 4: (0x0000_0002, 0, 0),
            self.MSIX + 8: (0x0000_1002, 0, 0),
        }
        super().__init__([register(0), register(8, 8)], bars, config=config, msi=self.MSI, msix=self.MSIX)


def event() -> int:
    """An eventfd that never blocks."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def fired(fd: int) -> int:
    """How often an eventfd has been signalled; waits until it is."""
    readable, _, _ = select.select([fd], [], [], DEADLINE)
    assert readable, "the event is not signalled"
    return os.eventfd_read(fd)


def silent(fd: int) -> bool:
    """Whether an eventfd is not signalled now."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError as error:
        assert error.errno == errno.EAGAIN  # noqa: PT017
        return True
    return False


def descriptors() -> int:
    """How many descriptors this process, which is the server's too, has."""
    return len(os.listdir("/proc/self/fd"))


def descriptors_become(count: int) -> None:
    """The number of descriptors is that soon: the server closes what it was given after it has answered, perhaps."""
    deadline = time.monotonic() + DEADLINE
    while descriptors() != count:
        assert time.monotonic() < deadline, f"{descriptors() - count:+} descriptors"
        os.sched_yield()
