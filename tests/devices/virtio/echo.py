"""A virtio device of the tests: it answers with what it was sent. And what the tests do with any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hdvlab import Lab
from hdvlab.devices.virtio import DEVICE_CONFIG, Chain, VirtioDevice, VirtioDriver, VirtioRegisters, Virtqueue
from hdvlab.devices.virtio.spec import Status
from hdvlab.guest import Guest
from hdvlab.registers import Register

TYPE = 42


class EchoRegisters(VirtioRegisters):
    LIMIT = Register(DEVICE_CONFIG, access="ro", reset=100)


class Echo(VirtioDevice):
    device_type = TYPE
    queue_count = 2
    queue_size = 8
    bar0: Any = EchoRegisters

    def on_request(self, queue: Virtqueue, chain: Chain) -> None:
        chain.write(chain.read()[: chain.room])


class EchoDriver(VirtioDriver):
    """Sends bytes and gets them back."""

    def __init__(self, guest: Guest, features: int = 0xFFFFFFFF, size: int = 8) -> None:
        super().__init__(guest, TYPE, features=features, size=size)

    def echo(self, data: bytes, number: int = 0, room: int | None = None) -> bytes:
        room = len(data) if room is None else room
        out, back = self.guest.dma_alloc(len(data)), self.guest.dma_alloc(max(room, 1))
        out.write(data)
        return back.read(0, self.request([(out.address, len(data))], [(back.address, room)], number))


def run(lab: Lab, function: Callable[[EchoDriver], Any], features: int = 0xFFFFFFFF, size: int = 8) -> Any:
    """Plug an echo in and run a driver on it; what it returned."""
    if "echo" not in lab:
        lab.plug(Echo)
    return lab.run(lambda guest: function(EchoDriver(guest, features, size))).value


def needs_reset(driver: VirtioDriver) -> None:
    """Wait for the interrupt that tells of it, and see that it is so."""
    driver.guest.wait_interrupt(driver.function, 10.0)
    assert driver.bar0.DEVICE_STATUS.read() & Status.NEEDS_RESET
