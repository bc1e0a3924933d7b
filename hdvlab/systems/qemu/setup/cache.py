"""The cache directory: trees that appear whole or not at all, their checksums, and the lock that set-ups take."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hdvlab.errors import BackendError, HResult

#: In each tree: every file with size and SHA-256, every symbolic link with its target.
MANIFEST = ".manifest.json"


def cache_directory() -> Path:
    """``$HDVLAB_CACHE``, else ``$XDG_CACHE_HOME/hdvlab``, else ``~/.cache/hdvlab``. It need not exist yet."""
    if own := os.environ.get("HDVLAB_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is to be ignored.
    base = Path(shared) if os.path.isabs(shared) else Path("~/.cache").expanduser()
    return base / "hdvlab"


@contextlib.contextmanager
def locked(cache: Path, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold the cache's lock; a second process waits for it and hears for whom.

    Yields
    ------
    int
        The lock's descriptor. Given to a child process it keeps the lock held until the child has ended too, so that
        an apt whose hdvlab was killed is waited for.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(cache / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise failed(error, cache) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            waiting(f"waiting for another set-up to end (process {holder})")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def failed(error: OSError, cache: Path) -> BackendError:
    """What an error of the file system means for a person."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BackendError(
            f"no space left in {cache}; make room or set HDVLAB_CACHE to a roomier place, then run hdvlab vm setup "
            "again: what was downloaded is kept",
            HResult.ERROR_DISK_FULL,
        )
    where = error.filename or cache
    return BackendError(
        f"{where}: {error.strerror}; hdvlab must be able to write in {cache}, or where HDVLAB_CACHE says",
        HResult.E_ACCESSDENIED,
    )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or the next start after a crash, sees the old one or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise


def make_tree(tree: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` make a folder under another name; write its manifest, rename it. An old ``tree`` is replaced."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    sweep(tree.parent)
    stage = Path(tempfile.mkdtemp(dir=tree.parent, prefix=".new-"))
    try:
        stage.chmod(0o755)
        fill(stage)
        (stage / MANIFEST).write_text(json.dumps(_contents(stage)), encoding="utf-8")
        if tree.exists():
            os.rename(tree, stage.with_name(stage.name.replace(".new-", ".old-")))
        os.rename(stage, tree)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    sweep(tree.parent)


def sweep(folder: Path) -> None:
    """Remove what earlier set-ups left half-finished; only the holder of the lock may call this."""
    for rest in (*folder.glob(".new-*"), *folder.glob(".old-*")):
        shutil.rmtree(rest, ignore_errors=True)


def damage(tree: Path, *, thorough: bool = False) -> str:
    """What is wrong with a tree, or an empty string.

    Parameters
    ----------
    tree : Path
        A folder that :func:`make_tree` made.
    thorough : bool
        Read every file and compare its SHA-256; else only sizes and links are looked at, in milliseconds.
    """
    try:
        contents: dict[str, Any] = json.loads((tree / MANIFEST).read_text(encoding="utf-8"))
        for name, wanted in contents.items():
            path = tree / name
            if isinstance(wanted, str):
                if os.readlink(path) != wanted:
                    return f"{path} points elsewhere"
            elif os.lstat(path).st_size != wanted[0]:
                return f"{path} has another size"
            elif thorough and _digest(path) != wanted[1]:
                return f"{path} has other contents"
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"{tree} cannot be checked: {error}"
    return ""


def _contents(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = [path.stat().st_size, _digest(path)]
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
