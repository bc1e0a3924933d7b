"""A virtio device of the tests: it answers with what it was sent. And what the tests do with any of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from hdvlab import Lab
from hdvlab.devices.virtio import DEVICE_CONFIG, Chain, VirtioDevice, VirtioDriver, VirtioRegisters, Virtqueue
from hdvlab.devices.virtio.spec import Status
from hdvlab.guest import Guest
from hdvlab.hdv import Doorbell
from hdvlab.registers import Register

from ...labs import PATIENCE

TYPE = 42


class EchoRegisters(VirtioRegisters):
    LIMIT = Register(DEVICE_CONFIG, access="ro", reset=100)


class Echo(VirtioDevice):
    device_type = TYPE
    queue_count = 2
    queue_size = 8
    bar0: Any = EchoRegisters

    def initialize(self) -> None:
        self._idle = threading.Semaphore(0)

    def on_request(self, queue: Virtqueue, chain: Chain) -> None:
        chain.write(chain.read()[: chain.room])

    def _drain(self, queue: Virtqueue, bell: Doorbell) -> None:
        super()._drain(queue, bell)
        self._idle.release()

    def wait_idle(self, queues: int) -> None:
        """Wait until so many queues were looked through since the last wait; DRIVER_OK alone makes it look at all."""
        for _ in range(queues):
            assert self._idle.acquire(timeout=PATIENCE), "it looked at no queue"


class EchoDriver(VirtioDriver):
    """Sends bytes and gets them back."""

    def __init__(self, guest: Guest, features: int = 0xFFFFFFFF, size: int = 8) -> None:
        super().__init__(guest, TYPE, features=features, size=size)

    def echo(self, data: bytes, number: int = 0, room: int | None = None) -> bytes:
        room = len(data) if room is None else room
        out, back = self.guest.dma_alloc(len(data)), self.guest.dma_alloc(max(room, 1))
        out.write(data)
        return back.read(0, self.request([(out.address, len(data))], [(back.address, room)], number))


def device(lab: Lab) -> Echo:
    """The echo that is plugged in."""
    return cast(Echo, lab["echo"].device)


def run(lab: Lab, function: Callable[[EchoDriver], Any], features: int = 0xFFFFFFFF, size: int = 8) -> Any:
    """Plug an echo in and run a driver on it, from when it has nothing to do; what the driver returned."""
    if "echo" not in lab:
        lab.plug(Echo)

    def drive(guest: Guest) -> Any:
        driver = EchoDriver(guest, features, size)
        device(lab).wait_idle(Echo.queue_count)
        return function(driver)

    return lab.run(drive).value


def needs_reset(driver: VirtioDriver) -> None:
    """Wait for the interrupt that tells of it, and see that it is so."""
    driver.guest.wait_interrupt(driver.function, 10.0)
    assert driver.bar0.DEVICE_STATUS.read() & Status.NEEDS_RESET
