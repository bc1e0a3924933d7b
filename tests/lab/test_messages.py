"""What a person is told when something they did had no effect."""

from __future__ import annotations

import numpy as np
import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.errors import AccessError, AccessWarning, DeviceError
from hdvlab.guest import Guest


class Faulty(Device):
    """Whose handlers fail with errors that are also the bus's."""

    vendor_id, device_id = 0x1234, 0x00FA

    class bar0(Bar, size=4096):
        TYPO = Register(0x00)
        DMA = Register(0x04)
        FINE = Register(0x08)

    @bar0.TYPO.on_write
    def typo(self, value: int) -> None:
        self.bar0.FIEN = value

    @bar0.DMA.on_write
    def dma(self, value: int) -> None:
        self.dma_write(1 << 40, b"x")


@pytest.mark.parametrize(
    ("register", "reason"), [("TYPO", "NoSuchRegisterError.*did you mean FINE"), ("DMA", "GuestMemoryError.*wholly")]
)
def test_a_failed_handler_is_the_reason_also_where_its_error_is_one_of_the_bus(
    lab: Lab, register: str, reason: str
) -> None:
    bar0 = lab.plug(Faulty).bar0
    with pytest.warns(AccessWarning, match=f"its handler failed: {reason}"):
        getattr(bar0, register).write(1)
    lab["faulty"].function.enable(memory=False)  # type: ignore[union-attr]
    with pytest.warns(AccessWarning, match="nothing decodes that address"):
        bar0.FINE.write(1)


def test_a_run_says_how_many_of_its_accesses_failed(lab: Lab) -> None:
    def driver(guest: Guest) -> None:
        guest["faulty"].bar0.TYPO.write(1)
        guest["faulty"].bar0.FINE.write(1)

    lab.plug(Faulty)
    assert "1 failed" in repr(lab.run(driver))


def test_a_guest_reads_and_writes_any_address(lab: Lab) -> None:
    def driver(guest: Guest) -> list[int]:
        base = guest["faulty"].bar0.address
        guest.write(base + 8, 0xABCD, 2)
        return [guest.read(base + 8), guest.read(0xF000_0000), guest.read(0xF000_0000, 8)]

    lab.plug(Faulty)
    run = lab.run(driver)
    assert run.value == [0xABCD, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF]
    assert np.count_nonzero(run.frame()["pc"]) == len(run)
    with pytest.raises(AccessError, match="1, 2, 4 or 8 bytes"):
        lab.run(lambda guest: guest.read(0, 3))


def test_assigning_to_a_register_on_the_guests_side_is_refused_with_what_to_write(lab: Lab) -> None:
    with pytest.raises(AccessError, match=r"FINE\.write\(5\)"):
        lab.plug(Faulty).bar0.FINE = 5  # type: ignore[assignment]


def test_a_device_that_does_not_come_up_says_why_and_keeps_its_fault(lab: Lab) -> None:
    class Late(Faulty):
        def start(self) -> None:
            raise ValueError("not today")

    lab.plug(Faulty, name="one")
    with pytest.raises(DeviceError, match="one is not plugged in, because its Start failed: not today; the one that"):
        lab.plug(Late, name="one")
    assert [str(fault.error) for fault in lab.faults] == ["not today"]
    assert "one" not in lab
