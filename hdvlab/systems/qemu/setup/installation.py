"""What a virtual machine is started with, and where it is found: named by hand, on the system, or in the cache."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hdvlab.errors import BackendUnavailableError
from hdvlab.systems.qemu.setup import parts, system_qemu
from hdvlab.systems.qemu.setup.cache import cache_directory
from hdvlab.systems.qemu.setup.kernel_image import kernel_version
from hdvlab.systems.qemu.setup.record import Record, read_record, sound_tree


@dataclass(frozen=True)
class Installation:
    """Everything that is needed to start a virtual machine.

    Attributes
    ----------
    qemu : tuple of str
        The words that a command line begins with; with QEMU's own loader and its firmware's folders where QEMU is in
        the cache.
    environment : dict of str to str
        What the environment needs besides.
    qemu_version : str
        For example ``"11.1.3"``.
    kernel : Path
        A bzImage.
    kernel_version : str
        As ``uname -r`` prints it.
    modules : Path
        The folder ``lib/modules/VERSION`` that belongs to the kernel; one named by hand may have none.
    busybox : Path
        A static busybox.
    cache : Path
        Where initramfs images go.
    tools : Path or None
        Tree of programs for the guest, see :meth:`extra`.
    """

    qemu: tuple[str, ...]
    environment: dict[str, str]
    qemu_version: str
    kernel: Path
    kernel_version: str
    modules: Path
    busybox: Path
    cache: Path = field(default_factory=cache_directory)
    tools: Path | None = None

    def extra(self, name: str) -> Mapping[str, Path]:
        """Files for the initramfs that bring a program into the guest, with the libraries it needs.

        Parameters
        ----------
        name : str
            ``"pciutils"`` (``lspci`` with the names of vendors and devices, ``setpci``) or ``"e2fsprogs"``
            (``mkfs.ext4``, ``fsck.ext4``).

        Returns
        -------
        mapping of str to Path
            Path in the guest → file here.
        """
        programs = _EXTRAS.get(name)
        if programs is None:
            raise KeyError(f"no extra {name}; there are {', '.join(_EXTRAS)}")
        if self.tools is None:
            raise BackendUnavailableError(f"{name} for the guest is not in {self.cache}; run hdvlab vm setup")
        found: dict[str, Path] = {}
        for guest, inside in programs.items():
            path = self.tools / inside
            if not path.exists():
                raise BackendUnavailableError(f"{path} is missing; run hdvlab vm setup")
            found[guest] = path
            if "/bin/" in guest or "/sbin/" in guest:
                found |= _libraries(self.tools, path)
        return found


_EXTRAS = {
    "pciutils": {
        "/usr/bin/lspci": "usr/bin/lspci",
        "/usr/bin/setpci": "usr/bin/setpci",
        "/usr/share/misc/pci.ids": "usr/share/misc/pci.ids",
    },
    "e2fsprogs": {
        "/usr/sbin/mkfs.ext4": "usr/sbin/mke2fs",
        "/usr/sbin/fsck.ext4": "usr/sbin/e2fsck",
        "/etc/mke2fs.conf": "etc/mke2fs.conf",
    },
}


def find(cache: Path | None = None) -> Installation | None:
    """What is there now: named by ``HDVLAB_QEMU``, ``HDVLAB_KERNEL``, ``HDVLAB_MODULES`` and ``HDVLAB_BUSYBOX``, else
    on the system (QEMU), else in the cache.

    Never downloads and takes no lock. None if a part is missing or damaged; :func:`set_up` then brings it.

    Raises
    ------
    BackendUnavailableError
        A part that was named by hand is not there, or will not do.
    """
    place = cache_directory() if cache is None else cache.absolute()
    record = read_record(place)
    qemu = qemu_by_hand() or _on_system() or _cached_qemu(place, record)
    kernel = kernel_by_hand() or _cached_kernel(place, record)
    busybox = busybox_by_hand() or _cached_busybox(place, record)
    if qemu is None or kernel is None or busybox is None:
        return None
    return Installation(*qemu, *kernel, busybox, place, sound_tree(place, record, parts.TOOLS.name))


_Qemu = tuple[tuple[str, ...], dict[str, str], str]
_Kernel = tuple[Path, str, Path]


def qemu_by_hand() -> _Qemu | None:
    """QEMU as ``$HDVLAB_QEMU`` names it."""
    command = system_qemu.named_qemu()
    if command is None:
        return None
    found = system_qemu.examine(command)
    if found.problem:
        raise BackendUnavailableError(
            f"HDVLAB_QEMU: {found.problem}; name another, or unset it and run hdvlab vm setup"
        )
    return found.command, {}, found.version


def kernel_by_hand() -> _Kernel | None:
    """The kernel that ``$HDVLAB_KERNEL`` names, with ``$HDVLAB_MODULES`` or the system's modules of its version."""
    named = os.environ.get("HDVLAB_KERNEL")
    if not named:
        return None
    path = Path(named).expanduser().absolute()
    version = kernel_version(path)
    modules = os.environ.get("HDVLAB_MODULES")
    return path, version, Path(modules).expanduser() if modules else Path("/lib/modules", version)


