"""MSI-X: the table in a BAR, masks of vectors and of the function, pending bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, MsiCapability, MsixCapability, Register
from hdvlab.errors import AccessError, AccessWarning, GuestTimeoutError, HResult
from hdvlab.guest import Guest

CONTROL = 0x42
ENABLE, FUNCTION_MASK = 0x8000, 0x4000
TABLE, PBA = 0x800, 0xC00


class Queues(Device):
    vendor_id, device_id = 0x1234, 11
    capabilities = (MsixCapability(40, table_offset=TABLE, pba_offset=PBA), MsiCapability())

    class bar0(Bar):
        RING = Register(0x00)

    def initialize(self) -> None:
        self.answers: list[bool] = []

    @bar0.RING.on_write
    def ring(self, vector: int) -> None:
        self.answers.append(self.interrupt(vector))


def run(lab: Lab, driver: Callable[[Guest, Any], Any]) -> list[bool]:
    plugged = lab.plug(Queues)
    lab.run(lambda guest: driver(guest, guest["queues"]))
    assert lab.faults == []
    assert isinstance(plugged.device, Queues)
    return plugged.device.answers


def comes(guest: Guest, function: Any, vector: int) -> bool:
    try:
        guest.wait_interrupt(function, timeout=0, vector=vector)
    except GuestTimeoutError:
        return False
    return True


def test_msix_is_chosen_before_msi_and_each_vector_has_its_own_message(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        vectors = guest.request_interrupts(function, 5)
        for number in (4, 1):
            function.bar0.RING.write(number)
            assert comes(guest, function, number)
        assert not any(comes(guest, function, number) for number in range(5))
        assert [function.bar0.read(TABLE + 16 * n + 8) for n in range(5)] == vectors

    assert run(lab, driver) == [True, True]


def test_vectors_are_masked_at_reset_and_pending_until_they_are_unmasked(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function, 2)
        assert function.bar0.read(TABLE + 16 * 39 + 12) == 1
        function.bar0.RING.write(39)
        assert function.bar0.read(PBA + 4) == 1 << 39 - 32
        vector = function.vectors[0]
        for offset, value in ((0, 0xFEE0_0000), (4, 0), (8, vector), (12, 0)):
            function.bar0.write(TABLE + 16 * 39 + offset, value)
        assert comes(guest, function, 0)
        assert function.bar0.read(PBA, 8) == 0

    assert run(lab, driver) == [True]


def test_masking_a_vector_holds_it_back(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function, 2)
        function.bar0.write(TABLE + 16 + 12, 1)
        function.bar0.RING.write(1)
        function.bar0.RING.write(0)
        assert comes(guest, function, 0)
        assert not comes(guest, function, 1)
        assert function.bar0.read(PBA) == 0b10
        function.bar0.write(TABLE + 16 + 12, 0)
        assert comes(guest, function, 1)
        assert function.bar0.read(PBA) == 0

    assert run(lab, driver) == [True, True]


def test_masking_the_function_holds_all_back(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function, 3)
        function.config_write(CONTROL, ENABLE | FUNCTION_MASK, 2)
        for number in range(3):
            function.bar0.RING.write(number)
        assert not any(comes(guest, function, number) for number in range(3))
        function.config_write(CONTROL, ENABLE, 2)
        assert all(comes(guest, function, number) for number in range(3))

    assert run(lab, driver) == [True] * 3


@pytest.mark.fault(31)
def test_a_vector_behind_the_table_is_refused(lab: Lab) -> None:
    plugged = lab.plug(Queues)

    def driver(guest: Guest) -> None:
        guest.request_interrupts(guest["queues"])
        guest["queues"].bar0.RING.write(40)

    lab.run(driver)
    assert [fault.hresult for fault in plugged.device.faults] == [HResult.E_INVALIDARG]


def test_the_driver_may_not_ask_for_more_vectors_than_there_are(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        with pytest.raises(AccessError, match="queues has 40 MSI-X vectors, not 41"):
            guest.request_interrupts(function, 41)

    run(lab, driver)


def test_the_table_takes_dwords_and_qwords_and_the_pending_bits_are_read_only(lab: Lab) -> None:
    bar0 = lab.plug(Queues).bar0
    bar0.write(TABLE, 0x1_FEE0_0000, 8)
    assert (bar0.read(TABLE), bar0.read(TABLE + 4)) == (0xFEE0_0000, 1)
    with pytest.warns(AccessWarning):
        bar0.write(PBA, 1)
    assert bar0.read(PBA) == 0
    with pytest.warns(AccessWarning):
        assert bar0.read(TABLE, 2) == 0xFFFF


def test_a_power_cycle_masks_and_forgets_everything(lab: Lab) -> None:
    run(lab, lambda guest, function: guest.request_interrupts(function, 2))
    lab.stop()
    lab.start()
    assert [lab["queues"].bar0.read(TABLE + 4 * n) for n in range(4)] == [0, 0, 0, 1]
    assert lab["queues"].device.interrupt(0) is False
