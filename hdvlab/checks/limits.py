"""What a submission may use, and how its process is held to it."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from hdvlab.errors import UsageError

MIB = 1 << 20

#: Address space that recordings reserve without using it: two of 2^20 rows, should the first not be gone yet.
_RESERVED = 2560 * MIB


@dataclass(frozen=True)
class Limits:
    """Limits of one submission.

    Parameters
    ----------
    seconds : float
        Wall time for all checks of the sheet; then it is ended, with whatever it started.
    cpu : int
        Seconds of CPU time of one process.
    memory : int
        Bytes of one process. What is shared between processes is counted as address space only.
    file : int
        Bytes of one file, and of all files together where the files are on a file system of their own.
    tasks : int
        Processes and threads. The kernel does not count those of root.
    """

    seconds: float = 60.0
    cpu: int = 30
    memory: int = 1024 * MIB
    file: int = 256 * MIB
    tasks: int = 64

    def __post_init__(self) -> None:
        for name in ("seconds", "cpu", "memory", "file", "tasks"):
            if not getattr(self, name) > 0:
                raise UsageError(f"limit {name} is more than 0, not {getattr(self, name)!r}")

    def apply(self, is_counted_alone: bool) -> None:
        """Hold this process, and what it starts, to them. It cannot take them back.

        ``is_counted_alone`` says that the kernel counts the tasks of this namespace apart from the user's other ones.
        """
        tasks = self.tasks + (0 if is_counted_alone else _tasks_of_user())
        for which, most in (
            (resource.RLIMIT_CPU, self.cpu),
            (resource.RLIMIT_DATA, self.memory),
            (resource.RLIMIT_AS, self.memory + _RESERVED),
            (resource.RLIMIT_FSIZE, self.file),
            (resource.RLIMIT_NPROC, tasks),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.getrlimit(which)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (most, most))


def _tasks_of_user() -> int:
    """Processes and threads of this user now: RLIMIT_NPROC counts them all."""
    user, number = os.getuid(), 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == user:
                number += len(os.listdir(entry / "task"))
        except OSError:  # it has ended meanwhile
            continue
    return number
