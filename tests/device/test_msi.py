"""MSI: one and several vectors, masked and pending, enabled and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, MsiCapability, Register
from hdvlab.errors import AccessError, GuestTimeoutError, HResult, StateError
from hdvlab.guest import Guest

ENABLE_AT = 0x42  # the capability is the first, at 0x40; its control register is 2 bytes on


class Ringer(Device):
    vendor_id, device_id = 0x1234, 10
    capabilities = (MsiCapability(vectors=8, per_vector_masking=True),)

    class bar0(Bar):
        RING = Register(0x00)

    def initialize(self) -> None:
        self.answers: list[bool] = []

    @bar0.RING.on_write
    def ring(self, vector: int) -> None:
        self.answers.append(self.interrupt(vector))


class OneVector(Ringer):
    capabilities = (MsiCapability(),)


class NoCapability(Ringer):
    capabilities = ()


def run(lab: Lab, device: type[Ringer], driver: Callable[[Guest, Any], Any]) -> list[bool]:
    """Run a driver on a device; what its interrupt() answered."""
    plugged = lab.plug(device, name="ringer")
    lab.run(lambda guest: driver(guest, guest["ringer"]))
    assert lab.faults == []
    assert isinstance(plugged.device, Ringer)
    return plugged.device.answers


def interrupts(lab: Lab) -> Any:
    frame = lab.trace.frame()
    return frame[frame["kind"] == "interrupt"]


def test_before_the_driver_enables_anything_an_interrupt_goes_nowhere(lab: Lab) -> None:
    assert run(lab, Ringer, lambda guest, function: function.bar0.RING.write(0)) == [False]
    assert run(lab, NoCapability, lambda guest, function: function.bar0.RING.write(0)) == [False]
    lost = interrupts(lab)
    assert lost["status"].tolist() == [HResult.ERROR_INVALID_STATE.signed] * 2, "the rows say that they went nowhere"
    assert (lost["cause"] >= 0).all()


def test_one_vector_reaches_the_waiting_driver_and_its_row_has_address_data_and_cause(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        [vector] = guest.request_interrupts(function)
        function.bar0.RING.write(0)
        assert guest.wait_interrupt(function) == 0
        assert vector == 0x20

    assert run(lab, OneVector, driver) == [True]
    [row] = interrupts(lab).to_dict("records")
    assert (row["address"], row["value"], row["size"]) == (0xFEE0_0000, 0x20, 4)
    assert (row["origin"], row["status"]) == ("device", 0)
    cause = lab.trace.frame().loc[row["cause"]]
    assert (cause["kind"], cause["address"]) == ("mmio_write", 0)


def test_several_vectors_are_told_apart_by_the_low_bits_of_the_data(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        vectors = guest.request_interrupts(function, 4)
        assert vectors[0] % 4 == 0
        for number in (2, 0, 3):
            function.bar0.RING.write(number)
        for number in (0, 2, 3):
            guest.wait_interrupt(function, vector=number, timeout=0)
        with pytest.raises(GuestTimeoutError):
            guest.wait_interrupt(function, vector=1, timeout=0)

    assert run(lab, Ringer, driver) == [True] * 3
    assert [value & 3 for value in interrupts(lab)["value"]] == [2, 0, 3]


@pytest.mark.fault(31)
def test_a_vector_that_was_not_granted_is_refused(lab: Lab) -> None:
    plugged = lab.plug(Ringer)

    def driver(guest: Guest) -> None:
        guest.request_interrupts(guest["ringer"], 2)
        guest["ringer"].bar0.RING.write(2)

    lab.run(driver)
    [fault] = lab.faults
    assert isinstance(fault.error, AccessError)
    assert fault.hresult == HResult.E_INVALIDARG
    assert "interrupt(2): no such vector, or the driver was not granted it" in str(fault.error)
    with pytest.raises(AccessError, match="vectors are counted from 0"):
        plugged.device.interrupt(-1)


@pytest.mark.fault(31)
def test_a_masked_vector_is_pending_and_delivered_once_when_it_is_unmasked(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function, 4)
        function.config_write(0x50, 0b0010)  # mask bits, of a 64-bit capability at 0x40
        function.bar0.RING.write(1)
        function.bar0.RING.write(1)
        function.bar0.RING.write(0)
        assert guest.wait_interrupt(function, vector=0, timeout=0) == 0
        with pytest.raises(GuestTimeoutError):
            guest.wait_interrupt(function, vector=1, timeout=0)
        assert function.config_read(0x54) == 0b0010, "pending"
        function.config_write(0x50, 0)
        assert guest.wait_interrupt(function, vector=1, timeout=0) == 0, "two rings while masked are one message"
        assert function.config_read(0x54) == 0

    assert run(lab, Ringer, driver) == [True] * 3
    rows = interrupts(lab)
    assert len(rows) == 2
    cause = lab.trace.frame().loc[rows["cause"].iloc[1]]
    assert (cause["kind"], cause["address"], cause["value"]) == ("config_write", 0x50, 0), "the unmasking led to it"


def test_interrupts_that_nobody_waits_for_yet_are_kept_and_counted(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function)
        for _ in range(3):
            function.bar0.RING.write(0)
        assert [guest.wait_interrupt(function, timeout=0) for _ in range(3)] == [2, 1, 0]

    run(lab, OneVector, driver)


def test_switching_msi_off_again_stops_it(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function)
        function.config_write(ENABLE_AT, function.config_read(ENABLE_AT, 2) & ~1, 2)
        function.bar0.RING.write(0)

    assert run(lab, OneVector, driver) == [False]


@pytest.mark.fault(29)
def test_without_bus_mastering_no_message_is_sent(lab: Lab) -> None:
    def driver(guest: Guest, function: Any) -> None:
        guest.request_interrupts(function)
        function.enable(bus_master=False)
        function.bar0.RING.write(0)

    assert run(lab, OneVector, driver) == [False]
    assert list(interrupts(lab)["status"]) == [HResult.E_ACCESSDENIED.signed]


@pytest.mark.fault(32)
@pytest.mark.parametrize("address", [0x10_0000, 0xFEE0_0000 - 4, 0xFEF0_0000])
def test_a_message_to_an_address_outside_the_interrupt_window_is_never_a_write_to_ram(lab: Lab, address: int) -> None:
    plugged = lab.plug(OneVector, name="ringer")

    def driver(guest: Guest) -> None:
        function = guest["ringer"]
        guest.request_interrupts(function)
        function.config_write(0x44, address)
        function.bar0.RING.write(0)

    before = lab.machine.ram_read(0x10_0000, 4)
    lab.run(driver)
    assert [fault.hresult for fault in plugged.device.faults] == [HResult.ERROR_NOACCESS]
    assert list(interrupts(lab)["status"]) == [HResult.ERROR_NOACCESS.signed]
    assert lab.machine.ram_read(0x10_0000, 4) == before


def test_a_driver_that_asks_wrongly_is_told_how(lab: Lab) -> None:
    def too_many(guest: Guest, function: Any) -> None:
        with pytest.raises(AccessError, match="MSI takes 1 to 1 vectors, a power of two, not 2"):
            guest.request_interrupts(function, 2)
        with pytest.raises(AccessError, match="a function needs 1 vector or more, not 0"):
            guest.request_interrupts(function, 0)
        with pytest.raises(StateError, match="ringer was given 0 vectors; request_interrupts"):
            guest.wait_interrupt(function)

    def three(guest: Guest, function: Any) -> None:
        with pytest.raises(AccessError, match="MSI takes 1 to 8 vectors, a power of two, not 3"):
            guest.request_interrupts(function, 3)

    def none(guest: Guest, function: Any) -> None:
        with pytest.raises(StateError, match="ringer has neither MSI nor MSI-X"):
            guest.request_interrupts(function)

    run(lab, OneVector, too_many)
    run(lab, Ringer, three)
    run(lab, NoCapability, none)
