"""What all virtio devices share: discovery, negotiation, queues, notifications, interrupts, reset.

Ref: Virtio 1.2, sections 2.1, 2.2, 3.1, 4.1.
"""

from __future__ import annotations

import struct
import threading
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.devices.virtio import Chain, VirtioDevice, Virtqueue
from hdvlab.devices.virtio.spec import NO_VECTOR, Feature, Status
from hdvlab.errors import DeviceError, GuestTimeoutError, RegisterError, StateError
from hdvlab.guest import Function, Guest
from hdvlab.lab import Plugged

from ...labs import wait_for
from .echo import Echo, EchoDriver, device, needs_reset, run

BEGUN = Status.ACKNOWLEDGE | Status.DRIVER


@pytest.fixture
def plugged(lab: Lab) -> Plugged:
    return lab.plug(Echo)


@pytest.fixture
def bar(plugged: Plugged) -> Any:
    return plugged.bar0


def accept(bar: Any, features: int) -> int:
    """Offer feature bits to the device; the status that it shows."""
    for select in (0, 1):
        bar.DRIVER_FEATURE_SELECT.write(select)
        bar.DRIVER_FEATURE.write(features >> 32 * select & 0xFFFFFFFF)
    bar.DEVICE_STATUS.write(BEGUN | Status.FEATURES_OK)
    return int(bar.DEVICE_STATUS.read())


# ---- discovery ------------------------------------------------------------------------------------------------------


def test_its_ids_are_those_of_a_modern_device_of_its_type(plugged: Plugged) -> None:
    config = plugged.on().config()
    assert struct.unpack_from("<HH", config) == (0x1AF4, 0x1040 + 42)
    assert config[8] == 1
    assert struct.unpack_from("<H", config, 0x2E)[0] >= 0x40


def test_the_capabilities_say_where_the_structures_are(plugged: Plugged) -> None:
    config, found = plugged.on().config(), {}
    place = config[0x34]
    while place:
        if config[place] == 0x09:
            kind, where = config[place + 3], config[place + 4]
            found[kind] = (config[place + 2], where, *struct.unpack_from("<II", config, place + 8))
            if kind == 2:
                assert struct.unpack_from("<I", config, place + 16) == (4,)
        place = config[place + 1]
    assert found == {
        1: (16, 0, 0x0000, 0x38),
        2: (20, 0, 0x3000, 8),
        3: (16, 0, 0x1000, 1),
        4: (16, 0, 0x2000, 4),
        5: (20, 0, 0, 0),
    }


@pytest.mark.parametrize(
    ("wrong", "says"), [({"queue_size": 6}, "queue_size is 6"), ({"queue_count": 0}, "queue_count is 0")]
)
def test_a_wrong_description_is_refused_when_the_class_is_made(wrong: dict[str, int], says: str) -> None:
    with pytest.raises(RegisterError, match=says):
        type("Wrong", (VirtioDevice,), {"device_type": 42, **wrong})


def test_the_base_class_is_no_device() -> None:
    with pytest.raises(StateError, match="to be subclassed"):
        VirtioDevice()


def test_a_subclass_may_have_more_queues(lab: Lab) -> None:
    class Wide(Echo):
        queue_count = 5

    bar = lab.plug(Wide).bar0
    assert bar.NUM_QUEUES.read() == 5
    assert lab["wide"].on().config_read(0x42, 2) & 0x7FF == 5, "six vectors"
    assert [register.name for register in lab["wide"].maps[0]][-1] == "NOTIFY_4"


# ---- negotiation ----------------------------------------------------------------------------------------------------


def test_the_features_of_every_device_are_offered_in_two_halves_and_nothing_behind_them(bar: Any) -> None:
    offered = []
    for select in (0, 1, 2, 0xFFFFFFFF):
        bar.DEVICE_FEATURE_SELECT.write(select)
        offered.append(bar.DEVICE_FEATURE.read())
    assert offered == [Feature.INDIRECT_DESC | Feature.EVENT_IDX, Feature.VERSION_1 >> 32, 0, 0]


