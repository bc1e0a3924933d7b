"""QEMU's interrupts and DMA, without a guest: messages are aimed at RAM and read back."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, code
from ..vfio_user.served import PAGE, MessageDevice, Vm
from .qtest import RAM, Qtest

pytestmark = pytest.mark.vm

SLOT, PLACE = 4, 0xE000_0000
TARGET = 0x10_0000
HIDDEN = {"flags": lib.HDVLAB_VFIO_USER_HIDE_CAPABILITIES}
Boot = Callable[..., Qtest]


def test_msi_writes_its_data_where_the_guest_said(vm: Vm, boot: Boot) -> None:
    device = MessageDevice()
    qemu = boot(device)
    qemu.place(SLOT, PLACE)
    qemu.config_store(SLOT, 0x44, TARGET)
    qemu.config_store(SLOT, 0x48, 0)
    qemu.config_store(SLOT, 0x4C, 0x5550, 2)
    qemu.config_store(SLOT, 0x42, 0x21, 2)  # four vectors
    vm.until(lambda state: state.interrupt_mode == 5)
    for vector in range(4):
        assert device.raise_vector(vector) == S_OK
        qemu.until(TARGET, 0x5550 | vector)
    qemu.config_store(SLOT, 0x42, 0x20, 2)
    vm.until(lambda state: state.interrupt_mode == 0)
    assert device.raise_vector(0) != S_OK


def test_msix_writes_each_vectors_data_where_its_entry_says(vm: Vm, boot: Boot) -> None:
    device = MessageDevice()
    qemu = boot(device)
    qemu.place(SLOT, PLACE)
    table = qemu.place(SLOT, PLACE + 0x10000, bar=2)
    qemu.config_store(SLOT, 0x62, 0x8000, 2)
    for vector in range(5):
        entry = table + 16 * vector
        qemu.store(entry, TARGET + 64 * vector)
        qemu.store(entry + 4, 0)
        qemu.store(entry + 8, 0xABCD0000 + vector)
        qemu.store(entry + 12, 0)
    for vector in range(5):
        assert device.raise_vector(vector) == S_OK
        qemu.until(TARGET + 64 * vector, 0xABCD0000 + vector)
    # Entries that the guest changes are QEMU's; the device's vector stays the same.
    qemu.store(table + 16 + 8, 0x1234)
    assert device.raise_vector(1) == S_OK
    qemu.until(TARGET + 64, 0x1234)


def test_a_vector_that_the_guest_never_unmasked_is_pending(boot: Boot) -> None:
    device = MessageDevice()
    qemu = boot(device)
    table = qemu.place(SLOT, PLACE + 0x10000, bar=2)
    qemu.config_store(SLOT, 0x62, 0x8000, 2)
    assert device.raise_vector(2) == S_OK
    assert qemu.load(table + 0x1000) == 1 << 2, "QEMU forwards reads of the pending bits"
    qemu.store(table + 32, TARGET)
    qemu.store(table + 40, 0x77)
    qemu.store(table + 44, 0)
    qemu.until(TARGET, 0x77)
    assert qemu.load(table + 0x1000) == 0


def test_intx_is_a_level(vm: Vm, boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    device.config[0x3D] = 1
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    qemu.ask("irq_intercept_in ioapic")
    assert code(lib.hdvlab_device_set_line(device.handle, True)) == S_OK
    pin = qemu.next_irq().removeprefix("raise ")
    assert pin.isdigit()
    assert qemu.config_load(SLOT, 6, 2) & 8
    # The next access of the BAR is taken for an acknowledgement; the line is still up, so it is told again.
    qemu.load(bar)
    assert qemu.next_irq() == f"lower {pin}"
    assert qemu.next_irq() == f"raise {pin}"
    assert code(lib.hdvlab_device_set_line(device.handle, False)) == S_OK
    qemu.load(bar)
    assert qemu.next_irq() == f"lower {pin}"
    assert not qemu.config_load(SLOT, 6, 2) & 8
    assert qemu.lines == []


def test_hidden_capabilities_make_every_message_a_dma_write(vm: Vm, boot: Boot) -> None:
    device = MessageDevice()
    qemu = boot(device, options=HIDDEN)
    table = qemu.place(SLOT, PLACE + 0x10000, bar=2)
    assert qemu.config_load(SLOT, 0x34, 1) == 0x40, "seen after the reset"
    # The whole table reaches the device.
    qemu.store(table + 48, 0xFEE0_0000)
    qemu.store(table + 56, 0x4041)
    qemu.store(table + 60, 0)
    qemu.config_store(SLOT, 0x62, 0x8000, 2)
    assert qemu.load(table + 56) == 0x4041
    assert vm.state().interrupt_mode == 0, "QEMU gave no events"
    assert device.raise_vector(3) == S_OK
    # It went to the interrupt controller, which nothing reads without a vCPU; the connection stands.
    assert qemu.load(table + 56) == 0x4041
    assert "error" not in qemu.log.lower()


@pytest.mark.parametrize("shared", [True, False], ids=["descriptor", "messages"])
def test_a_device_reaches_guest_ram(vm: Vm, boot: Boot, shared: bool) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device, shared=shared)
    qemu.place(SLOT, PLACE)
    assert (vm.state().dma_bytes > RAM // 2) == shared
    data = os.urandom(10000)
    qemu.write(TARGET + 3, data)
    assert device.dma_read(TARGET + 3, len(data)) == (S_OK, data)
    assert device.dma_write(TARGET + 0x8001, data[::-1]) == S_OK
    assert qemu.read(TARGET + 0x8001, len(data)) == data[::-1]


@pytest.mark.parametrize("shared", [True, False], ids=["descriptor", "messages"])
def test_more_than_a_message_holds_is_copied_whole(boot: Boot, shared: bool) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device, shared=shared)
    qemu.place(SLOT, PLACE)
    data = os.urandom(4096) * 700
    assert device.dma_write(TARGET, data) == S_OK
    assert device.dma_read(TARGET, len(data)) == (S_OK, data)
    assert qemu.read(TARGET + 699 * 4096, 4096) == data[:4096]


@pytest.mark.parametrize("shared", [True, False], ids=["descriptor", "messages"])
def test_memory_that_is_not_there_or_not_allowed_is_refused(boot: Boot, shared: bool) -> None:
    device = CallbackDevice((PAGE,))
    qemu = boot(device, shared=shared)
    qemu.place(SLOT, PLACE)
    assert device.dma_read(1 << 40, 8)[0] == HResult.ERROR_NOACCESS
    assert device.dma_read(RAM - 4, 8)[0] == HResult.ERROR_NOACCESS
    qemu.config_store(SLOT, 4, 2, 2)
    assert device.dma_write(TARGET, b"x") == HResult.E_ACCESSDENIED
    assert qemu.load(TARGET, 1) == 0


def test_memory_is_reached_from_within_a_handler_when_it_has_a_descriptor(boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    device.read = lambda bar, offset, size: int.from_bytes(device.dma_read(TARGET, size)[1], "little")
    qemu = boot(device)
    bar = qemu.place(SLOT, PLACE)
    qemu.store(TARGET, 0x12345678)
    assert qemu.load(bar) == 0x12345678


@pytest.mark.fault(54)
def test_a_handler_that_asks_qemu_for_memory_is_refused_instead_of_waiting_for_ever(boot: Boot) -> None:
    device = CallbackDevice((PAGE,))
    seen = []
    device.read = lambda bar, offset, size: seen.append(device.dma_read(TARGET, size)[0]) or 5
    qemu = boot(device, shared=False)
    bar = qemu.place(SLOT, PLACE)
    assert qemu.load(bar) == 5
    assert seen == [HResult.ERROR_INVALID_STATE]


def test_an_aperture_is_guest_ram(boot: Boot) -> None:
    from hdvlab._core import ffi

    device = CallbackDevice((PAGE,))
    qemu = boot(device)
    qemu.place(SLOT, PLACE)
    hresult, mapped = device.aperture(TARGET, 8192)
    assert hresult == S_OK
    qemu.write(TARGET + 4094, b"over")
    assert bytes(ffi.buffer(mapped + 4094, 4)) == b"over"
    ffi.buffer(mapped, 3)[:] = b"dev"
    assert qemu.read(TARGET, 3) == b"dev"
    assert code(lib.HdvDestroyGuestMemoryAperture(device.handle, mapped)) == S_OK
