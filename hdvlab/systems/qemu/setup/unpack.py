"""Debian packages into a folder, without installing them: only the files that are wanted, no special modes."""

from __future__ import annotations

import re
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
    name = member.name.removeprefix("./").rstrip("/")
    if member.isdir() or not any(one.match(name) for one in keep):
        return
    if re.match(r"(lib|lib64|bin|sbin)/", name):
        name = f"usr/{name}"
    if not (member.isfile() or member.issym() or member.islnk()):
        return
    member.name = name
    try:
        archive.extract(member, folder, filter="data")
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return
