"""Doorbells: guest writes that signal an event instead of a handler."""

from __future__ import annotations

import os
import select
import threading
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessError, HdvError, HResult
from hdvlab.hdv import Doorbell

from ..labs import PATIENCE, wait_for


class Bells(Device):
    vendor_id, device_id = 0x1234, 12

    class bar0(Bar):
        TAIL = Register(0x10, reset=0x99)
        PLAIN = Register(0x14)

    class bar2(Bar):
        HEAD = Register(0x20)

    def initialize(self) -> None:
        self.handled: list[int] = []

    @bar0.TAIL.on_write
    def tail(self, value: int) -> None:
        self.handled.append(value)


@pytest.fixture
def device(lab: Lab) -> Bells:
    device = lab.plug(Bells).device
    assert isinstance(device, Bells)
    return device


def rows(lab: Lab, kind: str) -> Any:
    frame = lab.trace.frame()
    return frame[frame["kind"] == kind]


def test_a_write_rings_and_goes_no_further_and_the_row_says_doorbell(lab: Lab, device: Bells) -> None:
    bell = device.doorbell(Bells.bar0.TAIL)
    lab["bells"].bar0.TAIL.write(5)
    lab["bells"].bar0.TAIL.write(6)
    assert bell.wait(0) == 2
    assert bell.wait(0) == 0
    assert device.handled == []
    assert lab["bells"].peek(0, 0x10, 4) == 0x99, "the value is discarded"
    rang = rows(lab, "doorbell")
    assert list(rang["value"]) == [5, 6]
    assert set(rang["address"]) == {0x10}
    assert set(rang["origin"]) == {"user"}
    assert len(rows(lab, "mmio_write")) == 0


def test_reads_and_other_places_do_not_ring(lab: Lab, device: Bells) -> None:
    bell = device.doorbell(Bells.bar0.TAIL)
    assert lab["bells"].bar0.TAIL.read() == 0x99
    lab["bells"].bar0.PLAIN.write(1)
    assert bell.wait(0) == 0


def test_a_register_of_another_bar_rings_there(lab: Lab, device: Bells) -> None:
    bell = device.doorbell(Bells.bar2.HEAD)
    lab["bells"].bar2.HEAD.write(1)
    assert bell.wait(0) == 1
    assert list(rows(lab, "doorbell_register")["bar"]) == [2]


def test_value_and_size_narrow_what_rings(lab: Lab, device: Bells) -> None:
    bell = device.doorbell(Bells.bar0.TAIL, 7, size=4)
    bar0 = lab["bells"].bar0
    bar0.TAIL.write(6)
    bar0.write(0x10, 7, 2)
    assert bell.wait(0) == 0
    assert device.handled == [6, 7]
    bar0.TAIL.write(7)
    assert bell.wait(0) == 1


@pytest.mark.fault(36)
def test_an_exact_value_beats_any_value_whatever_came_first(lab: Lab, device: Bells) -> None:
    exact, anything = device.doorbell(0x10, 7), device.doorbell(0x10)
    lab["bells"].bar0.TAIL.write(7)
    lab["bells"].bar0.TAIL.write(8)
    assert (exact.wait(0), anything.wait(0)) == (1, 1)
    exact.close()
    lab["bells"].bar0.TAIL.write(7)
    assert anything.wait(0) == 1


@pytest.mark.fault(36)
def test_the_same_doorbell_twice_is_refused_and_may_come_again_after_closing(device: Bells) -> None:
    first = device.doorbell(0x10)
    with pytest.raises(HdvError, match="this doorbell is registered already") as caught:
        device.doorbell(0x10)
    assert caught.value.hresult == HResult.ERROR_ALREADY_EXISTS
    first.close()
    first.close()
    device.doorbell(0x10).close()


@pytest.mark.fault(36)
@pytest.mark.parametrize(("offset", "bar", "size"), [(4096, 0, None), (4093, 0, 4), (-1, 0, None), (0, 1, None),
                                                     (0, 6, None), (0, -1, None), (1 << 63, 0, 8)])  # fmt: skip
def test_a_place_outside_the_bar_is_refused(device: Bells, offset: int, bar: int, size: int | None) -> None:
    with pytest.raises(AccessError, match="the place is outside the BAR"):
        device.doorbell(offset, bar=bar, size=size)


@pytest.mark.parametrize(("value", "size"), [(None, 3), (None, 0), (None, 16), (256, 1), (-1, None), (1 << 64, None)])
def test_a_write_that_no_guest_can_make_is_refused(device: Bells, value: int | None, size: int | None) -> None:
    with pytest.raises(AccessError, match=r"HdvRegisterDoorbell BAR0\+0x10: (a write has|no write of)"):
        device.doorbell(0x10, value, size=size)


def test_a_register_of_another_device_is_refused(device: Bells) -> None:
    with pytest.raises(AccessError, match="is in none of bells's BARs"):
        device.doorbell(Register(0x10, name="ELSE"))


def test_after_closing_writes_are_handled_again(lab: Lab, device: Bells) -> None:
    device.doorbell(0x10).close()
    lab["bells"].bar0.TAIL.write(3)
    assert device.handled == [3]
    assert len(rows(lab, "doorbell_unregister")) == 1


def test_a_thread_that_waits_is_woken_by_the_guest(lab: Lab, device: Bells) -> None:
    rings: list[int] = []
    bell = device.doorbell(0x10)
    thread = device.spawn(lambda: rings.append(bell.wait(PATIENCE)))
    lab["bells"].bar0.TAIL.write(1)
    thread.join(PATIENCE)
    assert rings == [1]


@pytest.mark.fault(36)
def test_a_thread_that_waits_without_end_is_woken_when_the_device_goes(lab: Lab, device: Bells) -> None:
    waiting, woken = threading.Event(), threading.Event()

    def wait() -> None:
        bell = device.doorbell(0x10)
        waiting.set()
        assert bell.wait() == 0
        woken.set()

    device.spawn(wait)
    wait_for(waiting)
    lab.stop()
    wait_for(woken)


def test_a_closed_doorbell_waits_no_more(device: Bells) -> None:
    bell = device.doorbell(0x10)
    bell.close()
    assert bell.wait() == 0


def test_an_event_loop_can_watch_it(lab: Lab, device: Bells) -> None:
    bell = device.doorbell(0x10)
    assert select.select([bell], [], [], 0) == ([], [], [])
    lab["bells"].bar0.TAIL.write(1)
    assert select.select([bell], [], [], 0)[0] == [bell]


def test_doorbells_are_closed_with_the_device_and_leave_no_descriptor(lab: Lab) -> None:
    class Own(Bells):
        def start(self) -> None:
            self.bell: Doorbell | None = self.doorbell(0x10)

    device = lab.plug(Own).device
    assert isinstance(device, Own)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        lab.stop()
        lab.start()
    assert len(os.listdir("/proc/self/fd")) == before
    lab["own"].bar0.TAIL.write(1)
    assert device.bell is not None
    assert device.bell.wait(0) == 1


@pytest.mark.fault(36)
def test_a_doorbell_of_a_stopped_device_is_refused(lab: Lab) -> None:
    refused: list[HdvError] = []

    class Late(Bells):
        def stop(self) -> None:
            try:
                self.doorbell(0x10)
            except HdvError as error:
                refused.append(error)

    lab.plug(Late)
    lab.stop()
    assert [error.hresult for error in refused] == [HResult.ERROR_INVALID_STATE]
    assert "the device is stopped" in str(refused[0])
