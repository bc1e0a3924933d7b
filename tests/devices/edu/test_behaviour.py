"""What edu does: factorials in the background, interrupts to acknowledge, transfers.

Ref: shared/reference/vfio-user.md, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdvlab import Lab
from hdvlab.devices.edu import Edu, EduDriver
from hdvlab.devices.edu.device import factorial
from hdvlab.errors import GuestTimeoutError, HResult
from hdvlab.guest import Guest

from ...labs import PATIENCE

BUFFER = 0x40000


def run(lab: Lab, driver: Callable[[EduDriver], Any], *configuration: str) -> Any:
    """Run a driver on a fresh edu whose transfers take no time; what it returned."""
    if "edu" not in lab:
        lab.plug(Edu, configuration=["dma_delay_ms=0", *configuration])
    return lab.run(lambda guest: driver(EduDriver(guest))).value


def rows(lab: Lab, kind: str) -> Any:
    frame = lab.trace.frame()
    return frame[frame["kind"] == kind]


# ---- factorial ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 5000))
@settings(max_examples=60, deadline=None)
def test_the_factorial_is_pythons_modulo_2_to_the_32(n: int) -> None:
    assert factorial(n) == math.factorial(n) % (1 << 32)


def test_the_factorial_of_the_largest_number_takes_no_time() -> None:
    assert factorial(0xFFFF_FFFF) == 0


def test_factorials_over_the_bus_by_interrupt_and_by_polling(lab: Lab) -> None:
    def driver(edu: EduDriver) -> dict[int, tuple[int, int]]:
        return {n: (edu.factorial(n), edu.factorial_polled(n)) for n in (0, 1, 2, 10, 12, 13, 33, 34, 0xFFFF_FFFF)}

    for n, answers in run(lab, driver).items():
        want = math.factorial(n) % (1 << 32) if n < 1000 else 0
        assert answers == (want, want)
    assert lab.faults == []


def test_an_interrupt_comes_only_when_status_asks_for_it_and_after_computing_is_0(lab: Lab) -> None:
    def driver(edu: EduDriver) -> None:
        edu.factorial_polled(5)
        with pytest.raises(GuestTimeoutError):
            edu.guest.wait_interrupt(edu.function, timeout=0.05)
        edu.bar0.STATUS.write(0x80)
        edu.bar0.FACTORIAL.write(6)
        edu.guest.wait_interrupt(edu.function, timeout=PATIENCE)
        assert edu.bar0.STATUS.read() == 0x80
        assert edu.bar0.FACTORIAL.read() == 720
        assert edu.bar0.IRQ_STATUS.read() == 0x1

    run(lab, driver)


def test_a_write_while_it_computes_is_ignored(lab: Lab) -> None:
    bar0 = lab.plug(Edu).bar0
    state: Any = lab["edu"].device.bar0
    state.STATUS.COMPUTING = 1
    state.FACTORIAL = 77
    bar0.FACTORIAL.write(5)
    assert (bar0.FACTORIAL.read(), bar0.STATUS.read()) == (77, 1)
    bar0.STATUS.write(0)
    assert bar0.STATUS.read() == 1, "and COMPUTING is read-only"


def test_the_factorials_interrupt_row_names_the_write_of_n_as_its_cause(lab: Lab) -> None:
    run(lab, lambda edu: edu.factorial(5))
    [row] = rows(lab, "interrupt").to_dict("records")
    cause = lab.trace.frame().loc[row["cause"]]
    assert (cause["kind"], cause["address"], cause["value"]) == ("mmio_write", 0x08, 5)


# ---- interrupts -----------------------------------------------------------------------------------------------------


def test_raised_causes_add_up_and_each_raise_is_a_message(lab: Lab) -> None:
    def driver(edu: EduDriver) -> None:
        for causes in (0x1, 0x100, 0x8000_0000):
            edu.bar0.IRQ_RAISE.write(causes)
        assert edu.bar0.IRQ_STATUS.read() == 0x8000_0101
        assert edu.guest.wait_interrupt(edu.function, timeout=0) == 2
        edu.bar0.IRQ_ACKNOWLEDGE.write(0x8000_0001)
        assert edu.bar0.IRQ_STATUS.read() == 0x100
        edu.bar0.IRQ_ACKNOWLEDGE.write(0xFFFF_FFFF)
        assert edu.bar0.IRQ_STATUS.read() == 0

    run(lab, driver)
    assert len(rows(lab, "interrupt")) == 3


def test_raising_nothing_interrupts_only_while_something_is_raised(lab: Lab) -> None:
    def driver(edu: EduDriver) -> None:
        edu.bar0.IRQ_RAISE.write(0)
        with pytest.raises(GuestTimeoutError):
            edu.guest.wait_interrupt(edu.function, timeout=0)
        edu.bar0.IRQ_RAISE.write(2)
        edu.bar0.IRQ_RAISE.write(0)
        assert edu.guest.wait_interrupt(edu.function, timeout=0) == 1

    run(lab, driver)


def test_without_msi_only_the_status_tells(lab: Lab) -> None:
    bar0 = lab.plug(Edu).bar0
    bar0.IRQ_RAISE.write(6)
    assert bar0.IRQ_STATUS.read() == 6
    assert rows(lab, "interrupt")["status"].tolist() == [HResult.ERROR_INVALID_STATE.signed]
    assert lab.faults == []


# ---- DMA ------------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=4096), place=st.integers(0, 4095))
def test_bytes_go_there_and_back_and_the_payloads_are_the_buffers(lab: Lab, data: bytes, place: int) -> None:
    data = data[: 4096 - place]

    def driver(edu: EduDriver) -> tuple[int, int, bytes]:
        out, back = edu.guest.dma_alloc(len(data)), edu.guest.dma_alloc(len(data))
        out.write(data)
        edu.dma(out.address, BUFFER + place, len(data), from_device=False)
        edu.dma(BUFFER + place, back.address, len(data), from_device=True)
        assert edu.bar0.DMA_COMMAND.read() & 1 == 0
        return out.address, back.address, back.read()

    out, back, echoed = run(lab, driver)
    assert echoed == data
    device: Any = lab["edu"].device
    assert device.buffer[place : place + len(data)] == data
    frame = lab.trace.frame()
    dma = frame[frame["kind"].isin(["dma_read", "dma_write"])].tail(2)
    assert list(dma["kind"]) == ["dma_read", "dma_write"]
    assert list(dma["address"]) == [out, back]
    assert set(dma["size"]) == {len(data)}
    assert [lab.trace.payload(int(row)) for row in dma.index] == [data, data]
    causes = frame.loc[dma["cause"]]
    assert set(causes["address"]) == {0x98}
    assert list(causes["value"]) == [5, 7]


def test_without_bit_2_the_end_is_silent_and_with_it_cause_0x100_is_raised(lab: Lab) -> None:
    def driver(edu: EduDriver) -> None:
        buffer = edu.guest.dma_alloc(16)
        edu.bar0.DMA_SOURCE.write(buffer.address)
        edu.bar0.DMA_DESTINATION.write(BUFFER)
        edu.bar0.DMA_COUNT.write(16)
        edu.bar0.DMA_COMMAND.write(1)
        while edu.bar0.DMA_COMMAND.read() & 1:
            pass
        with pytest.raises(GuestTimeoutError):
            edu.guest.wait_interrupt(edu.function, timeout=0)
        edu.bar0.DMA_COMMAND.write(5)
        edu.guest.wait_interrupt(edu.function, timeout=PATIENCE)
        assert edu.bar0.IRQ_STATUS.read() == 0x100

    run(lab, driver)
    cause = lab.trace.frame().loc[rows(lab, "interrupt")["cause"].iloc[0]]
    assert (cause["kind"], cause["address"], cause["value"]) == ("mmio_write", 0x98, 5)


@pytest.mark.fault(21)
@pytest.mark.parametrize("from_device", [False, True])
@pytest.mark.parametrize(
    ("place", "count"),
    [(BUFFER - 1, 4), (BUFFER, 4097), (BUFFER + 4095, 2), (BUFFER + 4096, 1), (0, 4), (BUFFER, (1 << 64) - 1),
     ((1 << 64) - 1, 2)],
)  # fmt: skip
def test_a_device_side_range_outside_the_buffer_is_refused_with_a_fault(
    lab: Lab, from_device: bool, place: int, count: int
) -> None:
    def driver(edu: EduDriver) -> None:
        buffer = edu.guest.dma_alloc(4096)
        source, destination = (place, buffer.address) if from_device else (buffer.address, place)
        edu.dma(source, destination, count, from_device)
        assert edu.bar0.DMA_COMMAND.read() & 1 == 0, "the engine comes to rest all the same"

    run(lab, driver)
    lab.stop()  # the interrupt comes before the fault is told; this waits for the timer's thread
    [fault] = lab.faults
    assert f"DMA of {count:#x} bytes at device address {place:#x} is outside the buffer 0x40000 to 0x40fff" in str(
        fault.error
    )
    assert fault.hresult == HResult.E_INVALIDARG
    assert len(rows(lab, "dma_read")) == len(rows(lab, "dma_write")) == 0
    device: Any = lab["edu"].device
    assert device.buffer == bytes(4096)


@pytest.mark.fault(21)
def test_a_guest_side_range_outside_of_ram_is_refused_and_nothing_moves(lab: Lab) -> None:
    run(lab, lambda edu: edu.dma(0x0FFF_F000, BUFFER, 64, from_device=False))
    lab.stop()
    assert list(rows(lab, "dma_read")["status"]) == [HResult.ERROR_NOACCESS.signed]
    assert [fault.hresult for fault in lab.faults] == [HResult.ERROR_NOACCESS]


@pytest.mark.fault(29)
def test_without_bus_mastering_the_transfer_is_refused(lab: Lab) -> None:
    def driver(edu: EduDriver) -> None:
        edu.function.enable(bus_master=False)
        edu.bar0.DMA_DESTINATION.write(BUFFER)
        edu.bar0.DMA_COUNT.write(4)
        edu.bar0.DMA_COMMAND.write(1)
        while edu.bar0.DMA_COMMAND.read() & 1:
            pass

    run(lab, driver)
    assert list(rows(lab, "dma_read")["status"]) == [HResult.E_ACCESSDENIED.signed]


def test_guest_addresses_are_anded_with_the_mask_and_device_addresses_are_not(lab: Lab) -> None:
    def driver(edu: EduDriver) -> None:
        for from_device in (False, True):
            here = 0xFFFF_FFFF_0010_2008
            edu.dma(BUFFER if from_device else here, here if from_device else BUFFER, 8, from_device)

    run(lab, driver, "dma_mask=0x1fffff")
    assert list(rows(lab, "dma_read")["address"]) == [0x10_2008]
    assert list(rows(lab, "dma_write")["address"]) == [0x10_2008]
    assert lab.faults == []


def test_the_default_transfer_takes_its_100_ms(lab: Lab) -> None:
    lab.plug(Edu)
    run(lab, lambda edu: edu.dma(0x10_0000, BUFFER, 8, from_device=False))
    frame = lab.trace.frame()
    [row] = rows(lab, "dma_read").to_dict("records")
    assert row["t_ns"] - frame.loc[row["cause"]]["t_ns"] >= 100_000_000


def test_power_off_in_the_middle_of_a_transfer_is_no_fault(lab: Lab) -> None:
    bar0 = lab.plug(Edu, configuration=["dma_delay_ms=600000"]).bar0
    bar0.DMA_COMMAND.write(5)
    lab.stop()
    assert lab.faults == []
    assert lab["edu"].device.join_work(PATIENCE) == []
    lab.start()
    assert lab["edu"].bar0.DMA_COMMAND.read() == 0


def test_two_edus_do_not_disturb_each_other(lab: Lab) -> None:
    lab.plug(Edu, name="one", configuration=["dma_delay_ms=0"])
    lab.plug(Edu, name="two", configuration=["dma_delay_ms=0"])

    def driver(guest: Guest, name: str, data: bytes) -> bytes:
        return EduDriver(guest, guest[name]).echo(data)

    runs = [lab.run(driver, name, name.encode() * 100, wait=False) for name in ("one", "two")]
    assert [run.program.result() for run in runs if run.program] == [b"one" * 100, b"two" * 100]
    assert lab.faults == []
