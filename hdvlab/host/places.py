"""Where device hosts are found: sockets in a runtime directory, what outlives a host in a state directory.

Both belong to the person alone (mode 0700) and are refused where they are a link, another's, or open to others.

Ref: XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hdvlab.errors import BackendError, HResult


def runtime_directory() -> Path:
    """``$XDG_RUNTIME_DIR/hdvlab``, or ``hdvlab-UID`` in ``/tmp`` where there is none; made if it is not there.

    Raises
    ------
    BackendError
        It is not the person's own (``E_ACCESSDENIED``).
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/") and os.path.isdir(given):
        return private_directory(Path(given) / "hdvlab")
    return private_directory(Path(f"/tmp/hdvlab-{os.geteuid()}"))


def state_directory() -> Path:
    """``$XDG_STATE_HOME/hdvlab/hosts``, by default below ``~/.local/state``; made if it is not there.

    Raises
    ------
    BackendError
        It cannot be made, or is not the person's own.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendError(
            f"{base}: {error.strerror}; let XDG_STATE_HOME name a directory that can be written", HResult.E_ACCESSDENIED
        ) from error
    return private_directory(private_directory(base / "hdvlab") / "hosts")


def private_directory(path: Path) -> Path:
    """A directory of mode 0700 that is this user's, made if it is not there.

    Raises
    ------
    BackendError
        It is a link, another user's, open to others, or cannot be made (``E_ACCESSDENIED``).
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise BackendError(f"{path} cannot be made: {error.strerror}", HResult.E_ACCESSDENIED) from error
    os.close(open_private(path))
    return path


def open_private(path: Path) -> int:
    """A descriptor of a private directory, checked as it was opened: names below it are this user's alone.

    Raises
    ------
    BackendError
        As :func:`private_directory`.
    """
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        linked = path.is_symlink()
        reason = "it is a link" if linked else error.strerror
        raise BackendError(
            f"{path} is not used: {reason}; remove it, or let XDG_RUNTIME_DIR or XDG_STATE_HOME name another place",
            HResult.E_ACCESSDENIED,
        ) from error
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(directory)
        who = f"it belongs to user {status.st_uid}" if status.st_uid != os.geteuid() else "others may enter it"
        raise BackendError(
            f"{path} is not used: {who}; remove it, or chmod 700 it if it is yours", HResult.E_ACCESSDENIED
        )
    return directory
