"""Namespaces around a submission: no network, no other processes to be seen, no file to be written but its own.

Ref: user_namespaces(7), mount_namespaces(7), mount_setattr(2), capabilities(7).

Nothing here needs root. Where the kernel or a container does not let users have namespaces, :func:`enter` says so, and
the limits of :mod:`hdvlab.checks.limits` are what is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x4000, 1 << 18
_SYS_MOUNT_SETATTR, _SYS_CAPSET = 442, {"x86_64": 126, "aarch64": 91}
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
_CAPABILITY_VERSION_3 = 0x20080522
_INSIDE_ID = 1000  # what the submission sees as its user: not 0, so that nothing it starts is given capabilities

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Capabilities(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32 * 1) for name in ("e0", "p0", "i0", "e1", "p1", "i1")]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    given = [text.encode() for text in (source, target, kind, data)]
    _check(_libc.mount(given[0], given[1], given[2], ctypes.c_ulong(flags), given[3]), f"mount {target}")


def _read_only(path: str) -> None:
    attributes = _MountAttributes(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        path.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"{path} read-only")


def enter(folder: Path, size: int, hidden: Path | None = None) -> str:
    """Leave the network and all file systems' writable state; ``folder`` becomes an empty file system of its own.

    Called by the process that watches over a submission, before it has threads. Everything else is read-only for it and
    its children from here on.

    Parameters
    ----------
    folder : path
        Where the submission may write.
    size : int
        Bytes of that file system.
    hidden : path, optional
        A folder to be seen empty: other people's submissions.

    Returns
    -------
    str
        Empty, or why it is not so here.
    """
    user, group = os.getuid(), os.getgid()
    try:
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC), "unshare")
    except OSError as error:
        return f"no namespaces here ({error.strerror}): submissions have the network, and may write what you may"
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_INSIDE_ID} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{_INSIDE_ID} {group} 1")
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
        _read_only("/")
        if hidden is not None:
            _mount("none", str(hidden), "tmpfs", _MS_NOSUID | _MS_NODEV, "size=4k,mode=0555")
        _mount("none", str(folder), "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size},mode=0700")
    except OSError as error:
        return f"no mounts here ({error.strerror}): submissions may write what you may"
    return ""


def keep_orphans() -> None:
    """What a submission leaves behind becomes this process's child, and can be ended."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def new_pid_namespace() -> bool:
    """Whether the next child is the first process of a namespace of its own: with it ends all that it started."""
    return bool(_libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS) == 0)


def show_own_processes() -> None:
    """Called by that first process: it sees no others. Where a container forbids that, it sees them and no more."""
    with contextlib.suppress(OSError):
        _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV)


def end_with_parent(signal: int) -> None:
    """This process gets ``signal`` when the one that made it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)


def drop_privileges() -> None:
    """No capability is left, and none comes back: what :func:`enter` did cannot be undone."""
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    number = _SYS_CAPSET.get(os.uname().machine)
    if number is not None:
        header, none = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), _Capabilities()
        _libc.syscall(ctypes.c_long(number), ctypes.byref(header), ctypes.byref(none))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
