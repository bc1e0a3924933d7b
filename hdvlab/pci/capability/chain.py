"""The linked list of capabilities, read from devices that may have it wrong.

Ref: PCI Local Bus 3.0, section 6.7 (capabilities list).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple

from hdvlab.errors import AccessError, HdvError
from hdvlab.pci import spec
from hdvlab.pci.capability.interface import Capability
from hdvlab.pci.capability.msi import MsiCapability
from hdvlab.pci.capability.msix import MsixCapability
from hdvlab.pci.capability.pm import PmCapability
from hdvlab.pci.capability.vendor import VendorCapability


class ChainFault(enum.Enum):
    """Why a walk ended before the list did; the value is how a listing says it."""

    LOOPED = "<chain looped>"
    """The next pointer leads to a capability that was visited already."""
    BROKEN = "<chain broken>"
    """The pointer leads into the header, or to an ID of 0xFF: nothing is there."""
    TRUNCATED = "<access denied>"
    """The pointer leads behind the bytes given: only a part of configuration space was read."""


class CapabilityEntry(NamedTuple):
    """One step of :func:`walk`.

    Attributes
    ----------
    offset : int
        Bytes from the start of configuration space.
    capability_id : int
        8 bits; 0xFF where nothing could be read.
    capability : Capability or ChainFault or None
        The decoded capability; None where hdvlab does not know its ID or its contents contradict the standard; a
        :class:`ChainFault` in the last entry of a list that is broken.
    """

    offset: int
    capability_id: int
    capability: Capability | ChainFault | None


_DECODERS: Final[dict[int, Callable[[bytes, int], Capability]]] = {
    spec.CapabilityId.POWER_MANAGEMENT: PmCapability.decode,
    spec.CapabilityId.MSI: MsiCapability.decode,
    spec.CapabilityId.VENDOR_SPECIFIC: VendorCapability.decode,
    spec.CapabilityId.MSI_X: MsixCapability.decode,
}


def walk(config: bytes) -> list[CapabilityEntry]:
    """Follow the capabilities list.

    Parameters
    ----------
    config : bytes
        Configuration space from its start, 64 bytes or more. Only the first 256 are walked.

    Returns
    -------
    list of CapabilityEntry
        In the order of the list; empty where the Status register says that there is none. Never more than 49
        entries, whatever the bytes are: a list that loops or leaves its range ends with a :class:`ChainFault`.

    Raises
    ------
    AccessError
        Fewer bytes than the header has.
    """
    if len(config) < spec.HEADER_SIZE:
        raise AccessError(f"{len(config)} bytes of configuration space; the header alone has {spec.HEADER_SIZE}")
    config = bytes(config[: spec.CONFIG_SIZE])
    if not int.from_bytes(config[spec.STATUS : spec.STATUS + 2], "little") & spec.Status.CAPABILITIES_LIST:
        return []
    cardbus = config[spec.HEADER_TYPE] & spec.HEADER_TYPE_LAYOUT == spec.HEADER_TYPE_CARDBUS
    start = spec.CARDBUS_CAPABILITIES_POINTER if cardbus else spec.CAPABILITIES_POINTER
    entries: list[CapabilityEntry] = []
    visited: set[int] = set()
    offset = config[start] & spec.CAPABILITY_POINTER_BITS
    while offset:
        if offset < spec.CAPABILITIES_START:
            entries.append(CapabilityEntry(offset, 0xFF, ChainFault.BROKEN))
            break
        if offset + 4 > len(config):
            entries.append(CapabilityEntry(offset, 0xFF, ChainFault.TRUNCATED))
            break
        capability_id = config[offset + spec.CAPABILITY_ID]
        if offset in visited:
            entries.append(CapabilityEntry(offset, capability_id, ChainFault.LOOPED))
            break
        if capability_id == 0xFF:
            entries.append(CapabilityEntry(offset, capability_id, ChainFault.BROKEN))
            break
        visited.add(offset)
        entries.append(CapabilityEntry(offset, capability_id, _decode(config, offset, capability_id)))
        offset = config[offset + spec.CAPABILITY_NEXT] & spec.CAPABILITY_POINTER_BITS
    return entries


def _decode(config: bytes, offset: int, capability_id: int) -> Capability | None:
    decode = _DECODERS.get(capability_id)
    if decode is None:
        return None
    try:
        return decode(config, offset)
    except HdvError:  # the device's mistake, not the reader's: the entry still tells where and what it is
        return None
