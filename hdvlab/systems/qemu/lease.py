"""How long a VM goes on without the process that started it, and the keeper that sees to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from hdvlab.systems.qemu import keeper


@dataclass(frozen=True)
class Lease:
    """Counts from the end of the process that started the VM, or from when ``file`` was touched last, if that is later.

    Attributes
    ----------
    seconds : float
        How long the VM goes on then.
    file : path
        Touched by whoever wants it to go on.
    """

    seconds: float
    file: Path


def start_keeper(process: int, directory: Path, lease: Lease) -> None:
    """Start a keeper for a VM of this process; ``directory`` goes with the VM that it has to end.

    Parameters
    ----------
    process : int
        QEMU's process id.
    directory : path
        The VM's sockets.
    lease : Lease
        How long it may outlive this process.
    """
    words = [str(os.getpid()), str(process), str(lease.seconds), str(lease.file), str(directory)]
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    # It ends with the VM; somebody has to take note of that.
    threading.Thread(target=started.wait, name="hdvlab-keeper", daemon=True).start()