@pytest.mark.parametrize("features", [0, Feature.EVENT_IDX, Feature.VERSION_1 | 1, Feature.VERSION_1 | 1 << 33])
def test_features_that_do_not_go_together_are_refused(bar: Any, features: int) -> None:
    assert accept(bar, features) == BEGUN
    bar.DEVICE_STATUS.write(BEGUN | Status.DRIVER_OK)
    assert bar.DEVICE_STATUS.read() == BEGUN, "and without FEATURES_OK there is no DRIVER_OK"
    assert accept(bar, Feature.VERSION_1) == BEGUN | Status.FEATURES_OK, "the driver may try again"


def test_a_device_may_refuse_what_it_offered(lab: Lab) -> None:
    class Picky(Echo):
        features = 3

        def accepts(self, features: int) -> bool:
            return features & 3 != 2

    bar = lab.plug(Picky).bar0
    assert accept(bar, Feature.VERSION_1 | 2) == BEGUN
    assert accept(bar, Feature.VERSION_1 | 3) & Status.FEATURES_OK


def test_accepted_features_stay_as_they_are(bar: Any) -> None:
    accept(bar, Feature.VERSION_1)
    bar.DRIVER_FEATURE_SELECT.write(0)
    bar.DRIVER_FEATURE.write(Feature.EVENT_IDX)
    assert bar.DRIVER_FEATURE.read() == 0
    bar.DRIVER_FEATURE_SELECT.write(1)
    assert bar.DRIVER_FEATURE.read() == 1
    bar.DRIVER_FEATURE_SELECT.write(7)
    assert bar.DRIVER_FEATURE.read() == 0


def test_a_driver_takes_back_no_status_bit_and_sets_none_of_the_device(bar: Any) -> None:
    accept(bar, Feature.VERSION_1)
    bar.DEVICE_STATUS.write(Status.ACKNOWLEDGE | Status.FAILED | Status.NEEDS_RESET | 0x30)
    assert bar.DEVICE_STATUS.read() == BEGUN | Status.FEATURES_OK | Status.FAILED


def test_writing_0_makes_everything_as_it_was(plugged: Plugged, bar: Any) -> None:
    before = plugged.registers()["value"].tolist()
    accept(bar, Feature.VERSION_1)
    bar.QUEUE_SELECT.write(1)
    bar.QUEUE_SIZE.write(4)
    bar.QUEUE_DESC.write(0x1000)
    bar.QUEUE_ENABLE.write(1)
    bar.CONFIG_MSIX_VECTOR.write(0)
    assert plugged.registers()["value"].tolist() != before
    bar.DEVICE_STATUS.write(0)
    assert plugged.registers()["value"].tolist() == before
    bar.QUEUE_SELECT.write(1)
    assert (bar.QUEUE_SIZE.read(), bar.QUEUE_DESC.read(), bar.QUEUE_ENABLE.read()) == (8, 0, 0)


# ---- queues ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 0x8000, 0xFFFF])
def test_a_queue_that_is_not_there_has_size_0_and_takes_nothing(bar: Any, number: int) -> None:
    bar.QUEUE_SELECT.write(number)
    for register, value in ((bar.QUEUE_SIZE, 4), (bar.QUEUE_ENABLE, 1), (bar.QUEUE_DESC, 0x1000)):
        register.write(value)
        assert register.read() == 0
    bar.QUEUE_MSIX_VECTOR.write(0)
    assert bar.QUEUE_MSIX_VECTOR.read() == NO_VECTOR
    bar.QUEUE_SELECT.write(0)
    assert (bar.QUEUE_SIZE.read(), bar.QUEUE_ENABLE.read(), bar.QUEUE_DESC.read()) == (8, 0, 0)


def test_each_queue_has_its_own_registers_and_notification_address(bar: Any) -> None:
    for number in (0, 1):
        bar.QUEUE_SELECT.write(number)
        bar.QUEUE_DRIVER.write(0x1000 * (number + 1))
    for number in (0, 1):
        bar.QUEUE_SELECT.write(number)
        assert bar.QUEUE_DRIVER.read() == 0x1000 * (number + 1)
        assert bar.QUEUE_NOTIFY_OFF.read() == number


@pytest.mark.parametrize(("size", "then"), [(4, 4), (1, 1), (8, 8), (0, 8), (3, 8), (16, 8), (0xFFFF, 8)])
def test_a_size_is_a_power_of_two_up_to_the_devices(bar: Any, size: int, then: int) -> None:
    bar.QUEUE_SIZE.write(size)
    assert bar.QUEUE_SIZE.read() == then


