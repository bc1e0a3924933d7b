"""Capabilities: what a device declares in the list, and the list read back."""

from hdvlab.pci.capability.chain import CapabilityEntry, ChainFault, walk
from hdvlab.pci.capability.interface import Capability
from hdvlab.pci.capability.msi import MsiCapability, MsiState
from hdvlab.pci.capability.msix import MsixCapability, MsixEntry, MsixState
from hdvlab.pci.capability.pm import PmCapability
from hdvlab.pci.capability.vendor import VendorCapability

__all__ = [
    "Capability",
    "CapabilityEntry",
    "ChainFault",
    "MsiCapability",
    "MsiState",
    "MsixCapability",
    "MsixEntry",
    "MsixState",
    "PmCapability",
    "VendorCapability",
    "walk",
]
