"""Over a device host: looking and rehearsing leave nothing, a poke leaves the line of the person."""

from __future__ import annotations

import pytest

from hdvlab import Bar, Device, Register, commands
from hdvlab.device.rehearsed import Rehearsal
from hdvlab.errors import StateError
from hdvlab.host import RemoteLab


class Far(Device):
    vendor_id, device_id = 0x1234, 0x0042

    class bar0(Bar, size=8192):
        GO = Register(0x00, fields={"EN": 0})
        ONCE = Register(0x04, access="rc", reset=0x5A)
        ASK = Register(0x08, access="ro")

    def __init__(self) -> None:
        self.count = 0

    def start(self) -> None:
        self.pages = self.section(4096, 4096)

    @bar0.ASK.on_read
    def ask(self) -> int:
        self.count += 1
        self.dma_write(0x1000, bytes([self.count]))
        return self.dma_read(0x1000, 1)[0]

    @bar0.GO.on_write
    def go(self, value: int) -> None:
        while value == 0xDEAD:
            pass
        self.count += value


def test_looking_and_rehearsing_in_a_host_change_nothing_and_leave_no_row(remote: RemoteLab) -> None:
    one = remote.plug(Far)
    rows, memory = len(remote.trace), remote.machine.ram_read(0x1000, 16)
    for _ in range(2):
        assert [one.peek(0, offset, 4) for offset in (0, 4, 8)] == [0, 0x5A, 0]
        told = one.rehearse("ASK")
        assert isinstance(told, Rehearsal)
        assert told.answer == 1
        assert [(effect.kind, effect.data) for effect in told.effects] == [
            ("dma_write", b"\x01"),
            ("dma_read", b"\x01"),
        ]
        assert [str(change) for change in told.attributes] == ["0 → 1"]
        assert one.rehearse("ONCE").registers[0].after == 0
        assert "calls nobody" in one.rehearse(4096, write=1).notes[0]
    assert commands.whatif(remote, "write", "GO.EN=1").value == 1
    assert len(remote.trace) == rows
    assert remote.machine.ram_read(0x1000, 16) == memory
    assert one.bar0.ASK.read() == 1


def test_a_handler_that_loops_in_a_rehearsal_does_not_hold_the_host(
    remote: RemoteLab,
) -> None:
    one = remote.plug(Far)
    with pytest.raises(StateError, match="did not end within 5 s"):
        one.rehearse("GO", write=0xDEAD)
    assert one.bar0.ASK.read() == 1


def test_a_poke_through_a_host_names_the_persons_line(remote: RemoteLab) -> None:
    one = remote.plug(Far)
    one.poke(0, 0, 4, 3)  # this line
    row = remote.trace.frame(decode=True).iloc[-1]
    assert (row["kind"], row["origin"]) == ("mmio_write", "user")
    assert row["source"].endswith("one.poke(0, 0, 4, 3)  # this line")