@pytest.mark.parametrize(("register", "value"), [("QUEUE_DESC", 8), ("QUEUE_DRIVER", 1), ("QUEUE_DEVICE", 2)])
def test_a_queue_at_an_address_that_is_not_aligned_is_not_enabled(bar: Any, register: str, value: int) -> None:
    getattr(bar, register).write(value)
    bar.QUEUE_ENABLE.write(1)
    assert bar.QUEUE_ENABLE.read() == 0


def test_an_enabled_queue_stays_as_it_is(bar: Any) -> None:
    bar.QUEUE_ENABLE.write(1)
    bar.QUEUE_SIZE.write(2)
    bar.QUEUE_DESC.write(0x1000)
    bar.QUEUE_ENABLE.write(0)
    assert (bar.QUEUE_ENABLE.read(), bar.QUEUE_SIZE.read(), bar.QUEUE_DESC.read()) == (1, 8, 0)


@pytest.mark.parametrize(("vector", "then"), [(0, 0), (2, 2), (3, NO_VECTOR), (0x7FFF, NO_VECTOR), (NO_VECTOR,) * 2])
def test_a_vector_that_is_not_there_reads_back_as_none(bar: Any, vector: int, then: int) -> None:
    for register in (bar.CONFIG_MSIX_VECTOR, bar.QUEUE_MSIX_VECTOR):
        register.write(vector)
        assert register.read() == then


# ---- requests -------------------------------------------------------------------------------------------------------


def test_what_is_sent_comes_back_in_both_queues(lab: Lab) -> None:
    assert run(lab, lambda driver: [driver.echo(b"one", 0), driver.echo(b"two", 1)]) == [b"one", b"two"]
    assert lab.faults == []


def test_what_a_request_leads_to_has_its_notification_as_cause(lab: Lab) -> None:
    run(lab, lambda echo: echo.echo(b"abc", 1), features=0)
    frame = lab.trace.frame(decode=True)
    [bell] = frame.index[frame["kind"] == "doorbell"]
    assert frame.loc[bell, "register"] == "NOTIFY_1"
    begun = frame.index[(frame["register"] == "DEVICE_STATUS") & (frame["value"] == 0xF)][0]
    work = frame[frame["kind"].isin(["dma_read", "dma_write", "interrupt"])]
    assert len(work) >= 8
    assert set(work["cause"]) == {bell, begun}, "DRIVER_OK makes it look for itself, once"


