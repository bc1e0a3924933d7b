"""``concurrent = True``: handlers of one device in parallel, each on its guest's thread."""

from __future__ import annotations

import threading

from hdvlab import Bar, Device, Lab, Register

from ..labs import PATIENCE


class Meeting(Device):
    vendor_id, device_id = 0x1234, 16
    concurrent = True

    class bar0(Bar):
        MEET = Register(0x00)
        COUNT = Register(0x04)

    def initialize(self) -> None:
        self.together = threading.Barrier(2)
        self.met = 0

    @bar0.MEET.on_read
    def meet(self) -> int:
        with self.lock:  # no lock against the other guest: it would wait for ever
            self.together.wait(PATIENCE)
        self.met += 1
        return 7


def _read_twice(lab: Lab, name: str) -> list[int]:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(lab[name].bar0.MEET.read())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    return answers


def test_two_guest_threads_are_in_a_handler_at_once(lab: Lab) -> None:
    device = lab.plug(Meeting).device
    assert isinstance(device, Meeting)
    assert _read_twice(lab, "meeting") == [7, 7]
    assert (device.met, device.faults) == (2, [])


def test_a_concurrent_device_is_concurrent_again_when_it_is_plugged_again(lab: Lab) -> None:
    lab.plug(Meeting)
    lab.unplug("meeting")
    lab.plug(Meeting)
    assert _read_twice(lab, "meeting") == [7, 7]
