"""What is written down about a device host, so that it, its log and its trace are found also when it is dead."""

from __future__ import annotations

import datetime
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hdvlab.errors import UsageError
from hdvlab.host.places import state_directory

FILE_NAME = "host.json"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}")


@dataclass(frozen=True)
class Record:
    """One host, from its start on.

    ``started`` is the process's start in clock ticks since boot (``/proc/PID/stat``, field 22), which with ``boot``
    tells it from another process with its number. ``lease`` is in seconds, 0 = for ever. ``ended`` says why it ended
    in good order; empty while it runs, and where it was killed. ``vm`` is the directory of its VM's sockets, if it has
    booted one. ``place`` is the notebook that started it, or the working directory; see :func:`own_place`.
    """

    name: str
    pid: int
    started: int
    boot: str
    since: str
    machine: str
    lease: float
    socket: str
    directory: str
    trace: str
    log: str
    ended: str = ""
    vm: str = ""
    place: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return not self.ended and self.boot == boot_id() and self.started == started_of(self.pid)

    @property
    def lease_file(self) -> Path:
        """Its time of modification is when somebody was last there."""
        return Path(self.directory) / "lease"

    def write(self) -> None:
        """Put it down, whole or not at all."""
        target = Path(self.directory) / FILE_NAME
        temporary = target.with_name(f".{FILE_NAME}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        temporary.rename(target)

    def ending(self, reason: str) -> Record:
        """The same, ended in good order."""
        return replace(self, ended=reason)


def check_name(name: str) -> str:
    """``name``, if a host can be called so.

    Raises
    ------
    UsageError
        It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a host's name; use up to 48 letters, digits, _, - and .")
    return name


def new_directory(name: str) -> Path:
    """A fresh directory for what a host leaves behind."""
    base = state_directory()
    moment = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        directory = base / (f"{name}@{moment}" + (f"-{attempt}" if attempt else ""))
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return directory
    raise UsageError(f"{base} has a thousand hosts of this second; remove some")


def records() -> list[Record]:
    """Every host that left something behind, the oldest first; what cannot be read is left out."""
    found = []
    for file in state_directory().glob(f"*/{FILE_NAME}"):
        record = _read(file)
        if record is not None:
            found.append(record)
    return sorted(found, key=lambda one: (one.since, one.directory))


def own_place() -> str:
    """What a kernel that is restarted has in common with the one before: its notebook's path, else where it runs."""
    return os.environ.get("JPY_SESSION_NAME") or str(Path.cwd())


def of_this_place() -> list[Record]:
    """The hosts that run, and were started from here."""
    here = own_place()
    return [one for one in records() if one.place == here and one.is_alive]


def latest(name: str) -> Record | None:
    """The host of that name that runs, else the last one there was."""
    mine = [one for one in records() if one.name == name]
    return next((one for one in reversed(mine) if one.is_alive), mine[-1] if mine else None)


def _read(file: Path) -> Record | None:
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known = {name: data[name] for name in Record.__dataclass_fields__ if name in data}
        record = Record(**known)
    except (OSError, ValueError, TypeError):
        return None
    fits = isinstance(record.pid, int) and isinstance(record.name, str) and bool(_NAME.fullmatch(record.name))
    return replace(record, directory=str(file.parent)) if fits else None


def boot_id() -> str:
    """What tells this run of the kernel from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def started_of(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 where there is none, or it is dead and only not waited for."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])
