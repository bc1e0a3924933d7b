"""A QEMU that is on the system, or that a person names: whether it can be a vfio-user client."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass

PROGRAM = "qemu-system-x86_64"
DEVICE = "vfio-user-pci"
#: 10.1.0 has the device, but shows every device to the guest with a wrong class code.
LEAST = (10, 1, 1)
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Examined:
    """What was found about one QEMU; ``problem`` is empty where it will do."""

    command: tuple[str, ...]
    version: str
    problem: str


def named_qemu() -> tuple[str, ...] | None:
    """``$HDVLAB_QEMU``, split like a shell's words."""
    return tuple(shlex.split(os.environ.get("HDVLAB_QEMU", ""))) or None


def system_qemu() -> Examined | None:
    """The QEMU in ``$PATH``, good or not; None if there is none."""
    path = shutil.which(PROGRAM)
    return None if path is None else examine((path,))


def examine(command: tuple[str, ...]) -> Examined:
    """Ask a QEMU for its version and its devices. The answer is kept until the file changes."""
    try:
        found = os.stat(shutil.which(command[0]) or command[0])
    except OSError as error:
        return Examined(command, "", f"{command[0]}: {error.strerror}")
    return _examine(command, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _examine(command: tuple[str, ...], _time: int, _size: int) -> Examined:
    name = command[0]
    said = _output(*command, "--version")
    match = re.search(r"version (\d+(?:\.\d+)+)", said)
    if match is None:
        return Examined(command, "", f"{name} does not say its version: {said.strip()[:200] or 'no output'}")
    version = match[1]
    numbers = tuple(int(part) for part in version.split("."))
    if numbers[:3] == (10, 1, 0):
        return Examined(
            command, version, f"{name} is 10.1.0, which shows a wrong class code; 10.1.1 or later is needed"
        )
    if numbers < LEAST:
        return Examined(command, version, f"{name} is {version}; {DEVICE} needs 10.1.1 or later")
    if not re.search(rf'^name "{DEVICE}"', _output(*command, "-device", "help"), re.MULTILINE):
        return Examined(command, version, f"{name} {version} was built without {DEVICE}")
    return Examined(command, version, "")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
