"""What a virtual machine is made of, and which of Debian's packages it comes from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdvlab.systems.qemu.setup.apt_root import Package

#: Debian 13; its backports have QEMU's vfio-user-pci. Kernel and busybox come from it too: one signed index serves all.
SUITE = "trixie"
QEMU_SUITE = "trixie-backports"
SUITES = (SUITE, QEMU_SUITE)

_LIBRARIES = r"(usr/)?lib(64)?/(x86_64-linux-gnu/)?[^/]+\.so[^/]*$"
_LICENCES = r"usr/share/doc/[^/]+/copyright$"


@dataclass(frozen=True)
class Part:
    """One tree of the cache.

    Attributes
    ----------
    name : str
        What it is called in the cache and in messages.
    main : str
        The package whose version is the part's.
    packages : tuple of str
        What is asked for; what they depend on comes with them.
    keep : tuple of str
        Regular expressions; of the packages' files, those that one of them matches.
    suite : str
        Where from.
    """

    name: str
    main: str
    packages: tuple[str, ...]
    keep: tuple[str, ...]
    suite: str = SUITE

    def patterns(self) -> Sequence[re.Pattern[str]]:
        """``keep``, compiled, licences among them."""
        return [re.compile(one) for one in (*self.keep, _LICENCES)]


QEMU = Part(
    "qemu",
    "qemu-system-x86",
    ("qemu-system-x86",),
    (
        r"usr/bin/qemu-system-x86_64$",
        r"usr/lib/x86_64-linux-gnu/qemu/",
        r"usr/share/(qemu|seabios)/",
        r"usr/lib/ipxe/",
        _LIBRARIES,
    ),
    QEMU_SUITE,
)
KERNEL = Part(
    "kernel",
    "linux-image-cloud-amd64",
    ("linux-image-cloud-amd64",),
    (r"boot/(vmlinuz|config)-", r"(usr/)?lib/modules/"),
)
BUSYBOX = Part("busybox", "busybox-static", ("busybox-static",), (r"(usr/)?bin/busybox$",))
TOOLS = Part(
    "tools",
    "pciutils",
    ("pciutils", "e2fsprogs"),
    (
        r"(usr/)?bin/(lspci|setpci)$",
        r"(usr/)?sbin/(mke2fs|e2fsck|mkfs\.ext4|fsck\.ext4|setpci)$",
        r"usr/share/misc/pci\.ids",
        r"etc/mke2fs\.conf$",
        _LIBRARIES,
    ),
)
PARTS = (QEMU, KERNEL, BUSYBOX, TOOLS)


def tree_name(part: Part, packages: Sequence[Package]) -> str:
    """Folder of a part made of ``packages``: other packages give another folder."""
    listed = "\n".join([*sorted(f"{one.name} {one.version}" for one in packages), *part.keep])
    return f"{part.name}-{hashlib.sha256(listed.encode()).hexdigest()[:12]}"


def version_of(part: Part, packages: Sequence[Package]) -> str:
    """The version that stands for the part, as Debian writes it."""
    named = [one for one in packages if one.name == part.main]
    return (named or list(packages))[0].version


def library_folders(tree: Path) -> list[Path]:
    """Where the shared libraries of a tree are."""
    return [tree / "usr" / "lib" / "x86_64-linux-gnu"]


def loader(tree: Path) -> Path:
    """The dynamic loader that belongs to a tree's programs."""
    return tree / "usr" / "lib64" / "ld-linux-x86-64.so.2"
