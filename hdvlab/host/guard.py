"""What stands by a VM in case its host dies: the keeper process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from hdvlab.host import keeper
from hdvlab.host.record import Record

#: Seconds that a VM goes on without its host where the host's lease is for ever.
_WITHOUT_HOST = 600.0


def guard_process(record: Record, process: int, directory: Path) -> None:
    """Start a keeper for a process of this host's; ``directory`` goes with the process.

    Parameters
    ----------
    record : Record
        Of this process.
    process : int
        The VM's process id.
    directory : path
        What the keeper removes when it has ended the VM.
    """
    words = [str(os.getpid()), str(process), str(record.lease or _WITHOUT_HOST), str(record.lease_file), str(directory)]
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    # It ends with the VM; somebody has to take note of that.
    threading.Thread(target=started.wait, name="hdvlab-keeper", daemon=True).start()
