"""PCI vocabulary: constants, BARs, capabilities and configuration space. No I/O.

Imports nothing of hdvlab but :mod:`hdvlab.errors`; names are spelled as the PCI standard spells them.
"""

from hdvlab.pci.bar import BarDescription, decode_probed_bars, probed_bar, probed_bars
from hdvlab.pci.capability import (
    Capability,
    CapabilityEntry,
    ChainFault,
    MsiCapability,
    MsiState,
    MsixCapability,
    MsixEntry,
    MsixState,
    PmCapability,
    VendorCapability,
    walk,
)
from hdvlab.pci.class_code import class_name, prog_if_name
from hdvlab.pci.config_header import ConfigHeader
from hdvlab.pci.config_space import ConfigImage, PnpId
from hdvlab.pci.lspci import hexdump, lspci
from hdvlab.pci.spec import CapabilityId, Command, Status

__all__ = [
    "BarDescription",
    "Capability",
    "CapabilityEntry",
    "CapabilityId",
    "ChainFault",
    "Command",
    "ConfigHeader",
    "ConfigImage",
    "MsiCapability",
    "MsiState",
    "MsixCapability",
    "MsixEntry",
    "MsixState",
    "PmCapability",
    "PnpId",
    "Status",
    "VendorCapability",
    "class_name",
    "decode_probed_bars",
    "hexdump",
    "lspci",
    "probed_bar",
    "probed_bars",
    "prog_if_name",
    "walk",
]
