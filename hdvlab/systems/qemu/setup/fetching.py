"""Bring what is missing into the cache: resolve, download, unpack, record."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hdvlab.errors import BackendError, BackendUnavailableError, HResult
from hdvlab.systems.qemu.setup import installation, parts, system_qemu
from hdvlab.systems.qemu.setup.apt_root import AptRoot, Package, require_programs
from hdvlab.systems.qemu.setup.cache import cache_directory, damage, failed, locked, make_tree
from hdvlab.systems.qemu.setup.installation import Installation, find
from hdvlab.systems.qemu.setup.mirror import the_mirror
from hdvlab.systems.qemu.setup.parts import Part
from hdvlab.systems.qemu.setup.progress import Progress, silent
from hdvlab.systems.qemu.setup.record import PartRecord, Record, read_record, sound_tree, trees
from hdvlab.systems.qemu.setup.unpack import unpack

#: Bytes that a set-up from nothing takes: indexes, archives and trees.
_SPACE = 400 << 20


def set_up(*, progress: Progress | None = None, mirror: str | None = None, cache: Path | None = None) -> Installation:
    """Bring what a virtual machine needs into the cache, and check what is there already.

    What was named by hand (``HDVLAB_QEMU``, ``HDVLAB_KERNEL``, ``HDVLAB_BUSYBOX``) and a good QEMU of the system are
    taken as they are. May be killed at any moment: the next call goes on. A second call at the same time waits.

    Parameters
    ----------
    progress : callable, optional
        Called with the step, and the bytes done and in all.
    mirror : str, optional
        Address of a Debian mirror; the system's apt's if not given.
    cache : Path, optional
        See :func:`cache_directory`.

    Raises
    ------
    BackendUnavailableError
        Something is missing that hdvlab cannot bring: apt, a mirror, another kind of computer.
    BackendError
        Fetching failed, or the disk is full.
    """
    place = cache_directory() if cache is None else cache.absolute()
    tell = progress or silent
    try:
        with locked(place, lambda text: tell(text, 0, 0)) as lock:
            _bring(place, mirror, lock, tell)
    except OSError as error:
        if isinstance(error, BackendError):
            raise
        raise failed(error, place) from error
    found = find(place)
    if found is None:
        raise BackendError(f"{place} changed while it was set up; run hdvlab vm setup again")
    return found


def _bring(cache: Path, mirror: str | None, lock: int, tell: Progress) -> None:
    record = read_record(cache)
    lacking = [part for part in _wanted(tell) if sound_tree(cache, record, part.name, thorough=True) is None]
    if not lacking:
        return
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BackendUnavailableError(
            f"hdvlab brings QEMU, kernel and busybox for x86_64 computers only, and this is {platform.machine()}; give "
            "HDVLAB_QEMU (any qemu-system-x86_64 from 10.1.1 on emulates it), and HDVLAB_KERNEL, HDVLAB_MODULES and "
            "HDVLAB_BUSYBOX of an x86_64 Debian; this has not been tried"
        )
    require_programs()
    address = the_mirror(mirror)
    _check_space(cache, tell)
    root = AptRoot(cache / "apt", address, parts.SUITES, lock)
    offline = _update(root, tell)
    plans = {part.name: root.resolve(part.packages, suite=part.suite) for part in lacking}
    try:
        for part in lacking:
            root.fetch(part.packages, plans[part.name], suite=part.suite, progress=tell)
    except BackendError as error:
        if offline is not None and error.hresult != HResult.ERROR_DISK_FULL:
            raise offline from error
        raise
    root.close()
    found = dict(record.parts)
    for part in lacking:
        plan = plans[part.name]
        name = parts.tree_name(part, plan)
        if damage(trees(cache) / name, thorough=True):
            make_tree(trees(cache) / name, _filler(part, plan, tell))
        packages = {one.name: one.version for one in plan}
        found[part.name] = PartRecord(name, parts.version_of(part, plan), part.suite, packages)
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        Record(found, address, made).write(cache)
    _forget(cache, found)


def _wanted(tell: Progress) -> Sequence[Part]:
    """The parts that are neither named by hand nor on the system."""
    wanted = [parts.TOOLS]
    if installation.busybox_by_hand() is None:
        wanted.insert(0, parts.BUSYBOX)
    if installation.kernel_by_hand() is None:
        wanted.insert(0, parts.KERNEL)
    if installation.qemu_by_hand() is None:
        system = system_qemu.system_qemu()
        if system is None or system.problem:
            wanted.insert(0, parts.QEMU)
            if system is not None:
                tell(f"{system.problem}: taking Debian's", 0, 0)
    return wanted


def _check_space(cache: Path, tell: Progress) -> None:
    free = shutil.disk_usage(cache).free
    if free < _SPACE:
        # No refusal: the larger part may be there already. A disk that fills up is said when it does.
        tell(f"only {free >> 20} MiB free in {cache}, a set-up from nothing takes {_SPACE >> 20}", 0, 0)


def _update(root: AptRoot, tell: Progress) -> BackendError | None:
    """Refresh the indexes; where that fails and earlier ones are there, say so and return the error."""
    try:
        root.update(tell)
    except BackendError as error:
        if not root.has_lists() or error.hresult == HResult.ERROR_DISK_FULL:
            raise
        tell(f"{root.mirror} cannot be reached: going on with what was fetched before", 0, 0)
        return error
    return None


def _filler(part: Part, packages: Sequence[Package], tell: Progress) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        total, done = sum(one.size for one in packages), 0
        step = f"unpacking {part.name}"
        tell(step, 0, total)
        keep = part.patterns()

        # dpkg-deb decompresses in a process of its own, so two at a time keep two processors busy.
        with ThreadPoolExecutor(2, thread_name_prefix="hdvlab-unpack") as pool:
            jobs = [(one, pool.submit(unpack, one.file, folder, keep)) for one in packages]
            try:
                for one, job in jobs:
                    job.result()
                    done += one.size
                    tell(step, done, total)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        _check_runs(part, folder)

    return fill


def _check_runs(part: Part, folder: Path) -> None:
    """A tree whose program does not run here must not become the one that is used."""
    if part.name == parts.QEMU.name:
        command = [str(parts.loader(folder)), "--library-path", str(parts.library_folders(folder)[0])]
        found = system_qemu.examine((*command, str(folder / "usr" / "bin" / system_qemu.PROGRAM)))
        problem = found.problem
    elif part.name == parts.BUSYBOX.name:
        command = [str(folder / "usr" / "bin" / "busybox"), "true"]
        problem = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    else:
        return
    if problem:
        raise BackendError(f"{part.name} from {part.suite} does not run on this computer: {problem}")


def _forget(cache: Path, found: dict[str, PartRecord]) -> None:
    """Remove trees that no record names, once they are a day old: a running machine may still be on one."""
    named = {one.tree for one in found.values()}
    now = datetime.datetime.now().timestamp()
    for tree in trees(cache).iterdir():
        if tree.name not in named and now - os.stat(tree).st_mtime > 86400:
            shutil.rmtree(tree, ignore_errors=True)
