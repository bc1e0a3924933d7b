"""A capability as ``lspci -v`` and ``-vv`` print it.

Ref: PCI Local Bus 3.0, sections 6.7 and 6.8; lspci(8), pciutils 3.9, for the form.

Read from the bytes and not from the decoded description: a listing shows state (enabled, address) and reserved
values as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hdvlab.pci import spec
from hdvlab.pci.capability.chain import CapabilityEntry, ChainFault

_PLAIN_NAMES: Final[dict[int, str]] = {
    spec.CapabilityId.NULL: "Null",
    spec.CapabilityId.VPD: "Vital Product Data",
    spec.CapabilityId.COMPACT_PCI_HOT_SWAP: "CompactPCI hot-swap <?>",
    spec.CapabilityId.COMPACT_PCI_RESOURCE_CONTROL: "CompactPCI central resource control <?>",
    spec.CapabilityId.PCI_HOT_PLUG: "Hot-plug capable",
    spec.CapabilityId.AGP_8X: "AGP3 <?>",
    spec.CapabilityId.SECURE_DEVICE: "Secure device <?>",
}

_PORT_TYPES: Final[dict[int, str]] = {
    0x0: "Endpoint",
    0x1: "Legacy Endpoint",
    0x4: "Root Port",
    0x5: "Upstream Port",
    0x6: "Downstream Port",
    0x7: "PCI-Express to PCI/PCI-X Bridge",
    0x8: "PCI/PCI-X to PCI-Express Bridge",
    0x9: "Root Complex Integrated Endpoint",
    0xA: "Root Complex Event Collector",
}
_PORTS_WITH_SLOT: Final = (0x4, 0x6, 0x8)

#: Virtio devices, and the kinds of their capabilities that lspci knows.
_VIRTIO_VENDOR: Final = 0x1AF4
_VIRTIO_DEVICES: Final = range(0x1000, 0x1080)
_VIRTIO_SIZE: Final = 16
_VIRTIO_NOTIFY: Final = 2
_VIRTIO_KINDS: Final[dict[int, str]] = {1: "CommonCfg", _VIRTIO_NOTIFY: "Notify", 3: "ISR", 4: "DeviceCfg"}


def flag(register: int, bit: int) -> str:
    """``+`` where the bit is set, else ``-``."""
    return "+" if register & bit else "-"


def capability_lines(config: bytes, entry: CapabilityEntry, verbose: int) -> list[str]:
    """Lines of one capability, without the tabs in front.

    Parameters
    ----------
    config : bytes
        Configuration space that the entry comes from.
    entry : CapabilityEntry
        One step of :func:`~hdvlab.pci.capability.chain.walk`.
    verbose : int
        1 = one line, 2 = with the registers inside.

    Returns
    -------
    list of str
        The first opens with the offset (``[40] MSI: Enable- ...``); the others are details.
    """
    config = bytes(config[: spec.CONFIG_SIZE])
    offset, capability_id, capability = entry
    if capability is ChainFault.TRUNCATED:
        return [capability.value]
    place = f"[{offset:02x}] "
    if isinstance(capability, ChainFault):
        return [place + capability.value]
    if capability_id in _PLAIN_NAMES:
        return [place + _PLAIN_NAMES[capability_id]]
    control = _word(config, offset + spec.CAPABILITY_CONTROL)
    writer = _WRITERS.get(capability_id)
    if writer is None:
        return [f"{place}Capability ID {capability_id:#x} [{control:04x}]"]
    first, *details = writer(config, offset, control)
    if capability_id == spec.CapabilityId.PCI_EXPRESS and verbose >= 2:
        first = first.replace("Express ", f"Express (v{control & spec.PCIE_VERSION}) ", 1)
    return [place + first, *(details if verbose >= 2 else ())]


def _word(config: bytes, offset: int) -> int:
    return int.from_bytes(config[offset : offset + 2], "little")


def _dword(config: bytes, offset: int) -> int:
    return int.from_bytes(config[offset : offset + 4], "little")


def _power_management(config: bytes, offset: int, control: int) -> list[str]:
    pme = control >> spec.PM_PME_SUPPORT_SHIFT
    states = ("D0", "D1", "D2", "D3hot", "D3cold")
    support = ",".join(f"{state}{flag(pme, 1 << bit)}" for bit, state in enumerate(states))
    current = spec.PM_AUX_CURRENT_MA[control >> spec.PM_AUX_CURRENT_SHIFT & 7]
    lines = [
        f"Power Management version {control & spec.PM_VERSION}",
        (
            f"Flags: PMEClk{flag(control, spec.PM_PME_CLOCK)} "
            f"DSI{flag(control, spec.PM_DEVICE_SPECIFIC_INITIALIZATION)} "
            f"D1{flag(control, spec.PM_D1)} D2{flag(control, spec.PM_D2)} AuxCurrent={current}mA PME({support})"
        ),
    ]
    if offset + spec.PM_SIZE <= len(config):
        state = _word(config, offset + spec.PM_CONTROL_STATUS)
        lines.append(
            f"Status: D{state & spec.PM_POWER_STATE} NoSoftRst{flag(state, spec.PM_NO_SOFT_RESET)} "
            f"PME-Enable{flag(state, spec.PM_PME_ENABLE)} DSel={state >> spec.PM_DATA_SELECT_SHIFT & 0xF} "
            f"DScale={state >> spec.PM_DATA_SCALE_SHIFT & 0x3} PME{flag(state, spec.PM_PME_STATUS)}"
        )
    return lines


def _msi(config: bytes, offset: int, control: int) -> list[str]:
    granted = 1 << ((control & spec.MSI_CONTROL_MULTIPLE_MESSAGE_ENABLE) >> 4)
    capable = 1 << ((control & spec.MSI_CONTROL_MULTIPLE_MESSAGE_CAPABLE) >> 1)
    wide = bool(control & spec.MSI_CONTROL_64BIT)
    lines = [
        (
            f"MSI: Enable{flag(control, spec.MSI_CONTROL_ENABLE)} Count={granted}/{capable} "
            f"Maskable{flag(control, spec.MSI_CONTROL_PER_VECTOR_MASKING)} 64bit{flag(control, spec.MSI_CONTROL_64BIT)}"
        )
    ]
    data = offset + (spec.MSI_DATA_64 if wide else spec.MSI_DATA_32)
    if data + 2 <= len(config):
        upper = f"{_dword(config, offset + spec.MSI_UPPER_ADDRESS):08x}" if wide else ""
        address = _dword(config, offset + spec.MSI_ADDRESS)
        lines.append(f"Address: {upper}{address:08x}  Data: {_word(config, data):04x}")
    mask = offset + (spec.MSI_MASK_64 if wide else spec.MSI_MASK_32)
    if control & spec.MSI_CONTROL_PER_VECTOR_MASKING and mask + 8 <= len(config):
        lines.append(f"Masking: {_dword(config, mask):08x}  Pending: {_dword(config, mask + 4):08x}")
    return lines


def _msix(config: bytes, offset: int, control: int) -> list[str]:
    lines = [
        (
            f"MSI-X: Enable{flag(control, spec.MSIX_CONTROL_ENABLE)} "
            f"Count={(control & spec.MSIX_CONTROL_TABLE_SIZE) + 1} "
            f"Masked{flag(control, spec.MSIX_CONTROL_FUNCTION_MASK)}"
        )
    ]
    if offset + spec.MSIX_SIZE <= len(config):
        for name, register in (("Vector table", spec.MSIX_TABLE), ("PBA", spec.MSIX_PBA)):
            value = _dword(config, offset + register)
            lines.append(f"{name}: BAR={value & spec.MSIX_BIR} offset={value & ~spec.MSIX_BIR:08x}")
    return lines


def _vendor(config: bytes, offset: int, control: int) -> list[str]:
    length = control & 0xFF
    vendor, device = _word(config, spec.VENDOR_ID), _word(config, spec.DEVICE_ID)
    if vendor == _VIRTIO_VENDOR and device in _VIRTIO_DEVICES and length >= _VIRTIO_SIZE <= len(config) - offset:
        return _virtio(config, offset, length)
    return [f"Vendor Specific Information: Len={length:02x} <?>"]


def _virtio(config: bytes, offset: int, length: int) -> list[str]:
    """Where a virtio structure is (Virtio 1.2, section 4.1.4)."""
    kind = config[offset + 3]
    place = f"BAR={config[offset + 4]} offset={_dword(config, offset + 8):08x} size={_dword(config, offset + 12):08x}"
    if kind == _VIRTIO_NOTIFY and length >= _VIRTIO_SIZE + 4 <= len(config) - offset:
        place += f" multiplier={_dword(config, offset + 16):08x}"
    return [f"Vendor Specific Information: VirtIO: {_VIRTIO_KINDS.get(kind, '<unknown>')}", place]


def _pci_express(config: bytes, offset: int, control: int) -> list[str]:
    port_type = control >> spec.PCIE_PORT_TYPE_SHIFT & 0xF
    name = _PORT_TYPES.get(port_type, f"Unknown type {port_type}")
    if port_type in _PORTS_WITH_SLOT:
        name += f" (Slot{flag(control, spec.PCIE_SLOT_IMPLEMENTED)})"
    return [f"Express {name}, MSI {control >> spec.PCIE_INTERRUPT_MESSAGE_SHIFT & 0x1F:02x}"]


_WRITERS: Final[dict[int, Callable[[bytes, int, int], list[str]]]] = {
    spec.CapabilityId.POWER_MANAGEMENT: _power_management,
    spec.CapabilityId.MSI: _msi,
    spec.CapabilityId.VENDOR_SPECIFIC: _vendor,
    spec.CapabilityId.PCI_EXPRESS: _pci_express,
    spec.CapabilityId.MSI_X: _msix,
}
