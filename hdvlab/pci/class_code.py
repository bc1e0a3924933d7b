"""Ref: PCI Local Bus 3.0, appendix D; PCI Code and ID Assignment 1.11, chapter 1 (class codes).

Names are the short forms that listings print.
"""

from __future__ import annotations

from typing import Final

CLASS_CODES: Final[dict[int, tuple[str, dict[int, str]]]] = {
    0x00: (
        "Unclassified device",
        {0x00: "Non-VGA unclassified device", 0x01: "VGA compatible unclassified device"},
    ),
    0x01: (
        "Mass storage controller",
        {
            0x00: "SCSI storage controller",
            0x01: "IDE interface",
            0x02: "Floppy disk controller",
            0x03: "IPI bus controller",
            0x04: "RAID bus controller",
            0x05: "ATA controller",
            0x06: "SATA controller",
            0x07: "Serial Attached SCSI controller",
            0x08: "Non-Volatile memory controller",
            0x09: "Universal Flash Storage controller",
            0x80: "Mass storage controller",
        },
    ),
    0x02: (
        "Network controller",
        {
            0x00: "Ethernet controller",
            0x01: "Token ring network controller",
            0x02: "FDDI network controller",
            0x03: "ATM network controller",
            0x04: "ISDN controller",
            0x05: "WorldFip controller",
            0x06: "PICMG controller",
            0x07: "Infiniband controller",
            0x08: "Fabric controller",
            0x80: "Network controller",
        },
    ),
    0x03: (
        "Display controller",
        {
            0x00: "VGA compatible controller",
            0x01: "XGA compatible controller",
            0x02: "3D controller",
            0x80: "Display controller",
        },
    ),
    0x04: (
        "Multimedia controller",
        {
            0x00: "Multimedia video controller",
            0x01: "Multimedia audio controller",
            0x02: "Computer telephony device",
            0x03: "Audio device",
            0x80: "Multimedia controller",
        },
    ),
    0x05: (
        "Memory controller",
        {0x00: "RAM memory", 0x01: "FLASH memory", 0x02: "CXL", 0x80: "Memory controller"},
    ),
    0x06: (
        "Bridge",
        {
            0x00: "Host bridge",
            0x01: "ISA bridge",
            0x02: "EISA bridge",
            0x03: "MicroChannel bridge",
            0x04: "PCI bridge",
            0x05: "PCMCIA bridge",
            0x06: "NuBus bridge",
            0x07: "CardBus bridge",
            0x08: "RACEway bridge",
            0x09: "Semi-transparent PCI-to-PCI bridge",
            0x0A: "InfiniBand to PCI host bridge",
            0x80: "Bridge",
        },
    ),
    0x07: (
        "Communication controller",
        {
            0x00: "Serial controller",
            0x01: "Parallel controller",
            0x02: "Multiport serial controller",
            0x03: "Modem",
            0x04: "GPIB controller",
            0x05: "Smart Card controller",
            0x80: "Communication controller",
        },
    ),
    0x08: (
        "Generic system peripheral",
        {
            0x00: "PIC",
            0x01: "DMA controller",
            0x02: "Timer",
            0x03: "RTC",
            0x04: "PCI Hot-plug controller",
            0x05: "SD Host controller",
            0x06: "IOMMU",
            0x80: "System peripheral",
        },
    ),
    0x09: (
        "Input device controller",
        {
            0x00: "Keyboard controller",
            0x01: "Digitizer Pen",
            0x02: "Mouse controller",
            0x03: "Scanner controller",
            0x04: "Gameport controller",
            0x80: "Input device controller",
        },
    ),
    0x0A: ("Docking station", {0x00: "Generic Docking Station", 0x80: "Docking Station"}),
    0x0B: (
        "Processor",
        {
            0x00: "386",
            0x01: "486",
            0x02: "Pentium",
            0x10: "Alpha",
            0x20: "Power PC",
            0x30: "MIPS",
            0x40: "Co-processor",
        },
    ),
    0x0C: (
        "Serial bus controller",
        {
            0x00: "FireWire (IEEE 1394)",
            0x01: "ACCESS Bus",
            0x02: "SSA",
            0x03: "USB controller",
            0x04: "Fibre Channel",
            0x05: "SMBus",
            0x06: "InfiniBand",
            0x07: "IPMI Interface",
            0x08: "SERCOS interface",
            0x09: "CANBUS",
            0x80: "Serial bus controller",
        },
    ),
    0x0D: (
        "Wireless controller",
        {
            0x00: "IRDA controller",
            0x01: "Consumer IR controller",
            0x10: "RF controller",
            0x11: "Bluetooth",
            0x12: "Broadband",
            0x20: "802.1a controller",
            0x21: "802.1b controller",
            0x80: "Wireless controller",
        },
    ),
    0x0E: ("Intelligent controller", {0x00: "I2O"}),
    0x0F: (
        "Satellite communications controller",
        {
            0x01: "Satellite TV controller",
            0x02: "Satellite audio communication controller",
            0x03: "Satellite voice communication controller",
            0x04: "Satellite data communication controller",
        },
    ),
    0x10: (
        "Encryption controller",
        {
            0x00: "Network and computing encryption device",
            0x10: "Entertainment encryption device",
            0x80: "Encryption controller",
        },
    ),
    0x11: (
        "Signal processing controller",
        {
            0x00: "DPIO module",
            0x01: "Performance counters",
            0x10: "Communication synchronizer",
            0x20: "Signal processing management",
            0x80: "Signal processing controller",
        },
    ),
    0x12: ("Processing accelerators", {0x00: "Processing accelerators"}),
    0x13: ("Non-Essential Instrumentation", {}),
    0x40: ("Coprocessor", {}),
    0xFF: ("Unassigned class", {}),
}
"""Base class -> (its name, sub class -> name)."""

