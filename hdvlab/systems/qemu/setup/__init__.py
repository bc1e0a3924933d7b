"""QEMU and a guest for it, obtained by the software: found, or fetched from Debian into a cache of hdvlab's own.

A system's QEMU from 10.1.1 on is used; else QEMU comes from Debian's ``trixie-backports``. Kernel (the cloud kernel),
busybox and a few tools for the guest come from ``trixie``. See :mod:`~hdvlab.systems.qemu.setup.apt_root` for how, and
:mod:`~hdvlab.systems.qemu.setup.parts` for what.
"""

from hdvlab.systems.qemu.setup.cache import cache_directory
from hdvlab.systems.qemu.setup.fetching import set_up
from hdvlab.systems.qemu.setup.initramfs import build_initramfs
from hdvlab.systems.qemu.setup.installation import Installation, find
from hdvlab.systems.qemu.setup.progress import Progress, TextBar
from hdvlab.systems.qemu.setup.state import PartState, part_states

__all__ = [
    "Installation",
    "PartState",
    "Progress",
    "TextBar",
    "build_initramfs",
    "cache_directory",
    "find",
    "part_states",
    "set_up",
]
