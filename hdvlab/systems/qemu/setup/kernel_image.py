"""What a Linux kernel image says about itself."""

from __future__ import annotations

import struct
from pathlib import Path

from hdvlab.errors import BackendUnavailableError

# Documentation/arch/x86/boot.rst: "HdrS" at 0x202; at 0x20e the place of the version's text, less 0x200.
_MAGIC = 0x202
_VERSION = 0x20E


def kernel_version(image: Path) -> str:
    """The version of an x86 kernel image, as ``uname -r`` prints it.

    Raises
    ------
    BackendUnavailableError
        The file cannot be read, or is no bzImage.
    """
    try:
        with image.open("rb") as file:
            head = file.read(0x10000)
    except OSError as error:
        raise BackendUnavailableError(f"kernel {image}: {error.strerror}; name a bzImage that you may read") from None
    if len(head) < _VERSION + 2 or head[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise BackendUnavailableError(f"kernel {image} is no x86 bzImage; distributions call it vmlinuz")
    (place,) = struct.unpack_from("<H", head, _VERSION)
    text = head[place + 0x200 :].split(b"\0", 1)[0].decode(errors="replace") if place else ""
    return text.split(" ", 1)[0] or "unknown"
