"""Hidden capabilities under Linux: drivers program the device's own MSI-X table, and interrupts are DMA writes."""

from __future__ import annotations

import pandas as pandas  # its threads stay: they are not the test's
import pytest

from hdvlab import Lab
from hdvlab.devices.nvme import Nvme
from hdvlab.systems.qemu.command_line import VmOptions

pytestmark = pytest.mark.vm

#: What a message's data of the interrupt window says: a vector that is no exception's.
FIRST_VECTOR = 0x20
COPY = """
dd if=/dev/urandom of=/tmp/a bs=64k count=16 2>/dev/null
dd if=/tmp/a of=/dev/nvme0n1 bs=64k oflag=direct 2>/dev/null
dd if=/dev/nvme0n1 of=/tmp/b bs=64k count=16 iflag=direct 2>/dev/null
cmp /tmp/a /tmp/b && echo same
"""


def test_linux_programs_the_devices_own_table_and_gets_its_interrupts() -> None:
    with Lab(machine="vm") as lab:
        lab.plug(Nvme)
        lab.boot(VmOptions(hide_capabilities=True))
        copied = lab.sh(COPY)
        assert (copied.text.splitlines()[-1:], copied.status) == (["same"], 0)
        counted = lab.sh("grep nvme /proc/interrupts")
        assert "nvme0q1" in counted.text
        frame = copied.frame()
    sent = frame[frame["kind"] == "interrupt"]
    assert len(sent) >= 32, "one for each command"
    assert set(sent["status"]) == {0}
    # The guest's own address and vectors, not the cookies that QEMU's table would hide.
    assert {int(address) & 0xFFF00000 for address in sent["address"]} == {0xFEE00000}
    assert all(FIRST_VECTOR <= int(value) <= 0xFF for value in sent["value"])
