"""Builds the guest's first and only file system: busybox, chosen kernel modules, ``/init``, and files of the caller."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from hdvlab.errors import BackendUnavailableError, UsageError
from hdvlab.systems.qemu.setup.cache import failed, write_atomically
from hdvlab.systems.qemu.setup.cpio import Cpio
from hdvlab.systems.qemu.setup.installation import Installation
from hdvlab.systems.qemu.setup.kernel_modules import ModuleFolder

_INIT = Path(__file__).with_name("init.sh")
_FOLDERS = ("dev", "proc", "sys", "tmp", "run", "root", "mnt", "etc", "lib/modules", "usr/bin", "usr/sbin", "var")
_KEPT = 20


def build_initramfs(
    installation: Installation,
    *,
    modules: Sequence[str] = (),
    available: Sequence[str] = (),
    files: Mapping[str, bytes | Path] | None = None,
) -> Path:
    """An initramfs for an installation's kernel; built in well under a second, or found where it was built before.

    Parameters
    ----------
    installation : Installation
        What it is for.
    modules : sequence of str
        Kernel modules that ``/init`` loads; what they depend on comes with them, what is built in needs nothing.
    available : sequence of str
        Modules that are in it for ``modprobe``, but are not loaded.
    files : mapping of str to bytes or Path
        Path in the guest → contents, or a file here, whose permission to execute is kept. A file named ``/agent`` or
        whose contents begin like a program's is made executable.

    Returns
    -------
    Path
        A gzip-compressed cpio archive. The same contents give the same file.

    Raises
    ------
    UsageError
        The kernel has no such module, or a path cannot be in an archive.
    BackendUnavailableError
        A file cannot be read.
    """
    archive = Cpio()
    _add_busybox(archive, installation.busybox)
    _add_modules(archive, installation, modules, available)
    for guest, source in (files or {}).items():
        data, executable = _contents(source)
        try:
            archive.file(guest, data, 0o755 if executable or guest.strip("/") == "agent" else 0o644)
        except ValueError as error:
            raise UsageError(f"files: {error}") from None
    return _kept(archive.data(), installation.cache)


def _add_busybox(archive: Cpio, busybox: Path) -> None:
    for folder in _FOLDERS:
        archive.directory(folder)
    archive.directory("tmp", 0o1777)
    for old, new in (("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib64", "usr/lib64")):
        archive.link(old, new)
    archive.directory("usr/lib64")
    archive.directory("usr/lib")
    # Linux opens it for init before init has mounted anything.
    archive.character_device("dev/console", 5, 1)
    archive.file("usr/bin/busybox", busybox.read_bytes(), 0o755)
    for name in _applets(busybox, busybox.stat().st_mtime_ns):
        archive.link(f"usr/bin/{name}", "busybox")
    # Where Linux itself looks, for a file system or a driver that it needs.
    archive.link("usr/sbin/modprobe", "../bin/busybox")
    archive.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\n")
    archive.file("etc/hosts", b"127.0.0.1 localhost guest\n")
    archive.link("etc/mtab", "/proc/mounts")
    archive.file("init", _INIT.read_bytes(), 0o755)


def _add_modules(archive: Cpio, installation: Installation, load: Sequence[str], available: Sequence[str]) -> None:
    folder = ModuleFolder(installation.modules)
    home = f"lib/modules/{installation.kernel_version}"
    first = folder.load_order(load)
    every = {module.name: module for module in (*first, *folder.load_order(available))}
    for module in every.values():
        archive.file(f"{home}/{module.path}", module.image)
    # For modprobe in the guest: each module with everything it needs, the last to be loaded first.
    lines = []
    for module in every.values():
        before = [one.path for one in reversed(folder.load_order(module.depends))]
        lines.append(f"{module.path}: {' '.join(before)}".rstrip())
    aliases = [f"alias {alias} {module.name}" for module in every.values() for alias in module.aliases]
    # Without modules.builtin modprobe takes what is in the kernel itself for missing.
    for table, entries in (("dep", lines), ("alias", aliases), ("builtin", folder.built_in)):
        archive.file(f"{home}/modules.{table}", "".join(line + "\n" for line in entries).encode())
    archive.file("etc/modules", "".join(f"/{home}/{module.path}\n" for module in first).encode())


@lru_cache(maxsize=4)
def _applets(busybox: Path, _time: int) -> tuple[str, ...]:
    try:
        done = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BackendUnavailableError(f"{busybox} does not run: {error}; run hdvlab vm setup") from None
    return tuple(sorted(name for name in done.stdout.split() if name != "busybox" and "/" not in name))


def _contents(source: bytes | Path) -> tuple[bytes, bool]:
    if isinstance(source, bytes):
        return source, source[:2] == b"#!" or source[:4] == b"\x7fELF"
    try:
        return source.read_bytes(), os.access(source, os.X_OK)
    except OSError as error:
        raise BackendUnavailableError(
            f"{source} for the guest: {error.strerror}; give a file that can be read"
        ) from None


def _kept(archive: bytes, cache: Path) -> Path:
    folder = cache / "initramfs"
    path = folder / f"{hashlib.sha256(archive).hexdigest()[:16]}.cpio.gz"
    try:
        if path.exists():
            os.utime(path)
            return path
        folder.mkdir(parents=True, exist_ok=True)
        # Level 1: the guest reads it once, and unpacks no slower.
        write_atomically(path, gzip.compress(archive, 1, mtime=0))
        _forget(folder)
    except OSError as error:
        raise failed(error, cache) from error
    return path


def _forget(folder: Path) -> None:
    """Keep the newest, and what another process may be about to boot."""
    ages = []
    for path in folder.glob("*.cpio.gz"):
        try:
            ages.append((path.stat().st_mtime, path))
        except FileNotFoundError:
            continue
    for age, path in sorted(ages, reverse=True)[_KEPT:]:
        if time.time() - age > 86400:
            path.unlink(missing_ok=True)
