"""Power management capability.

Ref: PCI Bus Power Management Interface 1.2, section 3.2; PCI Express Base 5.0, section 7.5.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hdvlab.errors import RegisterError
from hdvlab.pci import spec
from hdvlab.pci.capability.interface import capability_bytes, list_header


@dataclass(frozen=True)
class PmCapability:
    """Power management capability with D0 and D3hot.

    Parameters
    ----------
    pme_support : int
        States a PME can be sent from, 5 bits: D0, D1, D2, D3hot, D3cold; 0 = none.
    no_soft_reset : bool
        The device keeps its state from D3hot to D0.
    version : int
        3 bits; 3 is that of specification 1.2.

    Raises
    ------
    RegisterError
        A number wider than its field.

    Notes
    -----
    D1 and D2 are not supported, yet the guest can write their codes: masks cannot say "drop 1 and 2". A device that
    cares looks at bits 1:0 of the register at offset 4 itself.
    """

    pme_support: int = 0
    no_soft_reset: bool = True
    version: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.pme_support < 1 << 5:
            raise RegisterError(f"pme_support is {self.pme_support:#x}, the field has 5 bits; use 0 to 0x1f")
        if not 0 <= self.version <= spec.PM_VERSION:
            raise RegisterError(f"version is {self.version}, the field has 3 bits; use 0 to {spec.PM_VERSION}")

    @property
    def capability_id(self) -> int:
        return spec.CapabilityId.POWER_MANAGEMENT

    @property
    def size(self) -> int:
        """Bytes: 8."""
        return spec.PM_SIZE

    def encode(self, next_pointer: int) -> bytes:
        """Contents after reset: D0."""
        capabilities = self.version | self.pme_support << spec.PM_PME_SUPPORT_SHIFT
        control = spec.PM_NO_SOFT_RESET if self.no_soft_reset else 0
        return list_header(self.capability_id, next_pointer) + struct.pack("<HHH", capabilities, control, 0)

    def write_mask(self) -> bytes:
        """Power state, and PME enable where there is PME."""
        control = spec.PM_POWER_STATE | (spec.PM_PME_ENABLE if self.pme_support else 0)
        return self._control_mask(control)

    def w1c_mask(self) -> bytes:
        """PME status where there is PME."""
        return self._control_mask(spec.PM_PME_STATUS if self.pme_support else 0)

    def _control_mask(self, bits: int) -> bytes:
        mask = bytearray(self.size)
        struct.pack_into("<H", mask, spec.PM_CONTROL_STATUS, bits)
        return bytes(mask)

    @classmethod
    def decode(cls, config: bytes, offset: int) -> PmCapability:
        """Read the description out of configuration space.

        Raises
        ------
        AccessError
            No power management capability at ``offset``, or cut off.
        """
        data = capability_bytes(config, offset, spec.PM_SIZE, spec.CapabilityId.POWER_MANAGEMENT)
        capabilities, control = struct.unpack_from("<HH", data, spec.PM_CAPABILITIES)
        return cls(
            pme_support=capabilities >> spec.PM_PME_SUPPORT_SHIFT,
            no_soft_reset=bool(control & spec.PM_NO_SOFT_RESET),
            version=capabilities & spec.PM_VERSION,
        )
