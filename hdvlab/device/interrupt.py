"""How a device's interrupt vectors stand.

Ref: PCI Local Bus 3.0, sections 6.8.1 (MSI) and 6.8.2 (MSI-X).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hdvlab._core import ffi, lib
from hdvlab.errors import AccessError, check
from hdvlab.pci import CapabilityId

_KINDS: dict[int, Literal["msi", "msix"]] = {CapabilityId.MSI: "msi", CapabilityId.MSI_X: "msix"}


@dataclass(frozen=True)
class InterruptState:
    """A vector, as the driver programmed it.

    Attributes
    ----------
    vector : int
        Its number, from 0.
    kind : {"msi", "msix"} or None
        What the driver enabled; where it enabled both, MSI-X counts. None = neither, and the rest is empty.
    vectors : int
        How many vectors the driver granted (MSI) or there are (MSI-X).
    masked : bool
        By the vector's own mask bit, or by MSI-X's function mask.
    pending : bool
        Raised while it was masked; sent when it is unmasked.
    address : int
        Guest-physical address of the message, 64 bits.
    data : int
        Its 32 bits; MSI uses 16.
    """

    vector: int
    kind: Literal["msi", "msix"] | None
    vectors: int = 0
    masked: bool = False
    pending: bool = False
    address: int = 0
    data: int = 0

    @property
    def enabled(self) -> bool:
        """The vector can be raised."""
        return self.kind is not None and self.vector < self.vectors


def read_interrupt_state(file: Any, vector: int) -> InterruptState:
    """The state of a register file's vector; see :meth:`hdvlab.Device.interrupt_state`."""
    if not 0 <= vector < 1 << 32:
        raise AccessError(f"vector {vector}: they are counted from 0")
    message = ffi.new("HDVLAB_MESSAGE *")
    check(lib.hdvlab_register_file_message(file, vector, message), f"vector {vector}", "the device has no such vector")
    kind = _KINDS.get(message.capability)
    if kind is None:
        return InterruptState(vector, None)
    masked, pending = bool(message.masked), bool(message.pending)
    return InterruptState(vector, kind, message.count, masked, pending, message.address, message.data)


def withdraw_interrupt(file: Any, vector: int) -> bool:
    """Take back a pending vector; see :meth:`hdvlab.Device.interrupt_withdraw`."""
    if not 0 <= vector < 1 << 32:
        raise AccessError(f"vector {vector}: they are counted from 0")
    hresult = lib.hdvlab_register_file_withdraw(file, vector)
    check(hresult, f"withdraw vector {vector}", "the device has no such vector")
    return bool(hresult == 0)
