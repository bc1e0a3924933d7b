"""Split virtqueues: round and round, in batches, and with what a driver may get wrong.

Ref: Virtio 1.2, section 2.7; shared/reference/faults.md, section 2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from hdvlab import Lab
from hdvlab.devices.virtio import Chain, Virtqueue
from hdvlab.devices.virtio.spec import DescriptorFlags, Feature, Status
from hdvlab.errors import GuestTimeoutError
from hdvlab.guest import DmaBuffer, Guest

from .echo import Echo, EchoDriver, needs_reset, run

NEXT, WRITE, INDIRECT = DescriptorFlags.NEXT, DescriptorFlags.WRITE, DescriptorFlags.INDIRECT
PLAIN, EVENTS = 0, int(Feature.EVENT_IDX)
BEYOND = 1 << 40  # no guest has so much RAM here


# ---- what a good driver does ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("features", [PLAIN, EVENTS, 0xFFFFFFFF])
def test_the_rings_go_round(lab: Lab, size: int, features: int) -> None:
    def driver(echo: EchoDriver) -> list[bytes]:
        if size > 1:
            return [echo.echo(bytes([n, n])) for n in range(20)]
        back = echo.guest.dma_alloc(2)  # a ring of one descriptor: only room
        return [back.read(0, echo.request([], [(back.address, 2)])) + bytes([n, n]) for n in range(20)]

    assert run(lab, driver, features, size) == [bytes([n, n]) for n in range(20)]
    assert lab.faults == []


def test_the_16_bit_indices_wrap(lab: Lab) -> None:
    """The device's view of them is moved near the end, and the driver's with it."""

    def driver(echo: EchoDriver) -> list[bytes]:
        device: Any = lab["echo"].device
        queue, mine = device.queues[0], echo.queues[0]
        with device.lock:
            queue._next_avail = queue._next_used = queue._armed = 0xFFFC
        mine._avail_index = mine._used_index = 0xFFFC
        for ring, offset in ((mine.avail, 2), (mine.used, 2), (mine.used, 4 + 8 * mine.size)):
            ring.write(struct.pack("<H", 0xFFFC), offset)
        return [echo.echo(bytes([n])) for n in range(12)]

    assert run(lab, driver) == [bytes([n]) for n in range(12)]
    assert lab.faults == []


@pytest.mark.parametrize("features", [PLAIN, EVENTS])
def test_requests_that_came_together_go_back_together(lab: Lab, features: int) -> None:
    def driver(echo: EchoDriver) -> list[tuple[int, int]]:
        out, back = echo.guest.dma_alloc(64), echo.guest.dma_alloc(64)
        queue = echo.queues[0]
        queue.interrupt_for(4)
        for n in range(4):
            queue.add([(out.address, n + 1)], [(back.address + 16 * n, 16)])
        echo.notify()
        done: list[tuple[int, int]] = []
        while len(done) < 4:
            done += echo.wait()
        return done

    assert [written for _, written in run(lab, driver, features)] == [1, 2, 3, 4]
    frame = lab.trace.frame()
    assert len(frame[frame["kind"] == "interrupt"]) == 1
    assert 32 in set(frame[frame["kind"] == "dma_write"]["size"]), "four used elements in one copy"


@pytest.mark.parametrize("features", [PLAIN, EVENTS])
def test_no_interrupt_where_the_driver_wants_none(lab: Lab, features: int) -> None:
    def driver(echo: EchoDriver) -> int:
        out, back = echo.guest.dma_alloc(4), echo.guest.dma_alloc(4)
        queue = echo.queues[0]
        if features:
            queue.interrupt_for(100)
        else:
            queue.suppress(True)
        queue.add([(out.address, 4)], [(back.address, 4)])
        echo.notify()
        while not (done := queue.collect()):
            echo.guest.sleep(0.001)
        with pytest.raises(GuestTimeoutError):
            echo.guest.wait_interrupt(echo.function, 0.0, 1)
        return len(done)

    assert run(lab, driver, features) == 1
    assert "interrupt" not in set(lab.trace.frame()["kind"])


def test_with_event_idx_the_device_says_when_it_wants_to_be_told(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> list[bool]:
        queue = echo.queues[0]
        back = echo.guest.dma_alloc(4)
        told = []
        for _ in range(2):
            queue.add([], [(back.address, 4)])
            told.append(queue.wanted())
        return told

    assert run(lab, driver, EVENTS) == [True, False]


def test_neighbouring_buffers_are_one_copy(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> bytes:
        out, back = echo.guest.dma_alloc(4096), echo.guest.dma_alloc(4096)
        out.write(bytes(range(200)))
        written = echo.request(
            [(out.address, 100), (out.address + 100, 100)], [(back.address, 50), (back.address + 50, 150)]
        )
        return back.read(0, written)

    assert run(lab, driver) == bytes(range(200))
    frame = lab.trace.frame()
    assert {200} <= set(frame[frame["kind"] == "dma_read"]["size"])
    assert {200} <= set(frame[frame["kind"] == "dma_write"]["size"])


def test_scattered_buffers_and_empty_ones_are_gone_through_in_order(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> bytes:
        out, back = echo.guest.dma_alloc(4096), echo.guest.dma_alloc(4096)
        out.write(bytes(range(100)))
        where = out.address
        written = echo.request(
            [(where + 50, 10), (where, 0), (where + 3, 1)], [(back.address + 100, 4), (back.address, 10)]
        )
        return back.read(100, 4) + back.read(0, written - 4)

    assert run(lab, driver) == bytes(range(50, 60)) + b"\3"


@pytest.mark.parametrize("count", [1, 2, 40])
def test_an_indirect_chain_is_one_descriptor_of_the_ring(lab: Lab, count: int) -> None:
    def driver(echo: EchoDriver) -> bytes:
        out, back, table = (echo.guest.dma_alloc(4096) for _ in range(3))
        out.write(bytes(range(count)))
        runs = [(out.address + n, 1) for n in range(count)]
        return back.read(0, echo.request(runs, [(back.address, count)], 0, table))

    assert run(lab, driver) == bytes(range(count))


# ---- what a bad driver does -----------------------------------------------------------------------------------------


def descriptor(address: int, length: int, flags: int, following: int = 0) -> bytes:
    return struct.pack("<QIHH", address, length, flags, following)


Crime = Callable[[EchoDriver, DmaBuffer], None]


def table_of(*descriptors: bytes) -> Crime:
    """Descriptors 0, 1, ... of the ring, of which 0 is offered."""

    def commit(echo: EchoDriver, ram: DmaBuffer) -> None:
        echo.queues[0].desc.write(b"".join(descriptors))
        echo.queues[0].offer(0)

    return commit


def indirect(*descriptors: bytes, length: int | None = None, flags: int = 0) -> Crime:
    """An indirect table of these descriptors."""

    def commit(echo: EchoDriver, ram: DmaBuffer) -> None:
        table = b"".join(descriptors)
        ram.write(table)
        size = len(table) if length is None else length
        table_of(descriptor(ram.address, size, INDIRECT | flags))(echo, ram)

    return commit


def claim(count: int) -> Crime:
    def commit(echo: EchoDriver, ram: DmaBuffer) -> None:
        echo.queues[0].avail.write(struct.pack("<H", count), 2)

    return commit


def head(number: int) -> Crime:
    return lambda echo, ram: echo.queues[0].offer(number)


CRIMES: dict[str, tuple[Crime, str]] = {
    "itself": (table_of(descriptor(0x100000, 1, NEXT, 0)), "goes in a circle"),
    "circle": (table_of(descriptor(0x100000, 1, NEXT, 1), descriptor(0x100000, 1, NEXT, 0)), "goes in a circle"),
    "next outside": (table_of(descriptor(0x100000, 1, NEXT, 8)), "names descriptor 8; the queue has 8"),
    "head outside": (head(0xFFFF), "names descriptor 65535"),
    "too many": (claim(9), "9 chains are said to be new"),
    "backwards": (claim(0xFFFF), "65535 chains are said to be new"),
    "read behind write": (
        table_of(descriptor(0x100000, 1, WRITE | NEXT, 1), descriptor(0x100000, 1, 0)),
        "a buffer to read behind one to write",
    ),
    "too long": (
        table_of(descriptor(0x100000, 0xFFFFFFFF, NEXT, 1), descriptor(0x100000, 0xFFFFFFFF, 0)),
        "4294967296|0x100000000 are the most",
    ),
    "buffer to read outside": (table_of(descriptor(BEYOND, 4, 0)), "not wholly guest RAM"),
    "buffer to write outside": (
        table_of(descriptor(0x100000, 4, NEXT, 1), descriptor(BEYOND, 4, WRITE)),
        "not wholly guest RAM",
    ),
    "buffer that wraps": (table_of(descriptor((1 << 64) - 2, 4, 0)), "wraps"),
    "huge buffer": (table_of(descriptor(0x100000, 0xFFFFFFFF, 0)), "not wholly guest RAM"),
    "the device's own BAR": (table_of(descriptor(0xE0000000, 4, 0)), "not wholly guest RAM"),
    "indirect with next": (indirect(descriptor(0x100000, 4, 0), flags=NEXT), "indirect descriptor where none may be"),
    "indirect of no size": (indirect(length=0), "an indirect table of 0 bytes"),
    "indirect of an odd size": (indirect(descriptor(0x100000, 4, 0), length=24), "an indirect table of 24 bytes"),
    "huge indirect": (indirect(length=0xFFFFFFF0), "an indirect table of 4294967280 bytes"),
    "indirect outside": (table_of(descriptor(BEYOND, 16, INDIRECT)), "not wholly guest RAM"),
    "indirect in indirect": (indirect(descriptor(0x100000, 16, INDIRECT)), "indirect descriptor in an indirect table"),
    "indirect in a circle": (indirect(descriptor(0x100000, 4, NEXT, 0)), "in a circle in its indirect table"),
    "indirect next outside": (
        indirect(descriptor(0x100000, 4, NEXT, 5), descriptor(0x100000, 4, 0)),
        "names descriptor 5 of an indirect table of 2",
    ),
}


@pytest.mark.fault(21)
@pytest.mark.fault(22)
@pytest.mark.fault(25)
@pytest.mark.parametrize("crime", CRIMES)
def test_what_is_against_the_rules_needs_a_reset_and_a_reset_helps(lab: Lab, crime: str) -> None:
    commit, says = CRIMES[crime]

    def driver(guest: Guest) -> bytes:
        bad = EchoDriver(guest)
        ram = guest.dma_alloc(4096)
        commit(bad, ram)
        bad.notify()
        needs_reset(bad)
        bad.notify()  # nothing more is taken
        assert bad.queues[0].collect() == []
        return EchoDriver(guest).echo(b"well again")

    lab.plug(Echo)
    assert lab.run(driver).value == b"well again"
    [fault] = lab.faults
    assert fault.operation == "queue 0"
    assert any(part in str(fault.error) for part in says.split("|"))


@pytest.mark.fault(21)
@pytest.mark.parametrize("register", ["QUEUE_DESC", "QUEUE_DRIVER", "QUEUE_DEVICE"])
@pytest.mark.parametrize("address", [BEYOND, (1 << 64) - 16])
def test_a_ring_outside_of_memory_needs_a_reset(lab: Lab, register: str, address: int) -> None:
    class Astray(EchoDriver):
        def set_up(self, number: int, size: int) -> Any:
            queue = super().set_up(number, size)
            if number == 0:
                device: Any = lab["echo"].device
                with device.lock:  # the registers are fixed once the queue is enabled
                    setattr(device.queues[0], {"QUEUE_DESC": "desc", "QUEUE_DRIVER": "driver",
                                               "QUEUE_DEVICE": "device"}[register], address)  # fmt: skip
            return queue

    def driver(guest: Guest) -> bytes:
        bad = Astray(guest)
        ram = guest.dma_alloc(8)
        bad.queues[0].add([(ram.address, 4)], [(ram.address, 4)])
        bad.notify()
        needs_reset(bad)
        return EchoDriver(guest).echo(b"well again")

    lab.plug(Echo)
    assert lab.run(driver).value == b"well again"


def test_an_indirect_descriptor_that_was_not_negotiated_needs_a_reset(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> None:
        ram = echo.guest.dma_alloc(4096)
        indirect(descriptor(ram.address, 4, 0))(echo, ram)
        echo.notify()
        needs_reset(echo)

    run(lab, driver, EVENTS)


@pytest.mark.fault(29)
def test_without_bus_mastering_it_needs_a_reset(lab: Lab) -> None:
    def driver(guest: Guest) -> bytes:
        echo = EchoDriver(guest)
        ram = guest.dma_alloc(8)
        echo.queues[0].add([(ram.address, 4)], [(ram.address, 4)])
        echo.function.enable(bus_master=False)
        echo.notify()
        while not echo.bar0.DEVICE_STATUS.read() & Status.NEEDS_RESET:
            guest.sleep(0.001)
        echo.function.enable()
        return EchoDriver(guest).echo(b"well again")

    lab.plug(Echo)
    assert lab.run(driver).value == b"well again"


def test_the_other_queue_is_not_served_either_until_the_reset(lab: Lab) -> None:
    def driver(echo: EchoDriver) -> list[Any]:
        echo.queues[0].offer(0xFFFF)
        echo.notify(0)
        needs_reset(echo)
        ram = echo.guest.dma_alloc(8)
        echo.queues[1].add([(ram.address, 4)], [(ram.address, 4)])
        echo.notify(1)
        device: Any = lab["echo"].device
        with device.lock:
            return echo.queues[1].collect()

    assert run(lab, driver) == []


@pytest.mark.fault(25)
def test_a_descriptor_that_changes_after_it_was_read_has_no_effect(lab: Lab) -> None:
    class Slow(Echo):
        """Between taking a chain and using it, the guest rewrites its descriptors."""

        def on_request(self, queue: Virtqueue, chain: Chain) -> None:
            self.dma_write(queue.desc, descriptor(BEYOND, 0xFFFFFFFF, NEXT, 0) * queue.size)
            super().on_request(queue, chain)

    lab.plug(Slow, name="echo")
    assert run(lab, lambda echo: echo.echo(b"as it was"), 0) == b"as it was"
    assert lab.faults == []


@pytest.mark.parametrize("read", [True, False])
def test_a_device_that_asks_for_more_than_it_was_given_needs_a_reset(lab: Lab, read: bool) -> None:
    class Greedy(Echo):
        def on_request(self, queue: Virtqueue, chain: Chain) -> None:
            if read:
                chain.read(chain.readable + 1)
            else:
                chain.write(bytes(chain.room + 1))

    def driver(echo: EchoDriver) -> None:
        ram = echo.guest.dma_alloc(8)
        echo.queues[0].add([(ram.address, 4)], [(ram.address + 4, 4)])
        echo.notify()
        needs_reset(echo)

    lab.plug(Greedy, name="echo")
    run(lab, driver)
    [fault] = lab.faults
    assert ("5 bytes to read, but the driver gave 4" if read else "room for 4") in str(fault.error)
