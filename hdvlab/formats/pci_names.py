"""Short names of PCI devices that a log gives by number only.

Ref: QEMU docs/specs/pci-ids.rst (vendors 1af4 and 1b36), docs/specs/edu.rst (1234:11e8) and the names of
``qemu-system-x86_64 -device help`` for the rest, whose numbers are those of pci-ids.ucw.cz.
"""

from __future__ import annotations

from typing import Final

PCI_NAMES: Final[dict[tuple[int, int], str]] = {
    (0x1234, 0x1111): "vga",
    (0x1234, 0x11E8): "edu",
    (0x1AF4, 0x1000): "virtio-net",
    (0x1AF4, 0x1001): "virtio-blk",
    (0x1AF4, 0x1005): "virtio-rng",
    (0x1AF4, 0x1110): "ivshmem",
    (0x1B36, 0x0002): "pci-serial",
    (0x1B36, 0x0005): "pci-testdev",
    (0x1B36, 0x000D): "xhci",
    (0x1B36, 0x0010): "nvme",
    (0x1B36, 0x0011): "pvpanic",
    (0x8086, 0x100E): "e1000",
    (0x8086, 0x10C9): "igb",
    (0x8086, 0x10D3): "e1000e",
    (0x10EC, 0x8139): "rtl8139",
}


def pci_name(vendor_id: int, device_id: int) -> str:
    """The short name of a device, or ``"vvvv:dddd"`` as ``lspci -n`` writes it where it has none here."""
    return PCI_NAMES.get((vendor_id, device_id), f"{vendor_id:04x}:{device_id:04x}")
