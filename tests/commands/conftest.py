"""A lab with one device in it, whose registers have everything that commands show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hdvlab import Bar, Device, Field, Lab, Register


class Blink(Device):
    vendor_id, device_id = 0x1234, 0x0001

    class bar0(Bar, size=4096):
        CTRL = Register(0x00, fields={"EN": 0, "RATE": (1, 4), "MODE": Field(8, meanings={0: "slow", 1: "fast"})})
        COUNT = Register(0x04, access="ro")
        EVENTS = Register(0x08, access="rc", reset=0xFF)
        WIDE = Register(0x10, 64)

    @bar0.CTRL.on_write
    def ctrl(self, value: int) -> None:
        self.bar0.COUNT += value & 1


@pytest.fixture
def blink() -> type[Device]:
    return Blink


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as one:
        one.plug(Blink)
        yield one
