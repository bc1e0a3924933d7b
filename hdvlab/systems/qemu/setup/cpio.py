"""Writes cpio archives in the "newc" form, which is what Linux unpacks as its first file system.

The form: Documentation/driver-api/early-userspace/buffer-format.rst. The same entries give the same bytes.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath

_TRAILER = "TRAILER!!!"


class Cpio:
    """An archive in the making; directories above an entry come by themselves.

    Times are 0 and everything belongs to root. A path may be given once; giving it again replaces the entry.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory."""
        self._add(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self._add(path, stat.S_IFCHR | mode, b"", (major, minor))

    def _add(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        parts = PurePosixPath("/", path).parts[1:]
        if not parts or ".." in parts:
            raise ValueError(f"{path!r} is no path in an archive")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            held, target, _ = self._entries.setdefault(above, (stat.S_IFDIR | 0o755, b"", (0, 0)))
            if stat.S_ISLNK(held):  # /bin/x goes to /usr/bin/x where /bin is a link
                self._add(
                    str(PurePosixPath("/", *parts[: depth - 1], target.decode(), *parts[depth:])), mode, data, device
                )
                return
            if not stat.S_ISDIR(held):
                raise ValueError(f"/{above} is no directory, so /{'/'.join(parts)} cannot be in it")
        self._entries["/".join(parts)] = (mode, data, device)

    def data(self) -> bytes:
        """The archive. Entries are sorted, so a directory stands before what is in it."""
        pieces: list[bytes] = []
        for number, name in enumerate(sorted(self._entries), 1):
            mode, data, device = self._entries[name]
            links = 2 if stat.S_ISDIR(mode) else 1
            pieces += _entry(number, name, mode, links, data, device)
        pieces += _entry(0, _TRAILER, 0, 1, b"", (0, 0))
        return b"".join(pieces)


def _entry(number: int, name: str, mode: int, links: int, data: bytes, device: tuple[int, int]) -> list[bytes]:
    label = name.encode() + b"\0"
    # magic, inode, mode, uid, gid, nlink, mtime, size, device major and minor, rdev major and minor, name size, check
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(label), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return [header, label, _padding(len(header) + len(label)), data, _padding(len(data))]


def _padding(length: int) -> bytes:
    return bytes(-length % 4)