def test_what_is_sent_later_has_its_own_notification_as_cause(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> None:
        for _ in range(3):
            echo.echo(b"x")
            device(lab).wait_idle(1)

    run(lab, driver, features=0)
    frame = lab.trace.frame()
    bells = list(frame.index[frame["kind"] == "doorbell"])
    assert len(bells) == 3
    assert list(frame[frame["kind"] == "interrupt"]["cause"]) == bells


def test_what_was_made_available_before_driver_ok_is_served_then(lab: Lab) -> None:
    class Early(EchoDriver):
        def status(self, bit: Status) -> None:
            if bit is Status.DRIVER_OK:
                self.back = self.guest.dma_alloc(4)
                out = self.guest.dma_alloc(4)
                out.write(b"soon")
                self.queues[0].add([(out.address, 4)], [(self.back.address, 4)])
            super().status(bit)

    def driver(guest: Guest) -> bytes:
        early = Early(guest)
        early.wait()
        return early.back.read()

    lab.plug(Echo)
    assert lab.run(driver).value == b"soon"


def test_a_notification_before_driver_ok_reads_no_memory(lab: Lab, bar: Any) -> None:
    bar.QUEUE_ENABLE.write(1)
    bar.write(0x3000, 0, 2)
    bar.write(0x3004, 1, 2)
    device = lab["echo"].device
    lab.stop()
    assert device.join_work(10.0) == []
    assert "dma_read" not in set(lab.trace.frame()["kind"])
    assert lab.faults == []


def test_without_a_vector_the_driver_polls(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> None:
        echo.bar0.QUEUE_SELECT.write(0)
        echo.bar0.QUEUE_MSIX_VECTOR.write(NO_VECTOR)
        out, back = echo.guest.dma_alloc(4), echo.guest.dma_alloc(4)
        echo.queues[0].add([(out.address, 4)], [(back.address, 4)])
        echo.notify()
        while not echo.queues[0].collect():
            echo.guest.sleep(0.001)
        with pytest.raises(GuestTimeoutError):
            echo.guest.wait_interrupt(echo.function, 0.0, 1)

    run(lab, driver)
    assert "interrupt" not in set(lab.trace.frame()["kind"])


def test_without_msix_the_isr_status_tells_and_reading_clears_it(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> list[int]:
        place = echo.function.find_capability(0x11)
        echo.function.config_write(place + 2, 0, 2)
        out, back = echo.guest.dma_alloc(4), echo.guest.dma_alloc(4)
        echo.queues[0].add([(out.address, 4)], [(back.address, 4)])
        echo.notify()
        while not echo.queues[0].collect():
            echo.guest.sleep(0.001)
        told = []
        while not told or not told[-1]:
            told.append(echo.bar0.ISR.read())
        device: Any = lab["echo"].device
        with device.lock:
            device.config_changed()
        return [told[-1], echo.bar0.ISR.read(), echo.bar0.ISR.read()]

    assert run(lab, driver) == [1, 2, 0]


def test_a_configuration_change_is_told_with_a_new_generation(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> tuple[int, int, int, int]:
        device: Any = lab["echo"].device
        before = (echo.bar0.CONFIG_GENERATION.read(), echo.bar0.LIMIT.read())
        with device.lock:
            device.bar0.LIMIT = 7
            device.config_changed()
        echo.guest.wait_interrupt(echo.function, 10.0, 0)
        return (*before, echo.bar0.CONFIG_GENERATION.read(), echo.bar0.LIMIT.read())

    assert run(lab, driver) == (0, 100, 1, 7)


def test_a_request_whose_code_fails_is_a_fault_and_goes_back(lab: Lab) -> None:
    class Wrong(Echo):
        def on_request(self, queue: Virtqueue, chain: Chain) -> None:
            if queue.index == 1:
                raise ZeroDivisionError("the author's")
            super().on_request(queue, chain)

    lab.plug(Wrong, name="echo")
    assert run(lab, lambda driver: (driver.echo(b"x", 1, 1), driver.echo(b"y", 0))) == (b"", b"y")
    assert [(fault.operation, type(fault.error)) for fault in lab.faults] == [("request in queue 1", ZeroDivisionError)]


class Keeping(Echo):
    """Keeps the requests of queue 1 until somebody gives them back."""

    def initialize(self) -> None:
        super().initialize()
        self.chains: list[Chain] = []
        self.came = threading.Event()

    def on_request(self, queue: Virtqueue, chain: Chain) -> None:
        if queue.index == 1:
            chain.keep()
            self.chains.append(chain)
            self.came.set()
        else:
            super().on_request(queue, chain)


def test_a_request_may_be_kept_and_given_back_later(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> bytes:
        keeping: Any = lab["echo"].device
        back = echo.guest.dma_alloc(8)
        echo.queues[1].add([], [(back.address, 8)])
        echo.notify(1)
        wait_for(keeping.came)
        assert echo.echo(b"meanwhile") == b"meanwhile"
        assert echo.queues[1].collect() == []
        with keeping.lock:
            keeping.chains[0].write(b"later")
            keeping.give_back(keeping.chains[0])
        [(_, written)] = echo.wait(1)
        return back.read(0, written)

    lab.plug(Keeping, name="echo")
    assert run(lab, driver) == b"later"


def test_a_chain_of_before_a_reset_is_given_back_to_nobody(lab: Lab) -> None:
    def driver(guest: Guest) -> bytes:
        keeping: Any = lab["echo"].device
        echo = EchoDriver(guest)
        echo.queues[1].add([], [(guest.dma_alloc(8).address, 8)])
        echo.notify(1)
        wait_for(keeping.came)
        again = EchoDriver(guest)
        with keeping.lock:
            keeping.give_back(keeping.chains[0])
        assert again.queues[1].used.read() == bytes(again.queues[1].used.size)
        return again.echo(b"as new")

    lab.plug(Keeping, name="echo")
    assert lab.run(driver).value == b"as new"


def test_power_off_in_the_middle_of_a_request_is_no_fault(lab: Lab) -> None:
    lab.plug(Keeping, name="echo")

    def driver(echo: EchoDriver) -> None:
        for _ in range(4):
            echo.queues[1].add([], [(0x100000, 8)])
        echo.notify(1)

    run(lab, driver)
    device: Any = lab["echo"].device
    lab.stop()
    assert device.join_work(10.0) == []
    lab.start()
    assert run(lab, lambda echo: echo.echo(b"on again")) == b"on again"
    assert lab.faults == []


def test_an_interrupt_that_points_nowhere_is_a_fault_and_the_device_goes_on(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> list[int]:
        echo.function.bars[1].write(16, 0x1000)  # vector 1's address: RAM, and no interrupt
        out, back = echo.guest.dma_alloc(4), echo.guest.dma_alloc(4)
        done = []
        for _ in range(2):
            echo.queues[0].interrupt_for(1)
            echo.queues[0].add([(out.address, 4)], [(back.address, 4)])
            echo.notify()
            while not (some := echo.queues[0].collect()):
                echo.guest.sleep(0.001)
            done += [written for _, written in some]
        return done

    assert run(lab, driver) == [4, 4]
    lab.stop()
    assert [fault.operation for fault in lab.faults] == ["interrupt 1"]


def test_a_device_that_needs_a_reset_says_so_and_serves_again_after_it(lab: Lab) -> None:
    def driver(guest: Guest) -> bytes:
        echo = EchoDriver(guest)
        device: Any = lab["echo"].device
        with device.lock:
            device.needs_reset()
        needs_reset(echo)
        with pytest.raises(DeviceError, match="needs a reset"):
            echo.echo(b"x")
        return EchoDriver(guest).echo(b"y")

    lab.plug(Echo)
    assert lab.run(driver).value == b"y"


# ---- access through config space ------------------------------------------------------------------------------------


def window(function: Function, offset: int, size: int) -> int:
    """Point the access window at a place of BAR0; its config offset."""
    place = 0x40
    while function.config_read(place, 1) != 9 or function.config_read(place + 3, 1) != 5:
        place = function.config_read(place + 1, 1)
        assert place
    function.config_write(place + 4, 0, 1)
    function.config_write(place + 8, offset)
    function.config_write(place + 12, size)
    return place


def test_the_registers_are_reached_through_config_space_too(plugged: Plugged, bar: Any) -> None:
    function = plugged.on()
    assert function.config_read(window(function, 0x12, 2) + 16) == 2  # NUM_QUEUES
    for offset, size, value in ((0x16, 2, 1), (0x18, 2, 4), (0x20, 4, 0x2000), (0x24, 4, 1), (0x14, 1, 3)):
        place = window(function, offset, size)
        function.config_write(place + 16, value)
        assert function.config_read(place + 16) == value
    assert (bar.QUEUE_SELECT.read(), bar.QUEUE_SIZE.read(), bar.DEVICE_STATUS.read()) == (1, 4, 3)
    assert bar.QUEUE_DESC.read() == 0x1_0000_2000
    function.config_write(window(function, 0x14, 1) + 16, 0)
    assert bar.DEVICE_STATUS.read() == 0
    bar.QUEUE_SELECT.write(1)
    assert bar.QUEUE_SIZE.read() == 8


def test_a_window_onto_nothing_shows_ones_and_takes_nothing(plugged: Plugged, bar: Any) -> None:
    function = plugged.on()
    for offset, size in ((0x3C, 4), (0xFFFFFFFF, 4), (0x1001, 1)):
        place = window(function, offset, size)
        assert function.config_read(place + 16) == 0xFFFFFFFF
        function.config_write(place + 16, 0x55)
    function.config_write(window(function, 0x12, 2) + 16, 9)
    assert bar.NUM_QUEUES.read() == 2


def test_a_notification_through_config_space_is_one(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> bytes:
        out, back = echo.guest.dma_alloc(4), echo.guest.dma_alloc(4)
        out.write(b"bell")
        echo.queues[1].add([(out.address, 4)], [(back.address, 4)])
        echo.function.config_write(window(echo.function, 0x3004, 2) + 16, 1)
        echo.wait(1)
        return back.read()

    assert run(lab, driver) == b"bell"
