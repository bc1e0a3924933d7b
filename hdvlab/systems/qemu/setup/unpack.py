"""Debian packages into a folder, without installing them: only the files that are wanted, no special modes."""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from hdvlab.errors import BackendError


def unpack(package: Path, folder: Path, keep: Sequence[re.Pattern[str]]) -> None:
    """Put the files of one package whose path (without ``./``) matches one of ``keep`` under ``folder``.

    A path that begins with ``lib`` or ``bin`` goes below ``usr``, as on every Debian since 12. Set-user-id bits,
    devices and links that leave the folder are never made.

    Raises
    ------
    BackendError
        The archive is damaged; it is removed, so that the next set-up fetches it again.
    OSError
        The file system refused, for example because it is full.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        broken = ""
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    _place(archive, member, folder, keep)
            while process.stdout.read(1 << 16):
                pass  # padding; dpkg-deb must not see a closed pipe
        except tarfile.TarError as error:
            broken = str(error)
            process.stdout.close()
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode or broken:
        package.unlink(missing_ok=True)
        raise BackendError(f"{package.name} is damaged ({said or broken}) and was removed; run hdvlab vm setup again")


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, keep: Sequence[re.Pattern[str]]) -> None:
    # tarfile's own filters are younger than Python 3.11.2, which Debian 12 has.
    name = member.name.removeprefix("./").rstrip("/")
    if ".." in name.split("/") or not any(one.match(name) for one in keep):
        return
    path = folder / _merged(name)
    if path.parent.is_symlink():
        return
    if member.isfile():
        path.parent.mkdir(parents=True, exist_ok=True)
        source = archive.extractfile(member)
        assert source is not None
        with path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        path.chmod(0o755 if member.mode & 0o111 else 0o644)
    elif member.issym() and _stays(name, member.linkname):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(member.linkname)
    elif member.islnk():
        target = folder / _merged(member.linkname.removeprefix("./"))
        if ".." not in target.parts and target.is_file():  # else it is not wanted, and neither is this name of it
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(target)


def _merged(name: str) -> str:
    return f"usr/{name}" if re.match(r"(lib|lib64|bin|sbin)/", name) else name


def _stays(name: str, target: str) -> bool:
    """Whether a symbolic link at ``name`` leads to somewhere in the same tree."""
    where = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return not posixpath.isabs(target) and not where.startswith("..")
