"""HDV's structures as Python values, and how they become C.

Ref: HyperVDeviceVirtualization.h (Windows SDK).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hdvlab._core import ffi
from hdvlab.errors import AccessError


@dataclass(frozen=True)
class PnpId:
    """``HDV_PCI_PNP_ID``: who a device is, 12 bytes of its config space."""

    vendor_id: int
    device_id: int
    revision_id: int = 0
    prog_if: int = 0
    sub_class: int = 0
    base_class: int = 0xFF
    sub_vendor_id: int = 0
    sub_system_id: int = 0

    def fill(self, target: Any) -> None:
        """Write the fields into a C ``HDV_PCI_PNP_ID``."""
        target.VendorID, target.DeviceID = self.vendor_id, self.device_id
        target.RevisionID, target.ProgIf = self.revision_id, self.prog_if
        target.SubClass, target.BaseClass = self.sub_class, self.base_class
        target.SubVendorID, target.SubSystemID = self.sub_vendor_id, self.sub_system_id


def guid(value: uuid.UUID) -> Any:
    """A C ``GUID``; its first three fields are little-endian, as Windows stores them."""
    result = ffi.new("GUID *")
    ffi.memmove(result, value.bytes_le, 16)
    return result


class WideStrings:
    """An array of NUL-terminated UTF-16 strings. ``array`` is good as long as this object lives."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._kept = [wide(text) for text in texts]
        self.array = ffi.new("const uint16_t *[]", self._kept or 1)
        self.count = len(texts)


def wide(text: str) -> Any:
    """A C string of UTF-16 units; good as long as it is kept.

    Raises
    ------
    AccessError
        It is no text, or has a NUL in it, where C would end it (``E_INVALIDARG``).
    """
    if not isinstance(text, str) or "\0" in text:
        raise AccessError(f"{text!r:.60} is no text that C can take; it is a str without NUL")
    units = text.encode("utf-16-le", "surrogatepass") + b"\0\0"
    string = ffi.new("uint16_t[]", len(units) // 2)
    ffi.memmove(string, units, len(units))
    return string


def wide_string(pointer: Any) -> str:
    """The text of a NUL-terminated UTF-16 string."""
    length = 0
    while pointer[length]:
        length += 1
    return bytes(ffi.buffer(pointer, 2 * length)).decode("utf-16-le", "surrogatepass")