def busybox_by_hand() -> Path | None:
    """The busybox that ``$HDVLAB_BUSYBOX`` names."""
    named = os.environ.get("HDVLAB_BUSYBOX")
    if not named:
        return None
    path = Path(named).expanduser().absolute()
    if not os.access(path, os.X_OK):
        raise BackendUnavailableError(f"HDVLAB_BUSYBOX: {path} is no program; name a static busybox")
    return path


def _on_system() -> _Qemu | None:
    found = system_qemu.system_qemu()
    return None if found is None or found.problem else (found.command, {}, found.version)


def _cached_qemu(cache: Path, record: Record) -> _Qemu | None:
    tree = sound_tree(cache, record, parts.QEMU.name)
    if tree is None:
        return None
    libraries = ":".join(map(str, parts.library_folders(tree)))
    program = tree / "usr" / "bin" / system_qemu.PROGRAM
    firmware = [word for name in ("qemu", "seabios") for word in ("-L", str(tree / "usr" / "share" / name))]
    command = (str(parts.loader(tree)), "--library-path", libraries, str(program), *firmware)
    # A library that is preloaded here belongs to this process's C library, not to that one.
    environment = {"QEMU_MODULE_DIR": str(tree / "usr/lib/x86_64-linux-gnu/qemu"), "LD_PRELOAD": ""}
    version = record.parts[parts.QEMU.name].version
    return command, environment, version.partition(":")[2].partition("+")[0].partition("-")[0]


def _cached_kernel(cache: Path, record: Record) -> _Kernel | None:
    tree = sound_tree(cache, record, parts.KERNEL.name)
    images = sorted(tree.glob("boot/vmlinuz-*")) if tree is not None else []
    if tree is None or not images:
        return None
    version = images[0].name.removeprefix("vmlinuz-")
    return images[0], version, tree / "usr" / "lib" / "modules" / version


def _cached_busybox(cache: Path, record: Record) -> Path | None:
    tree = sound_tree(cache, record, parts.BUSYBOX.name)
    return None if tree is None else tree / "usr" / "bin" / "busybox"


def _libraries(tree: Path, program: Path) -> dict[str, Path]:
    """The libraries that the tree's own loader finds for a program, at the places where the guest looks."""
    folder = parts.library_folders(tree)[0]
    command = [str(parts.loader(tree)), "--library-path", str(folder), "--list", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LD_PRELOAD": ""})
    found = {"/lib64/ld-linux-x86-64.so.2": parts.loader(tree)}
    for line in done.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow:
            found[f"/usr/lib/x86_64-linux-gnu/{Path(name).name}"] = Path(rest.rpartition(" (")[0])
    if done.returncode:
        raise BackendUnavailableError(f"{program} cannot be used: {done.stderr.strip()}; run hdvlab vm setup")
    return found
