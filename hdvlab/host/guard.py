"""What stands by a VM in case its host dies: the keeper process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
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


def open_orphan(record: Record) -> int | None:
    """A descriptor of the process of the VM that a dead host has left; None where it has left none."""
    if record.is_alive or not record.vm:
        return None
    try:
        told = json.loads((Path(record.vm) / "vm.json").read_text(encoding="utf-8"))
        process = os.pidfd_open(int(told["pid"]))
        words = Path(f"/proc/{told['pid']}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if os.fsencode(record.vm) in words:  # else its number is another's now
        return process
    os.close(process)
    return None


def end_orphan(record: Record) -> bool:
    """End the VM that a dead host has left, which its keeper would end after the lease; whether there was one."""
    process = open_orphan(record)
    if process is None:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], 10.0)
    finally:
        os.close(process)
    shutil.rmtree(record.vm, ignore_errors=True)
    return True
