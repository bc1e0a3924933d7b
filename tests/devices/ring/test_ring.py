"""The ring: descriptors through an aperture, indices in a section, a doorbell without a callback."""

from __future__ import annotations

import threading

import pytest

from hdvlab import Lab, commands
from hdvlab.devices import ring
from hdvlab.devices.ring import RingDriver
from hdvlab.errors import AccessWarning, DeviceError
from hdvlab.guest import Guest
from hdvlab.lab import Plugged


@pytest.fixture
def plugged(lab: Lab) -> Plugged:
    return commands.plug(lab, "ring")


def test_the_shipped_driver_gets_its_sums(lab: Lab, plugged: Plugged) -> None:
    run = lab.run(ring.driver)
    assert run.value == [sum(b"hello"), sum(range(256)), sum(b"ring")]
    frame = run.frame(decode=True)
    kinds = frame["kind"].value_counts()
    assert (kinds["aperture_map"], kinds["doorbell"], kinds["dma_read"], kinds["interrupt"]) == (1, 1, 3, 1)
    assert set(frame["status"]) == {0}
    assert list(frame[frame["kind"] == "doorbell"]["register"]) == ["BELL"]
    assert "TAIL" not in set(frame["register"])  # memory, so no rows


def test_with_sections_recorded_the_indices_are_rows_too() -> None:
    with Lab(record_sections=True) as lab:
        commands.plug(lab, "ring")
        frame = lab.run(ring.driver).frame(decode=True)
        assert list(frame[frame["register"] == "TAIL"]["value"]) == [3]
        assert int(frame[frame["register"] == "HEAD"]["value"].iloc[-1]) == 3


def test_the_ring_goes_round(lab: Lab, plugged: Plugged) -> None:
    def driver(guest: Guest) -> list[int]:
        one = RingDriver(guest, count=4)
        return [one.sums([bytes([n]), bytes([n, n])])[1] for n in range(10)]

    assert lab.run(driver).value == [2 * n for n in range(10)]


def test_a_buffer_that_cannot_be_read_is_told_and_the_next_is_served(lab: Lab, plugged: Plugged) -> None:
    def driver(guest: Guest) -> tuple[int, int]:
        one = RingDriver(guest)
        one.ring.write((1 << 40).to_bytes(8, "little") + (4).to_bytes(4, "little") + bytes(4))
        one.tail = 1
        return one.sums([b"ab"])[0], int.from_bytes(one.ring.read(12, 4), "little")

    assert lab.run(driver).value == (sum(b"ab"), 0xFFFFFFFF)


def test_indices_that_are_none_of_the_ring_are_not_followed(lab: Lab, plugged: Plugged) -> None:
    def driver(guest: Guest) -> int:
        one = RingDriver(guest)
        for tail in (16, 0xFFFFFFFF):
            one.bar2.TAIL.write(tail)
            one.bar0.BELL.write(1)
        one.bar2.TAIL.write(0)
        return one.sums([b"xyz"])[0]

    assert lab.run(driver).value == sum(b"xyz")


def test_a_ring_that_cannot_be_mapped_stays_off(lab: Lab, plugged: Plugged) -> None:
    plugged.bar0.COUNT.write(257)
    with pytest.warns(AccessWarning):
        plugged.bar0.CTRL.write(1)
    plugged.bar0.COUNT.write(256)
    plugged.bar0.BASE.write(1 << 40)
    with pytest.warns(AccessWarning):
        plugged.bar0.CTRL.write(1)
    assert plugged.bar0.CTRL.read() == 0
    with pytest.raises(DeviceError, match="room for 1"):
        lab.run(lambda guest: RingDriver(guest, count=2).sums([b"a", b"b"]))


def test_power_off_ends_its_thread_and_takes_its_maps_away(lab: Lab, plugged: Plugged) -> None:
    lab.run(lambda guest: None)  # what the lab itself begins with its first program goes on
    before = threading.active_count()
    lab.run(ring.driver)
    lab.stop()
    kinds = list(lab.trace.frame()["kind"])
    assert kinds.count("aperture_unmap") == kinds.count("section_unmap") == 1
    lab.start()
    assert lab.run(ring.driver).value[0] == sum(b"hello")
    assert threading.active_count() == before


def test_its_indices_can_be_looked_at(lab: Lab, plugged: Plugged) -> None:
    lab.run(ring.driver)
    values = dict(zip(plugged.registers()["register"], plugged.registers()["value"], strict=True))
    assert (values["MAGIC"], values["COUNT"], values["HEAD"], values["TAIL"]) == (0x474E4952, 16, 3, 3)
