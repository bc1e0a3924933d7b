"""The entropy source.

Ref: Virtio 1.2, section 5.4.
"""

from __future__ import annotations

import pytest

from hdvlab import Lab, commands
from hdvlab.devices.virtio import Rng, RngDriver
from hdvlab.devices.virtio.rng import MOST
from hdvlab.errors import HdvError, UsageError


def test_it_gives_as_many_bytes_as_are_asked_for_and_others_each_time(lab: Lab) -> None:
    commands.plug(lab, "virtio.rng")
    one, other = lab.run(lambda guest: [RngDriver(guest).read(1000), RngDriver(guest).read(1000)]).value
    assert len(one) == len(other) == 1000
    assert one != other
    assert lab.faults == []


def test_a_huge_request_gets_a_part(lab: Lab) -> None:
    lab.plug(Rng)

    def driver(guest: object) -> tuple[int, int]:
        rng = RngDriver(guest)  # type: ignore[arg-type]
        buffer = rng.guest.dma_alloc(1 << 20)
        return rng.request([], [(buffer.address, 1 << 20)]), len(rng.read(3 * MOST))

    assert lab.run(driver).value == (MOST, 3 * MOST)


def test_with_a_seed_the_bytes_are_the_same_in_every_run(lab: Lab) -> None:
    lab.plug(Rng, configuration=["seed=7"])
    one = lab.run(lambda guest: RngDriver(guest).read(100)).value
    lab.stop()
    lab.start()
    assert lab.run(lambda guest: RngDriver(guest).read(100)).value == one
    assert len(set(one)) > 50


@pytest.mark.parametrize("setting", ["seed=seven", "speed=7"])
def test_another_setting_is_refused(lab: Lab, setting: str) -> None:
    with pytest.raises(HdvError, match="rng has one setting, seed=NUMBER"):
        lab.plug(Rng, configuration=[setting])


@pytest.mark.parametrize(("name", "says"), [("virtio", "virtio.blk, virtio.rng"), ("virtio.net", "virtio.rng")])
def test_devices_of_a_kind_are_named_with_it(lab: Lab, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        commands.plug(lab, name)