PROGRAMMING_INTERFACES: Final[dict[tuple[int, int, int], str]] = {
    (0x01, 0x06, 0x00): "Vendor specific",
    (0x01, 0x06, 0x01): "AHCI 1.0",
    (0x01, 0x08, 0x01): "NVMHCI",
    (0x01, 0x08, 0x02): "NVM Express",
    (0x03, 0x00, 0x00): "VGA controller",
    (0x03, 0x00, 0x01): "8514 controller",
    (0x06, 0x04, 0x00): "Normal decode",
    (0x06, 0x04, 0x01): "Subtractive decode",
    (0x07, 0x00, 0x00): "8250",
    (0x07, 0x00, 0x01): "16450",
    (0x07, 0x00, 0x02): "16550",
    (0x07, 0x00, 0x03): "16650",
    (0x07, 0x00, 0x04): "16750",
    (0x07, 0x00, 0x05): "16850",
    (0x07, 0x00, 0x06): "16950",
    (0x0C, 0x03, 0x00): "UHCI",
    (0x0C, 0x03, 0x10): "OHCI",
    (0x0C, 0x03, 0x20): "EHCI",
    (0x0C, 0x03, 0x30): "XHCI",
    (0x0C, 0x03, 0x40): "USB4 Host Interface",
    (0x0C, 0x03, 0x80): "Unspecified",
    (0x0C, 0x03, 0xFE): "USB Device",
}
"""(base class, sub class, programming interface) -> name, for those a lab is likely to meet."""


def class_name(base_class: int, sub_class: int) -> str:
    """Name a class code the way a listing does.

    Parameters
    ----------
    base_class, sub_class : int
        8 bits each.

    Returns
    -------
    str
        The sub class's name; ``"Bridge [06fe]"`` where only the base class is known; ``"Class 4242"`` where
        neither is.
    """
    code = f"{base_class:02x}{sub_class:02x}"
    entry = CLASS_CODES.get(base_class)
    if entry is None:
        return f"Class {code}"
    name, sub_classes = entry
    return sub_classes.get(sub_class, f"{name} [{code}]")


def prog_if_name(base_class: int, sub_class: int, prog_if: int) -> str | None:
    """Name of a programming interface (8 bits each), or None where the table has none."""
    return PROGRAMMING_INTERFACES.get((base_class, sub_class, prog_if))
