"""DEVICE_RESET."""

from __future__ import annotations

from hdvlab._core import ffi, lib

from ..core.scaffold import S_OK, CallbackDevice, Recording, code
from .client import CONFIG, EVENTFD, MSIX, TRIGGER, Client
from .served import MessageDevice, Vm, event


def test_a_reset_is_stop_and_start_for_a_device_that_knows_no_other(
    vm: Vm, client: Client, device: CallbackDevice
) -> None:
    client.store(0, 0, 1)
    device.calls.clear()
    client.reset()
    assert device.names() == ["stop", "start"]
    assert vm.state().resets == 1
    assert client.load(CONFIG, 4, 2) == 0, "no decoding, no bus mastering"


def test_a_device_may_have_a_reset_of_its_own(client: Client, device: CallbackDevice, recording: Recording) -> None:
    resets = []
    callback = ffi.callback("int32_t(void *)", lambda context: resets.append(context) or 0)
    assert code(lib.hdvlab_device_on_reset(device.handle, callback)) == S_OK
    for _ in range(2):
        client.enable()
        client.store(0, 0, 1)
        device.calls.clear()
        client.reset()
        assert device.calls == []
    assert len(resets) == 2
    assert [row["status"] for row in recording.rows(lib.HDVLAB_RESET)] == [S_OK, S_OK]


def test_a_device_whose_reset_fails_is_still_served(client: Client, device: CallbackDevice) -> None:
    callback = ffi.callback("int32_t(void *)", lambda context: -0x7FFFBFFB)
    assert code(lib.hdvlab_device_on_reset(device.handle, callback)) == S_OK
    client.reset()
    assert client.is_alive()


def test_what_qemu_does_around_a_reset_is_taken(vm: Vm) -> None:
    client = vm.serve(MessageDevice(pin=1))
    fd = event()
    client.enable()
    client.set_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, [fd])
    for _ in range(2):
        client.set_irqs(0x21, MSIX)
        client.store(CONFIG, 4, client.load(CONFIG, 4, 2) & ~0x407, 2)
        client.reset()
        assert client.load(CONFIG, 0x3D, 1) == 1
        client.set_irqs(EVENTFD | TRIGGER, 0, 0, 1, [fd])
        for bar in range(6):
            client.store(CONFIG, 0x10 + 4 * bar, 0)
    assert vm.state().resets == 2
    assert client.is_alive()
    import os

    os.close(fd)


def test_memory_stays_mapped_over_a_reset(vm: Vm, client: Client, device: CallbackDevice) -> None:
    client.dma_map(0, 4096)
    client.reset()
    assert vm.state().dma_regions == 1
