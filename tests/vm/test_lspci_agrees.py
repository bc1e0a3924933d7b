"""lspci in the guest and hdvlab's own listing of the same devices: the same text, and the same bytes.

QEMU answers some config reads from a copy of its own: the BARs (0x10 to 0x27), the ROM's register (0x30), bit 7 of the
header type, the capability pointer (0x34) and its status bit, each capability's next pointer, the whole MSI capability
and the 12 bytes of MSI-X. Every write comes to both, so those bytes are held to the same, too; with hidden capabilities
only BARs, ROM and header type are QEMU's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hdvlab import Bar, Device, Lab, Register
from hdvlab.devices.edu import Edu
from hdvlab.devices.nvme import Nvme
from hdvlab.devices.virtio import Rng
from hdvlab.pci import MsiCapability, MsixCapability, PmCapability, VendorCapability
from hdvlab.systems.qemu.command_line import VmOptions

from ..labs import _quick_collections as _quick_collections
from ..labs import no_handle_is_left as no_handle_is_left

pytestmark = pytest.mark.vm


class Control(Bar, size=4096):
    CTRL = Register(0x00)


class Vectors(Bar, size=4096, bits=64):
    """MSI-X table and pending bits."""


class Custom(Device):
    """What no driver of Linux's touches: one capability of each kind."""

    vendor_id, device_id, revision_id = 0x1234, 0x0042, 7
    base_class, sub_class, prog_if = 0x12, 0x00, 0x01
    sub_vendor_id, sub_system_id = 0xCAFE, 0xBABE
    capabilities = (
        PmCapability(0b11001),
        VendorCapability(b"hdvlab judge"),
        MsixCapability(4, 2, 0, 2, 0x800),
        MsiCapability(4, per_vector_masking=True),
    )
    bar0: Any = Control
    bar2: Any = Vectors


#: Config writes of every width by the guest, into what is writable, what is not, and half of each.
WRITES = """
set -e
setpci -s 00:04.0 COMMAND=0106 CACHE_LINE_SIZE=10 LATENCY_TIMER=40 VENDOR_ID=ffff
setpci -s 00:04.0 CAP_PM+4.W=0100 CAP09+4.B=ff
setpci -s 00:04.0 CAP_MSIX+2.W=4000
setpci -s 00:04.0 CAP_MSI+4.L=fee01004 CAP_MSI+8.L=00000000 CAP_MSI+c.W=4041 CAP_MSI+10.L=0000000a CAP_MSI+2.B=20
setpci -s 00:04.0 STATUS=f900
"""

NAMES = ("edu", "nvme", "rng", "custom")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(machine="vm") as made:
        for slot, (device, name) in enumerate(zip((Edu, Nvme, Rng, Custom), NAMES, strict=True), 1):
            made.plug(device, name=name, slot=slot, configuration=["size=1M"] if device is Nvme else [])
        yield made


def listing_and_bytes(text: str) -> tuple[list[str], list[str]]:
    """The lines about the device, and those of the dump.

    Left out is what does not come from config space, but from Linux: the driver, and the interrupt that it has made of
    the interrupt line. The class has a name in hdvlab's, a number with ``-n``.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith("\tKernel ")]
    lines = [re.sub(r"routed to IRQ \d+", "routed to IRQ", line) for line in lines]
    first = lines[0].split(" ", 1)[0] + lines[0].split(": ", 1)[1]
    dump = [line for line in lines if line[2:4] == ": "]
    return [first, *(line for line in lines[1:] if line not in dump)], dump


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("hidden", [False, True], ids=["normal", "hidden capabilities"])
def test_lspci_in_the_guest_shows_what_hdvlab_shows(lab: Lab, hidden: bool) -> None:
    lab.boot(VmOptions(hide_capabilities=hidden, tools=["pciutils"], modules=["virtio-rng"]))
    before = lab["custom"].lspci(2, 4)
    written = lab.sh(WRITES)
    assert (written.status, written.text) == (0, "")
    for name in NAMES:
        guest = lab.sh(f"lspci -n -vvv -xxxx -s {lab[name].address} 2>/dev/null")
        assert guest.status == 0
        theirs, ours = listing_and_bytes(guest.text), listing_and_bytes(lab[name].lspci(2, 4))
        assert len(theirs[1]) == 256 // 16
        assert theirs[1] == ours[1], name
        assert theirs[0] == ours[0], name
    after = lab["custom"].lspci(2, 4)
    for told in ("Masked+", "Count=4/4", "PME-Enable+", "Address: 00000000fee01004  Data: 4041", "Masking: 0000000a"):
        assert told in after
        assert told not in before
    assert "MSI-X: Enable+" in lab["nvme"].lspci(2)
