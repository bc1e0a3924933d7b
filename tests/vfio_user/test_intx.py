"""INTx: a line that stays up until its reason is gone, over events that only tell edges."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hdvlab._core import lib
from hdvlab.errors import HResult

from ..core.scaffold import S_OK, CallbackDevice, Recording, code
from .client import CONFIG, EVENTFD, INTX, MASK, NONE, TRIGGER, UNMASK, Client
from .served import PAGE, Vm, event, fired, silent

DISABLE_INTX = 0x400


@pytest.fixture
def device() -> CallbackDevice:
    device = CallbackDevice((PAGE,))
    device.config[0x3D] = 1  # INTA
    return device


@pytest.fixture
def line(client: Client) -> Iterator[int]:
    fd = event()
    client.set_irqs(EVENTFD | TRIGGER, INTX, 0, 1, [fd])
    yield fd
    os.close(fd)


def drive(device: CallbackDevice, asserted: bool) -> int:
    return code(lib.hdvlab_device_set_line(device.handle, asserted))


def interrupt_status(client: Client) -> int:
    return client.load(CONFIG, 6, 2) >> 3 & 1


def test_a_device_whose_config_space_names_the_pin_has_the_line(client: Client) -> None:
    assert client.irq_info(INTX)[1] == 1
    assert client.load(CONFIG, 0x3D, 1) == 1


def test_a_raised_line_signals_once_and_shows_in_status(
    vm: Vm, client: Client, device: CallbackDevice, line: int
) -> None:
    assert vm.state().interrupt_mode == 1
    assert interrupt_status(client) == 0
    assert drive(device, True) == S_OK
    assert fired(line) == 1
    assert interrupt_status(client) == 1
    assert drive(device, True) == S_OK  # up already
    assert drive(device, False) == S_OK
    assert interrupt_status(client) == 0


def test_a_line_that_goes_up_is_a_row_each_time(device: CallbackDevice, client: Client, recording: Recording) -> None:
    since = len(recording)
    for asserted in (True, True, False, True, False):
        drive(device, asserted)
    rows = recording.rows(lib.HDVLAB_INTERRUPT, since=since)
    assert [(row["address"], row["size"], row["value"], row["status"]) for row in rows] == [(0, 0, 1, S_OK)] * 2


def test_a_line_that_is_still_up_is_signalled_again_when_the_guest_has_acknowledged(
    client: Client, device: CallbackDevice, line: int
) -> None:
    # TCG: on the next BAR access QEMU lowers its line and unmasks; libvfio-user loses the interrupt then.
    drive(device, True)
    assert fired(line) == 1
    client.set_irqs(NONE | UNMASK, INTX, 0, 1)
    assert fired(line) == 1
    drive(device, False)
    client.set_irqs(NONE | UNMASK, INTX, 0, 1)
    assert silent(line)


def test_kvms_resample_event_is_an_unmask(client: Client, device: CallbackDevice, line: int) -> None:
    acknowledged = event()
    client.set_irqs(NONE | MASK, INTX, 0, 1)
    client.set_irqs(EVENTFD | UNMASK, INTX, 0, 1, [acknowledged])
    client.set_irqs(NONE | UNMASK, INTX, 0, 1)
    drive(device, True)
    assert fired(line) == 1
    os.eventfd_write(acknowledged, 1)
    assert fired(line) == 1
    assert client.is_alive()
    assert silent(line)
    drive(device, False)
    os.eventfd_write(acknowledged, 1)
    while not silent(acknowledged):  # the server takes it
        assert client.is_alive()
    assert client.is_alive()
    assert silent(line)
    os.close(acknowledged)


@pytest.mark.fault(31)
def test_a_masked_line_waits(client: Client, device: CallbackDevice, line: int) -> None:
    client.set_irqs(NONE | MASK, INTX, 0, 1)
    drive(device, True)
    assert client.is_alive()
    assert silent(line)
    client.set_irqs(NONE | UNMASK, INTX, 0, 1)
    assert fired(line) == 1


@pytest.mark.fault(31)
def test_the_command_register_disables_the_line(client: Client, device: CallbackDevice, line: int) -> None:
    client.enable(6 | DISABLE_INTX)
    drive(device, True)
    assert client.is_alive()
    assert silent(line)
    assert interrupt_status(client) == 1, "Status tells of it all the same (PCI 3.0, 6.2.3)"
    client.enable(6)
    assert fired(line) == 1


def test_a_line_that_was_up_before_the_event_came_is_signalled_when_it_comes(
    client: Client, device: CallbackDevice
) -> None:
    drive(device, True)
    fd = event()
    client.set_irqs(EVENTFD | TRIGGER, INTX, 0, 1, [fd])
    assert fired(fd) == 1
    os.close(fd)


@pytest.mark.fault(31)
def test_a_device_without_the_pin_has_no_line(vm: Vm) -> None:
    device = CallbackDevice((PAGE,))
    client = vm.serve(device)
    drive(device, True)  # refused or nothing
    assert client.irq_info(INTX)[1] == 0
    assert client.is_alive()


@pytest.mark.fault(40)
def test_the_line_of_a_device_that_is_gone_is_nobodys(vm: Vm, device: CallbackDevice) -> None:
    vm.serve(device)
    assert vm.stop() == S_OK
    assert drive(device, True) in (HResult.E_HANDLE, HResult.ERROR_INVALID_STATE)
